"""The environment document of a record, read strictly: docs/reference/environment-digest.md."""

from __future__ import annotations

from typing import Literal

import msgspec

from mllock.train.record import Record

__all__ = ["Document", "document_of"]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an environment digest is of."""

    v: Literal[1]
    os: str
    architecture: str
    variant: str
    diff_ids: tuple[str, ...]
    variables: dict[str, str]
    user: str
    workdir: str


def document_of(record: Record) -> Document | None:
    """The document, or None if the record holds something else in its place."""
    try:
        return msgspec.convert(record.environment_document, Document)
    except msgspec.ValidationError:
        return None
