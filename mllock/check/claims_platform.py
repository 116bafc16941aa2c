"""What `environment` is held against where an image is for another platform than the run's. Pure.

A model is trained on one platform; its record names the environment of that one. The image for
another platform has other bytes by nature. It is held against the environment that its own image
statement names, and the claim is then never more than unproven: the bytes that serve are not those
that trained. Only a trusted statement about this record and lock can say that it is for another
platform; what the image says of itself cannot, so that it weakens no verdict. See ADR 0058.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mllock.attest.image_statement import ImageStatement
from mllock.check.document import Document, document_of
from mllock.check.evidence import Signed
from mllock.check.findings import unproven
from mllock.check.types import Difference, Finding
from mllock.train.record import Record

__all__ = ["listed_wrongly", "trained_on_another", "wanted_document"]


def wanted_document(
    record: Record, statement: Signed[ImageStatement] | None
) -> tuple[Document | None, bool]:
    """The environment that the target should have, and whether it is that of another platform."""
    own = document_of(record)
    believed = None if statement is None else statement.believed
    if own is None or believed is None:
        return own, False
    if (believed.record, believed.lock) != (record.digest, record.lock_content):
        return own, False
    try:
        stated = msgspec.convert(believed.environment_document, Document)
    except msgspec.ValidationError:
        return own, False
    if _platform(stated) == _platform(own) or believed.platform != _platform(stated):
        return own, False
    return stated, True


def listed_wrongly(listed_as: str | None, document: Document) -> Iterator[Difference]:
    """An index lists it for one platform, or one was asked for, and it should be of another."""
    if listed_as not in (None, _platform(document)):
        yield Difference(path="platform", expected=str(listed_as), found=_platform(document))


def trained_on_another(
    record: Record, statement: Signed[ImageStatement] | None, layers: str, source: str
) -> Finding:
    """The finding where all is as the statement says. `layers` says what was compared."""
    own = document_of(record)
    assert own is not None
    assert statement is not None
    assert statement.value is not None
    trained, here = _platform(own), statement.value.platform
    return unproven(
        "environment",
        f"trained on {trained}, this is for {here}: {layers} are the environment "
        f"{statement.value.environment} of the image statement, made from the same lock",
        cure=f"check the image for {trained}, train on {here}, "
        "or accept it with --allow-unproven environment",
        source=source,
    )


def _platform(document: Document) -> str:
    return f"{document.os}/{document.architecture}"
