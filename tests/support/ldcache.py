"""Shared objects as small as they can be, and a reader of the linker's cache of its own."""

from __future__ import annotations

import struct


def shared_object(soname: str | None, *, machine: int = 62, kind: int = 3) -> bytes:
    """The smallest ELF file with a dynamic section: strings at 0x200, the section at 0x100."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", kind, machine, 1, 0, 64, 0)
    header += struct.pack("<IHHHHHH", 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0, 0x400, 0x400, 0)
    dynamic = struct.pack("<IIQQQQQQ", 2, 6, 0x100, 0x1100, 0, 0x40, 0x40, 0)
    tags = [(5, 0x1200)] + ([(14, 1)] if soname is not None else []) + [(0, 0)]
    body = bytearray(0x400)
    body[: len(header + load + dynamic)] = header + load + dynamic
    section = b"".join(struct.pack("<qQ", tag, value) for tag, value in tags)
    body[0x100 : 0x100 + len(section)] = section
    body[0x201 : 0x201 + len((soname or "").encode())] = (soname or "").encode()
    return bytes(body)


def entries(cache: bytes) -> list[tuple[str, str]]:
    """What a reader of the format finds: (soname, path)."""
    assert cache[:20] == b"glibc-ld.so.cache1.1"
    count, length = struct.unpack_from("<II", cache, 20)
    assert len(cache) == 48 + 24 * count + length
    found = []
    for number in range(count):
        flags, key, value, _, hwcap = struct.unpack_from("<iIIIQ", cache, 48 + 24 * number)
        assert (flags, hwcap) == (0x0303, 0)
        texts = [cache[at : cache.index(b"\0", at)].decode() for at in (key, value)]
        found.append((texts[0], texts[1]))
    return found
