"""Zip archives written field by field, so that each field can be a lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

DESCRIPTOR, UTF8 = 0x0008, 0x0800


@dataclass(frozen=True)
class Entry:
    """One entry; `local` and `central` replace header fields of one side only."""

    name: bytes
    data: bytes = b"data"
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    extra: bytes = b""
    before: bytes = b""
    after: bytes = b""
    descriptor: bytes | None = None
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        if self.method != 8:
            return self.data
        stream = zlib.compressobj(6, zlib.DEFLATED, -15)
        return stream.compress(self.data) + stream.flush()

    def but(self, **changes: Any) -> Entry:
        return replace(self, **changes)


def zipped(
    *entries: Entry,
    before: bytes = b"",
    gap: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    zip64: bool = False,
    disk: int = 0,
    directory_size: int | None = None,
    end_size: int | None = None,
) -> bytes:
    """`directory_size` is a lie of both ends, `end_size` of the one that is not zip64."""
    out = bytearray(before)
    directory = bytearray()
    for entry in entries:
        facts = {
            "name": entry.name,
            "flags": entry.flags,
            "method": entry.method,
            "crc": zlib.crc32(entry.data),
            "compressed": len(entry.body),
            "size": len(entry.data),
            "extra": entry.extra,
        }
        out += entry.before
        offset = len(out)
        local = facts | entry.local
        out += struct.pack(
            "<4s5H3L2H",
            b"PK\x03\x04",
            20,
            local["flags"],
            local["method"],
            0,
            0x21,
            local["crc"],
            local["compressed"],
            local["size"],
            len(local["name"]),
            len(local["extra"]),
        )
        out += local["name"] + local["extra"] + entry.body + entry.after
        if entry.descriptor is not None:
            out += entry.descriptor
        central = facts | {"offset": offset} | entry.central
        directory += struct.pack(
            "<4s6H3L5H2L",
            b"PK\x01\x02",
            0x0314,
            20,
            central["flags"],
            central["method"],
            0,
            0x21,
            central["crc"],
            central["compressed"],
            central["size"],
            len(central["name"]),
            len(central["extra"]),
            0,
            0,
            0,
            entry.mode << 16,
            central["offset"],
        )
        directory += central["name"] + central["extra"]
    out += gap
    start = len(out)
    out += directory
    size = len(directory) if directory_size is None else directory_size
    total = len(entries) if count is None else count
    if zip64:
        end = len(out)
        out += struct.pack(
            "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, disk, 0, total, total, size, start
        )
        out += struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
        total, size, start = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    size = size if end_size is None else end_size
    out += struct.pack("<4s4H2LH", b"PK\x05\x06", disk, 0, total, total, size, start, len(comment))
    return bytes(out + comment + after)
