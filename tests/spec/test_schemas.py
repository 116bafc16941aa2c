"""The committed schemas are made from the types, and the lock's schema agrees with its reader.

The cases of tests/corpus/lock are edits of the golden lock: "=== NAME", the text that is replaced
(it is there exactly once), "==>", the new text. The content digest is left unchecked here: it would
refuse every edit, and a schema cannot compute it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import msgspec
import pytest
from msgspec import inspect as mi
from support.corpus import CORPUS

from mllock.errors import LockError
from mllock.lock.format import parse_lock
from mllock.resources import resource
from mllock.spec import types
from mllock.spec.describe import DESCRIPTIONS
from mllock.spec.hints import FORMATS, KEY_ALIASES, VALUE_ALIASES
from mllock.spec.types import Spec
from mllock.workflows.schemas import FILES, text, write_schemas

GOLDEN = (Path(__file__).parents[1] / "lock" / "goldens" / "v1.lock").read_text()
VALIDATOR = jsonschema.Draft202012Validator(
    json.loads(resource("schemas", "mlproject.lock.schema.json").read_text())
)


def edits(name: str) -> list[tuple[str, str]]:
    found = []
    for block in (CORPUS / "lock" / name).read_text().split("=== ")[1:]:
        title, _, edit = block.partition("\n")
        old, _, new = edit.partition("==>\n")
        old, new = old.rstrip("\n"), new.rstrip("\n")
        assert GOLDEN.count(old) == 1, title
        found.append(pytest.param(GOLDEN.replace(old, new), id=title))
    return found


VALID = edits("valid.txt")
INVALID = edits("invalid.txt")


@pytest.mark.parametrize("name", FILES)
def test_the_committed_schema_is_current(name: str):
    """If not: python -m mllock.workflows.schemas"""
    assert resource("schemas", name).read_text() == text(FILES[name]())


def test_writing_schemas(tmp_path):
    write_schemas(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    for name, make in FILES.items():
        schema = json.loads((tmp_path / name).read_text())
        assert schema == make()
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_lock_corpus_is_large():
    assert len(VALID) >= 5
    assert len(INVALID) >= 25


@pytest.mark.parametrize("document", VALID)
def test_a_valid_lock(document: str):
    parse_lock(document.encode(), "mlproject.lock", verify=False)
    assert VALIDATOR.is_valid(tomllib.loads(document))


@pytest.mark.parametrize("document", INVALID)
def test_an_invalid_lock(document: str):
    with pytest.raises(LockError):
        parse_lock(document.encode(), "mlproject.lock", verify=False)
    assert not VALIDATOR.is_valid(tomllib.loads(document))


def records(kind: mi.Type) -> Iterator[mi.StructType]:
    if isinstance(kind, mi.StructType):
        yield kind
        for field in kind.fields:
            yield from records(field.type)
    for part in ("type", "item_type", "value_type"):
        if hasattr(kind, part):
            yield from records(getattr(kind, part))
    for inner in getattr(kind, "types", ()):
        yield from records(inner)


RECORDS = {kind.cls.__name__: kind for kind in records(mi.type_info(Spec))}
KEYS = {f"{name}.{field.encode_name}" for name, kind in RECORDS.items() for field in kind.fields}


def test_every_key_has_one_sentence():
    assert set(DESCRIPTIONS) == KEYS
    for sentence in DESCRIPTIONS.values():
        assert re.fullmatch(r"\S.*\.", sentence)
        assert "  " not in sentence


def test_every_pattern_has_words():
    source = Path(types.__file__).read_text()
    assert set(re.findall(r'pattern=r"(.+?)"', source)) == set(FORMATS)


def test_aliases_lead_to_words_that_exist():
    keys = {key.split(".")[1] for key in KEYS}
    values = set(re.findall(r'"([^"]+)"', msgspec.json.encode(FILES_ENUMS).decode()))
    for alias, meant in KEY_ALIASES.items():
        assert set(meant) <= keys, alias
    for alias, meant in VALUE_ALIASES.items():
        assert set(meant) <= values, alias
        assert alias not in values


FILES_ENUMS = [
    found
    for record in FILES["mlproject.schema.json"]()["$defs"].values()
    for value in record["properties"].values()
    for found in (value.get("enum"), value.get("items", {}).get("enum"))
    if found
]


def test_the_reference_has_every_key():
    reference = Path(__file__).parents[2] / "docs" / "reference" / "mlproject-toml.md"
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", reference.read_text(), re.MULTILINE))
    assert rows == {key.split(".")[1] for key in KEYS if not key.startswith("Spec.")}
