"""The smallest ELF files that say what a test wants them to say; none of them runs."""

from __future__ import annotations

import struct


def elf(
    machine: int,
    *,
    interpreter: str | None = None,
    needed: tuple[str, ...] = (),
    runpath: str | None = None,
    strings: bool = True,
) -> bytes:
    """64-bit, little-endian; one segment to load, from the first byte, at address 0x1000."""
    names = b"\0"
    dynamic: list[tuple[int, int]] = []
    for tag, text in [(1, name) for name in needed] + ([(29, runpath)] if runpath else []):
        dynamic.append((tag, len(names)))
        names += text.encode() + b"\0"
    count = 2 + (interpreter is not None)
    at = 64 + 56 * count
    loader = b"" if interpreter is None else interpreter.encode() + b"\0"
    table_at = at + len(loader)
    if strings:
        dynamic.append((5, 0x1000 + table_at + 16 * (len(dynamic) + 2)))
    dynamic.append((0, 0))
    table = b"".join(struct.pack("<qQ", *entry) for entry in dynamic)
    size = table_at + len(table) + len(names)
    segments = [(1, 0, 0x1000, size), (2, table_at, 0x1000 + table_at, len(table))]
    if interpreter is not None:
        segments.append((3, at, 0x1000 + at, len(loader)))
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(3, machine, 1, 0, 64, 0, 0, 64, 56, count, 64, 0, 0),
    )
    programs = b"".join(
        struct.pack("<IIQQQQQQ", kind, 4, offset, address, address, length, length, 8)
        for kind, offset, address, length in segments
    )
    return header + programs + loader + table + names
