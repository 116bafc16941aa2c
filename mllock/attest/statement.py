"""in-toto Statement v1, read strictly: sha256 in lower-case hex and nothing else.

https://github.com/in-toto/attestation, spec/v1. The in-toto library's own `validate()` accepts
digests that are not hex and algorithms that nobody knows: such a statement binds nothing.
Only verified bytes should come here. Raises RunError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mllock.core import canonical
from mllock.core.digest import Digest, from_hex, hex_of
from mllock.errors import RunError

__all__ = [
    "STATEMENT_TYPE",
    "DigestSet",
    "Statement",
    "Strict",
    "Subject",
    "digest_set",
    "make_statement",
    "read_statement",
]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

NonEmpty = Annotated[str, Meta(min_length=1)]


class Strict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A JSON object of a statement: camelCase names, unknown fields are errors."""


class DigestSet(Strict, frozen=True, kw_only=True):
    """Exactly one sha256."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

    @property
    def digest(self) -> Digest:
        return from_hex(self.sha256)


class Subject(Strict, frozen=True, kw_only=True):
    name: NonEmpty
    digest: DigestSet


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement whose subjects have different names; `predicate` is read by its own type."""

    type: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: Annotated[tuple[Subject, ...], Meta(min_length=1)]
    predicate_type: NonEmpty = msgspec.field(name="predicateType")
    predicate: dict[str, Any]

    @property
    def subjects(self) -> Mapping[str, Digest]:
        return {subject.name: subject.digest.digest for subject in self.subject}


def digest_set(digest: Digest) -> dict[str, str]:
    """`digest` as in-toto writes it."""
    return {"sha256": hex_of(digest)}


def make_statement(
    predicate_type: str, subjects: Mapping[str, Digest], predicate: Mapping[str, Any]
) -> bytes:
    """The statement as canonical JSON. The order of `subjects` is kept."""
    return canonical.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": n, "digest": digest_set(d)} for n, d in subjects.items()],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def read_statement(payload: bytes, predicate_type: str, *, name: str = "statement") -> Statement:
    """Read a statement of one predicate type, written as canonical JSON."""
    try:
        value = canonical.loads(payload)
        statement = msgspec.convert(value, Statement)
        canonical_form = canonical.dumps(value)
    except ValueError as error:
        raise RunError(f"not an in-toto statement: {error}", file=name) from None
    if canonical_form != payload:
        raise RunError("not an in-toto statement: not in canonical form (RFC 8785)", file=name)
    if statement.predicate_type != predicate_type:
        raise RunError(
            "a statement about something else",
            file=name,
            key="predicateType",
            expected=predicate_type,
            found=statement.predicate_type,
        )
    if len(statement.subjects) != len(statement.subject):
        raise RunError("two subjects have one name", file=name, key="subject")
    return statement
