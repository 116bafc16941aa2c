"""Schema and reader give the same verdict, and the reader says why in whole sentences."""

from __future__ import annotations

import copy
import datetime as dt
import json
import tomllib
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect as mi
from support.corpus import Case, cases

from mllock.errors import SpecError
from mllock.resources import resource
from mllock.spec.explain import problems
from mllock.spec.reader import parse_spec
from mllock.spec.types import Spec

VALID = cases("spec", "valid.txt")
INVALID = cases("spec", "invalid.txt")
RULES = cases("spec", "rules.txt")

SCHEMA = json.loads(resource("schemas", "mlproject.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)

# For JSON Schema 60.0 is an integer, for TOML it is none. Where documents are made by chance, that
# one difference, which rules.txt has, is not the one to find.
TOML_VALIDATOR = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: type(value) is int
    ),
)(SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def as_json(value):
    """TOML as editors hand it to a schema: dates and times are strings."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


def schema_accepts(document) -> bool:
    return VALIDATOR.is_valid(as_json(document))


def types_accept(document) -> bool:
    try:
        msgspec.convert(document, Spec)
    except msgspec.ValidationError:
        return False
    return True


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), Path("mlproject.toml"))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_corpus_is_large_and_no_case_is_there_twice():
    assert len(VALID) >= 25
    assert len(INVALID) >= 60
    for group in (VALID, INVALID, RULES):
        assert len({case.name for case in group}) == len(group)
        assert len({case.document for case in group}) == len(group)
    assert all(case.because for case in RULES)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("case", VALID, ids=str)
def test_valid(case: Case):
    loaded = parse_spec(case.document.encode(), Path("mlproject.toml"))
    assert loaded.spec == msgspec.convert(tomllib.loads(case.document), Spec)
    assert schema_accepts(tomllib.loads(case.document))


@pytest.mark.parametrize("case", INVALID, ids=str)
def test_invalid(case: Case):
    assert refusal(case.document) == case.message
    assert not schema_accepts(tomllib.loads(case.document))


@pytest.mark.parametrize("case", RULES, ids=str)
def test_what_only_the_reader_sees(case: Case):
    assert refusal(case.document) == case.message
    assert schema_accepts(tomllib.loads(case.document)), "this one belongs to invalid.txt"


DOCUMENTS = [tomllib.loads(case.document) for case in (*VALID, *INVALID, *RULES)]
VALUES = st.one_of(
    st.sampled_from(["", "x", "A", "linux/amd64", "warn", "2027-01-01", "/", "8GiB", "3.11"]),
    st.integers(-1, 130),
    st.booleans(),
    st.sampled_from([0.5, -0.5]),
    st.sampled_from([[], {}, ["x"], ["x", "y"], {"a": "b"}, {"A": 1}, [{}], [[]]]),
)


def spots(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, dict | list):
            yield from spots(item, (*path, key))
        else:
            yield (*path, key)


@settings(max_examples=400)
@given(st.data())
def test_types_schema_and_explanation_agree_on_changed_documents(data):
    document = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([*spots(document)][1:] or [("new",)]))
        where = document
        for part in path[:-1]:
            where = where[part]
        action = data.draw(st.sampled_from(["set", "delete", "add"]))
        if action == "delete" and (isinstance(where, list) or path[-1] in where):
            del where[path[-1]]
        elif action == "add" and isinstance(where, dict):
            name = data.draw(st.sampled_from(["new", "port", "source", "path", "gpus", "A-B", "x"]))
            where[name] = copy.deepcopy(data.draw(VALUES))
        else:
            where[path[-1]] = copy.deepcopy(data.draw(VALUES))
    verdict = types_accept(document)
    assert TOML_VALIDATOR.is_valid(as_json(document)) == verdict
    assert (not [*problems(document, mi.type_info(Spec))]) == verdict
