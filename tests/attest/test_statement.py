"""Statements and image statements: what went in comes back, and nothing loose is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from mllock.attest.image_statement import (
    PREDICATE_TYPE,
    ImageStatement,
    LayerFact,
    make_image_statement,
    read_image_statement,
)
from mllock.attest.statement import make_statement, read_statement
from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.core.tree import Entry, TreeManifest
from mllock.errors import RunError

A, B = sha256_of(b"a"), sha256_of(b"b")
CODE = TreeManifest.of([Entry(kind="f", path="serve.py", size=1, digest=A)])
SERVE: dict[str, Any] = {
    "project": "wine-quality",
    "kind": "serve",
    "platform": "linux/amd64",
    "config_digest": A,
    "manifest_digest": B,
    "environment_document": {"v": 1, "os": "linux"},
    "layers": (LayerFact(kind="base", title="debian", diff_id=A),),
    "config": {"architecture": "amd64", "config": {"Cmd": ["python"]}},
    "runtime_variables": ("API_KEY",),
    "lock": B,
    "code": CODE,
    "record": A,
    "model": B,
}


def statement(digest: object, **extra: object) -> bytes:
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "x", "digest": digest}],
        "predicateType": "urn:t",
        "predicate": {},
    }
    return canonical.dumps(value | extra)


def test_a_statement_comes_back() -> None:
    payload = make_statement("urn:t", {"x": A, "y": B}, {"k": [1]})
    read = read_statement(payload, "urn:t")
    assert dict(read.subjects) == {"x": A, "y": B}
    assert read.predicate == {"k": [1]}
    assert payload.startswith(b'{"_type":"https://in-toto.io/Statement/v1","predicate":')


HEX = "a" * 64


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            statement({"sha256": "A" * 64}),
            (
                "not an in-toto statement: Expected `str` matching regex '^[0-9a-f]{64}\\\\Z' - "
                "at `$.subject[0].digest.sha256`"
            ),
        ),
        (
            statement({"sha256": HEX + "\n"}),
            (
                "not an in-toto statement: Expected `str` matching regex '^[0-9a-f]{64}\\\\Z' - "
                "at `$.subject[0].digest.sha256`"
            ),
        ),
        (
            statement({"sha1": HEX}),
            (
                "not an in-toto statement: Object contains unknown field `sha1` - "
                "at `$.subject[0].digest`"
            ),
        ),
        (
            statement({"sha256": HEX, "sha512": HEX}),
            (
                "not an in-toto statement: Object contains unknown field `sha512` - "
                "at `$.subject[0].digest`"
            ),
        ),
        (
            statement({}),
            (
                "not an in-toto statement: Object missing required field `sha256` - "
                "at `$.subject[0].digest`"
            ),
        ),
        (
            statement({"sha256": HEX}, subject=[]),
            "not an in-toto statement: Expected `array` of length >= 1 - at `$.subject`",
        ),
        (
            statement({"sha256": HEX}, _type="https://in-toto.io/Statement/v0.1"),
            (
                "not an in-toto statement: "
                "Invalid enum value 'https://in-toto.io/Statement/v0.1' - "
                "at `$._type`"
            ),
        ),
        (
            statement({"sha256": HEX}, more=1),
            "not an in-toto statement: Object contains unknown field `more`",
        ),
        (
            statement({"sha256": HEX}) + b" ",
            "not an in-toto statement: not in canonical form (RFC 8785)",
        ),
        (
            statement(None, subject=[{"name": "x", "digest": {"sha256": HEX}}] * 2),
            "two subjects have one name",
        ),
        (statement({"sha256": HEX}, predicateType="urn:u"), "a statement about something else"),
    ],
)
def test_loose_statements_are_refused(payload: bytes, message: str) -> None:
    with pytest.raises(RunError) as caught:
        read_statement(payload, "urn:t")
    assert caught.value.message == message


def test_an_image_statement_comes_back() -> None:
    read = read_image_statement(make_image_statement(**SERVE))
    expected = ImageStatement(environment=canonical.digest_of({"v": 1, "os": "linux"}), **SERVE)
    assert read == expected


def test_a_train_image_has_no_record() -> None:
    train = SERVE | {"kind": "train", "record": None, "model": None}
    read = read_image_statement(make_image_statement(**train))
    assert (read.kind, read.record, read.model) == ("train", None, None)


@pytest.mark.parametrize(
    "change",
    [{"kind": "train"}, {"record": None}, {"model": None}, {"record": None, "model": None}],
    ids=["train with record", "no record", "no model", "neither"],
)
def test_record_and_model_belong_to_a_serve_image(change: dict[str, Any]) -> None:
    with pytest.raises(RunError) as caught:
        read_image_statement(make_image_statement(**(SERVE | change)))
    assert str(caught.value) == (
        "image statement: predicate.materials: "
        "record and model belong to a serve image, and only to one"
    )


def document() -> Any:
    return canonical.loads(make_image_statement(**SERVE))


def other_environment(value: Any) -> None:
    value["predicate"]["environment"]["document"]["os"] = "plan9"


def other_code(value: Any) -> None:
    text = value["predicate"]["materials"]["code"]["manifest"]
    value["predicate"]["materials"]["code"]["manifest"] = text.replace("serve.py", "other.py")


def broken_code(value: Any) -> None:
    value["predicate"]["materials"]["code"]["manifest"] = "mllock-tree\t2\n"


def third_subject(value: Any) -> None:
    value["subject"].append({"name": "more", "digest": {"sha256": HEX}})


def unknown_field(value: Any) -> None:
    value["predicate"]["materials"]["also"] = None


def unknown_kind(value: Any) -> None:
    value["predicate"]["layers"][0]["kind"] = "magic"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (other_environment, "predicate.environment.digest"),
        (other_code, "predicate.materials.code.digest"),
        (broken_code, "predicate"),
        (third_subject, "subject"),
        (unknown_field, "predicate"),
        (unknown_kind, "predicate"),
    ],
)
def test_an_image_statement_must_agree_with_itself(change: Callable[[Any], None], key: str) -> None:
    value = document()
    change(value)
    with pytest.raises(RunError) as caught:
        read_image_statement(canonical.dumps(value))
    assert caught.value.key == key


def test_a_statement_of_another_type_is_no_image_statement() -> None:
    with pytest.raises(RunError) as caught:
        read_image_statement(make_statement("urn:other", {"config": A, "manifest": B}, {}))
    assert str(caught.value) == (
        "image statement: predicateType: a statement about something else\n"
        f"expected: {PREDICATE_TYPE}\n"
        "found: urn:other"
    )


def test_records_are_frozen() -> None:
    read = read_image_statement(make_image_statement(**SERVE))
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.lock = Digest("x")
