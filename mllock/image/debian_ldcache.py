"""/etc/ld.so.cache, as ldconfig(8) of glibc 2.32 and later makes it, from nodes alone.

Without the cache the dynamic linker finds only its built-in folders, and Python's
`ctypes.util.find_library` finds nothing. The format is glibc's elf/cache.c, `cache_file_new`:
a header of 48 bytes, entries of 24 bytes sorted by soname, then strings; no extensions. For a
folder the entries are those of ldconfig: one for each soname that is there as a file. Folders of
glibc-hwcaps are left out: they hold faster variants of what the cache has.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from mllock.image.debian_tree import DebianTree

__all__ = ["ld_so_cache", "soname_of"]

_MAGIC = b"glibc-ld.so.cache1.1"
_LITTLE_ENDIAN = 2
# ELF e_machine -> (flags of an entry, the multiarch folder)
_MACHINES = {62: (0x0303, "x86_64-linux-gnu"), 183: (0x0A03, "aarch64-linux-gnu")}
_ENTRY = struct.Struct("<iIIIQ")
_HEADER = 48


def ld_so_cache(tree: DebianTree) -> bytes:
    """The cache for all of `tree`."""
    found: list[tuple[str, str, int]] = []
    seen: set[str] = set()
    for folder in _folders(tree):
        real = tree.follow(folder)
        if real is not None and real not in seen:
            seen.add(real)
            found += [
                (soname, f"{folder}/{soname}", flags) for soname, flags in _libraries(tree, real)
            ]
    # Descending, as ldconfig; a stable sort: of two folders with one soname, the first wins.
    found.sort(key=lambda entry: _order(entry[0]), reverse=True)
    return _encode(found)


def _folders(tree: DebianTree) -> Iterator[str]:
    yield from _configured(tree, "/etc/ld.so.conf", 0)
    for multiarch in sorted(folder for _, folder in _MACHINES.values()):
        yield from (f"/lib/{multiarch}", f"/usr/lib/{multiarch}")
    yield from ("/lib", "/usr/lib")


def _configured(tree: DebianTree, path: str, depth: int) -> Iterator[str]:
    text = (tree.read(path.lstrip("/")) or b"").decode("utf-8", "replace")
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] == "include" and depth < 4:
            folder, _, pattern = words[1].strip("/").rpartition("/")
            for found in tree.under(folder):
                if fnmatchcase(found.rpartition("/")[2], pattern):
                    yield from _configured(tree, f"/{found}", depth + 1)
        elif len(words) == 1 and words[0].startswith("/"):
            yield words[0].rstrip("/")


def _libraries(tree: DebianTree, folder: str) -> list[tuple[str, int]]:
    names = {path.rpartition("/")[2]: path for path in tree.under(folder)}
    found: dict[str, int] = {}
    for name, path in names.items():
        if not name.startswith(("lib", "ld-")) or ".so" not in name or name.endswith("-gdb.py"):
            continue
        real = tree.follow(path)
        data = tree.content(path)
        if real is None or data is None:
            continue
        read = soname_of(data)
        if read is None:
            continue
        soname, flags = read[0] or name, read[1]
        # A link for the linker is known by its own name.
        if real != path and name.endswith(".so") and soname.startswith(name):
            soname = name
        if soname in names:
            found[soname] = flags
    return sorted(found.items())


def soname_of(data: memoryview) -> tuple[str, int] | None:
    """The soname ("" if there is none) and cache flags of a shared object; None for others."""
    try:
        return _soname_of(data)
    except (struct.error, OverflowError):
        # A header that points outside of the file.
        return None


def _soname_of(data: memoryview) -> tuple[str, int] | None:
    # ELF-64, little endian, ET_DYN
    if bytes(data[:6]) != b"\x7fELF\x02\x01":
        return None
    kind, machine = struct.unpack_from("<HH", data, 16)
    if kind != 3 or machine not in _MACHINES:
        return None
    (phoff,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    for number in range(count):
        at = phoff + number * size
        (segment,) = struct.unpack_from("<I", data, at)
        offset, address, _, length = struct.unpack_from("<QQQQ", data, at + 8)
        if segment == 1:
            loads.append((address, offset, length))
        elif segment == 2:
            dynamic = (offset, length)
    if dynamic is None:
        return None
    values: dict[int, int] = {}
    for at in range(dynamic[0], dynamic[0] + dynamic[1] - 15, 16):
        tag, value = struct.unpack_from("<qQ", data, at)
        if tag == 0:
            break
        values.setdefault(tag, value)
    flags = _MACHINES[machine][0]
    if 14 not in values or 5 not in values:
        return "", flags
    for address, offset, length in loads:
        if address <= values[5] < address + length:
            start = values[5] - address + offset + values[14]
            text = bytes(data[start : start + 4096]).partition(b"\0")[0]
            return text.decode("utf-8", "replace"), flags
    return "", flags


def _order(soname: str) -> tuple[tuple[int, int], ...]:
    # _dl_cache_libcmp: runs of digits by their number, and after every other character.
    return tuple(
        (1, int(part)) if part.isdigit() else (0, ord(part))
        for part in re.findall(r"[0-9]+|[^0-9]", soname)
    )


def _encode(entries: Sequence[tuple[str, str, int]]) -> bytes:
    strings = bytearray()
    start = _HEADER + _ENTRY.size * len(entries)
    table = bytearray()
    for soname, path, flags in entries:
        value = start + len(strings)
        raw = path.encode()
        # The soname is the end of the path.
        key = value + len(raw) - len(soname.encode())
        strings += raw + b"\0"
        table += _ENTRY.pack(flags, key, value, 0, 0)
    header = _MAGIC + struct.pack("<IIB3xI12x", len(entries), len(strings), _LITTLE_ENDIAN, 0)
    return bytes(header + table + strings)
