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
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mllock.errors import ArchiveError
from mllock.image.debian_tree import DebianTree

__all__ = ["Entry", "cache_above", "ld_so_cache", "read_cache", "soname_of"]

_MAGIC = b"glibc-ld.so.cache1.1"
_LITTLE_ENDIAN = 2
# ELF e_machine -> (flags of an entry, the multiarch folder)
_MACHINES = {62: (0x0303, "x86_64-linux-gnu"), 183: (0x0A03, "aarch64-linux-gnu")}
_ENTRY = struct.Struct("<iIIIQ")
_HEADER = 48
# DL_CACHE_HWCAP_EXTENSION: the entry is for some processors only, named in an extension.
_EXTENSION = 1 << 62


@dataclass(frozen=True, slots=True)
class Entry:
    """A library of the cache. `rest` is what glibc keeps beside: OS version and hwcap."""

    soname: str
    path: str
    flags: int
    rest: tuple[int, int] = (0, 0)


def ld_so_cache(tree: DebianTree) -> bytes:
    """The cache for all of `tree`."""
    return _encode(_sorted(_found(tree)))


def cache_above(tree: DebianTree, lower: bytes) -> bytes | None:
    """The cache `lower` of a base with the libraries that are new in `tree`; None if none is.

    The order of folders is that of `tree`; among those that it does not know, that of `lower`.
    Raises ArchiveError for a cache that cannot be read, and so could not be kept.
    """
    new = _found(tree)
    if not new:
        return None
    paths = {entry.path for entry in new}
    kept = [entry for entry in read_cache(lower) if entry.path not in paths]
    order = {folder: number for number, folder in enumerate(_folders(tree))}
    both = sorted(
        (*new, *kept), key=lambda entry: order.get(entry.path.rpartition("/")[0], len(order))
    )
    return _encode(_sorted(both))


def _found(tree: DebianTree) -> list[Entry]:
    found: list[Entry] = []
    seen: set[str] = set()
    for folder in _folders(tree):
        real = tree.follow(folder)
        if real is not None and real not in seen:
            seen.add(real)
            found += [
                Entry(soname, f"{folder}/{soname}", flags)
                for soname, flags in _libraries(tree, real)
            ]
    return found


def _sorted(entries: Sequence[Entry]) -> list[Entry]:
    # Descending, as ldconfig; a stable sort: of two folders with one soname, the first wins.
    return sorted(entries, key=lambda entry: _order(entry.soname), reverse=True)


def read_cache(data: bytes) -> list[Entry]:
    """The entries of a cache, in its order. Extensions, which name the tool, are left out.

    Raises ArchiveError. Law: `read_cache(ld_so_cache(tree))` is what was found in the tree.
    """
    try:
        return _entries(data)
    except (struct.error, ValueError) as error:
        raise ArchiveError(
            f"the base has a cache of its libraries that cannot be added to: {error}",
            file="etc/ld.so.cache",
            hint="take a base that has the libraries, and leave system-packages out",
        ) from None


def _entries(data: bytes) -> list[Entry]:
    if data[:20] != _MAGIC:
        raise ValueError("not glibc's new format")
    count, _, _, _ = struct.unpack_from("<IIB3xI", data, 20)
    entries = []
    for number in range(count):
        at = _HEADER + number * _ENTRY.size
        flags, key, value, os_version, hwcap = _ENTRY.unpack_from(data, at)
        if hwcap & _EXTENSION:
            raise ValueError("libraries of glibc-hwcaps")
        soname, path = (_string(data, start) for start in (key, value))
        entries.append(Entry(soname, path, flags, (os_version, hwcap)))
    return entries


def _string(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + 4096)
    if at >= len(data) or end < 0:
        raise ValueError("a string outside of the file")
    return data[at:end].decode("utf-8")


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


def _encode(entries: Sequence[Entry]) -> bytes:
    strings = bytearray()
    start = _HEADER + _ENTRY.size * len(entries)
    table = bytearray()
    for entry in entries:
        value = start + len(strings)
        raw, soname = entry.path.encode(), entry.soname.encode()
        strings += raw + b"\0"
        # The soname is the end of the path, as a rule.
        key = value + len(raw) - len(soname)
        if not raw.endswith(b"/" + soname):
            key = start + len(strings)
            strings += soname + b"\0"
        table += _ENTRY.pack(entry.flags, key, value, *entry.rest)
    header = _MAGIC + struct.pack("<IIB3xI12x", len(entries), len(strings), _LITTLE_ENDIAN, 0)
    return bytes(header + table + strings)
