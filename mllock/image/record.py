"""RECORD, the list of files of a wheel: read strictly, written canonically.

Reading holds RECORD and archive against each other: each file of the archive is listed with a
sha256, and each listed file exists. Writing gives sorted rows with LF and unpadded base64, so that
one set of files has one RECORD. Spec: PyPA "Recording installed projects" and "Binary distribution
format".
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from mllock.core.digest import HEX_LENGTH, Digest, hex_of
from mllock.errors import ArchiveError
from mllock.image.zip import ZipEntry

__all__ = ["Row", "read_record", "write_record"]

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# Files that cannot be in the list: the list, and signatures of it.
_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    path: str
    digest: Digest
    size: int


def read_record(
    text: bytes, dist_info: str, entries: Mapping[str, ZipEntry], label: str
) -> Mapping[str, Digest]:
    """Name -> digest for every file but RECORD itself. Raises ArchiveError that names the file."""
    unlisted = {f"{dist_info}/{name}" for name in _UNLISTED}
    digests: dict[str, Digest] = {}
    for row in _rows(text, dist_info, label):
        if not row:
            continue
        name = row[0]
        if len(row) != 3:
            raise ArchiveError("a row of RECORD that has not three fields", file=label, key=name)
        if name in unlisted:
            continue
        entry = entries.get(name)
        if entry is None:
            raise ArchiveError("RECORD lists a file that is not there", file=label, key=name)
        if name in digests:
            raise ArchiveError("RECORD lists a file twice", file=label, key=name)
        digests[name] = _digest(row[1], label, name)
        if row[2] not in ("", str(entry.size)):
            raise ArchiveError(
                "its size is not what RECORD says",
                file=label,
                key=name,
                expected=row[2],
                found=str(entry.size),
            )
    for name in entries:
        if name not in digests and name not in unlisted:
            raise ArchiveError("RECORD does not list this file", file=label, key=name)
    return digests


def _rows(text: bytes, dist_info: str, label: str) -> Iterator[list[str]]:
    """One by one: there may be far more of them than there are files."""
    try:
        decoded = io.StringIO(text.decode("utf-8"), newline="")
        yield from csv.reader(decoded, strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArchiveError(
            f"RECORD is not CSV in UTF-8: {error}", file=label, key=f"{dist_info}/RECORD"
        ) from None


def _digest(text: str, label: str, name: str) -> Digest:
    algorithm, _, value = text.partition("=")
    if algorithm == "sha256":
        try:
            raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
            if len(raw) == HEX_LENGTH // 2:
                return Digest(f"sha256:{raw.hex()}")
        except (ValueError, binascii.Error):
            pass
    raise ArchiveError(
        "RECORD has no sha256 for this file", file=label, key=name, found=text or "nothing"
    )


def write_record(rows: Iterable[Row], record: str) -> bytes:
    """The RECORD of an installed project; `record` is its own path, without digest."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    lines = [(row.path, f"sha256={_base64(row.digest)}", str(row.size)) for row in rows]
    for line in sorted([*lines, (record, "", "")], key=lambda fields: fields[0].encode()):
        writer.writerow(line)
    return out.getvalue().encode()


def _base64(digest: Digest) -> str:
    raw = binascii.b2a_base64(bytes.fromhex(hex_of(digest)), newline=False)
    return raw.rstrip(b"=").translate(_URL_SAFE).decode()
