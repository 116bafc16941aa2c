"""A strict reader of zip archives: where each entry lies, if nothing about the archive is in doubt.

Two readers of one zip can see two different archives. This one accepts only what all of them see
the same way (APPNOTE 6.3.10): the archive is entries, then central directory, then its end, with
nothing before, between or after; local headers agree with the central directory; names are safe,
unique and do not fold together. Compression is stored or deflate. Number and sizes of entries are
bounded. It reads no content: CRC and size of an entry are verified by whoever inflates it
(`mllock.image.content`).
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import NoReturn

import msgspec

from mllock.core import safepath
from mllock.errors import ArchiveError

__all__ = ["ZipEntry", "read_zip"]

# The largest wheels have 30,000 files and unpack to some GB.
MAX_DIRECTORY = 128 * 1024 * 1024
MAX_ENTRIES = 500_000
MAX_UNPACKED = 64 * 1024**3
# RFC 1951: a byte of a deflate stream says 1032 bytes at most.
_MAX_RATIO = 1032
STORED, DEFLATED = 0, 8

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")

_BIT_DESCRIPTOR = 0x0008
_BIT_UTF8 = 0x0800
# Bits 1 and 2 are how hard deflate tried.
_ALLOWED_BITS = 0x0006 | _BIT_DESCRIPTOR | _BIT_UTF8
_ENCRYPTED_BITS = 0x0001 | 0x0040 | 0x2000
_EXTRA_ZIP64 = 0x0001
# Info-ZIP's other name for an entry, which some readers prefer.
_EXTRA_UNICODE_PATH = 0x7075
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


class ZipEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One file. `offset` is of its data; `mode` is what Unix says, 0 where it says nothing."""

    name: str
    method: int
    offset: int
    compressed: int
    size: int
    crc: int
    mode: int


class _Central(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    name: str
    raw: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    header: int
    mode: int


def read_zip(path: Path, label: str | None = None) -> tuple[ZipEntry, ...]:
    """The files of the archive at `path`, in its own order; folders are implied and left out.

    Raises ArchiveError that names `label` (default: the file's name) and the entry.
    """
    with path.open("rb") as file:
        return _Reader(file.fileno(), label or path.name).entries()


class _Reader:
    def __init__(self, descriptor: int, label: str) -> None:
        self._file = descriptor
        self._label = label
        self._length = os.fstat(descriptor).st_size

    def entries(self) -> tuple[ZipEntry, ...]:
        start, end, count = self._find_directory()
        directory = self._directory(start, end, count)
        self._check_names(directory)
        position = 0
        found: dict[str, ZipEntry] = {}
        # In the order of their places: each must begin where the one before ends.
        ordered = sorted(directory, key=lambda e: e.header)
        limits = [*(e.header for e in ordered[1:]), start]
        for entry, limit in zip(ordered, limits, strict=False):
            if entry.header != position:
                self._refuse("bytes that belong to no entry, or to two, before it", entry.name)
            found[entry.name], position = self._local(entry, start, limit)
        if position != start:
            self._refuse("bytes between the entries and the central directory")
        return tuple(found[e.name] for e in directory if not e.name.endswith("/"))

    def _find_directory(self) -> tuple[int, int, int]:
        """(start, end, number of entries) of the central directory."""
        at = self._length - _END.size
        if at < 0:
            self._refuse("not a zip archive")
        fields = _END.unpack(self._read(at, _END.size))
        if fields[0] != b"PK\x05\x06" or fields[7] != 0:
            self._refuse("not a zip archive, or one with bytes after its end")
        disk, first_disk, here, count, size, offset = fields[1:7]
        end = at
        locator = self._read(at - _LOCATOR.size, _LOCATOR.size) if at >= _LOCATOR.size else b""
        if locator[:4] == b"PK\x06\x07":
            _, disk64, place, disks = _LOCATOR.unpack(locator)
            end = at - _LOCATOR.size - _END64.size
            if disk64 != 0 or disks != 1 or place != end or end < 0:
                self._refuse("its zip64 end is not where it says")
            wide = _END64.unpack(self._read(end, _END64.size))
            if wide[0] != b"PK\x06\x06" or wide[1] != _END64.size - 12:
                self._refuse("its zip64 end is not where it says")
            for narrow, full, limit in (
                (disk, wide[4], _MAX16),
                (first_disk, wide[5], _MAX16),
                (here, wide[6], _MAX16),
                (count, wide[7], _MAX16),
                (size, wide[8], _MAX32),
                (offset, wide[9], _MAX32),
            ):
                if narrow not in (limit, full):
                    self._refuse("its end and its zip64 end disagree")
            disk, first_disk, here, count, size, offset = wide[4:10]
        if disk != 0 or first_disk != 0 or here != count:
            self._refuse("an archive of several disks")
        if offset + size != end:
            self._refuse("bytes before the archive, or around its central directory")
        if size > MAX_DIRECTORY:
            self._refuse(f"a central directory of {size} bytes, at most {MAX_DIRECTORY} are read")
        if count > MAX_ENTRIES:
            self._refuse(f"{count} entries, at most {MAX_ENTRIES} are read")
        return offset, end, count

    def _directory(self, start: int, end: int, count: int) -> list[_Central]:
        data = self._read(start, end - start)
        found: list[_Central] = []
        at = 0
        while at < len(data):
            if len(data) - at < _CENTRAL.size:
                self._refuse("its central directory is cut short")
            fields = _CENTRAL.unpack_from(data, at)
            name_at = at + _CENTRAL.size
            extra_at = name_at + fields[10]
            at = extra_at + fields[11] + fields[12]
            if fields[0] != b"PK\x01\x02" or at > len(data):
                self._refuse("its central directory is damaged")
            found.append(
                self._central(
                    fields, data[name_at:extra_at], data[extra_at : extra_at + fields[11]]
                )
            )
            if len(found) > count:
                break
        if len(found) != count:
            self._refuse(f"its entries are not {count}, as its end says")
        total = sum(entry.size for entry in found)
        if total > MAX_UNPACKED:
            self._refuse(f"it unpacks to {total} bytes, at most {MAX_UNPACKED} are read")
        return found

    def _central(self, fields: tuple[int, ...], raw: bytes, extra: bytes) -> _Central:
        flags, method, crc, disk, attributes = (fields[i] for i in (3, 4, 7, 13, 15))
        name = self._name(raw, flags)
        if flags & _ENCRYPTED_BITS:
            self._refuse("an encrypted entry", name)
        if flags & ~_ALLOWED_BITS:
            self._refuse(f"an entry with unknown flags {flags:#06x}", name)
        if method not in (STORED, DEFLATED):
            self._refuse(f"compression method {method}; only stored and deflate are read", name)
        compressed, size, header = fields[8], fields[9], fields[16]
        if extra or _MAX32 in (compressed, size, header):
            wide = iter(self._zip64(extra, name))
            size, compressed, header = (
                (next(wide, -1) if value == _MAX32 else value)
                for value in (size, compressed, header)
            )
            if min(size, compressed, header) < 0 or next(wide, None) is not None:
                self._refuse("an entry whose zip64 sizes cannot be read", name)
        if disk != 0:
            self._refuse("an entry whose zip64 sizes cannot be read", name)
        if method == STORED and size != compressed:
            self._refuse("a stored entry of two sizes", name)
        if method == DEFLATED and size > compressed * _MAX_RATIO:
            self._refuse(f"{compressed} bytes of deflate are not {size} bytes of content", name)
        mode = attributes >> 16
        if stat.S_ISLNK(mode):
            self._refuse("a symbolic link", name)
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            self._refuse("an entry that is neither file nor folder", name)
        if name.endswith("/") and size:
            self._refuse("a folder with content", name)
        return _Central(
            name=name,
            raw=raw,
            flags=flags,
            method=method,
            crc=crc,
            compressed=compressed,
            size=size,
            header=header,
            mode=mode,
        )

    def _name(self, raw: bytes, flags: int) -> str:
        if not flags & _BIT_UTF8 and not raw.isascii():
            self._refuse("a name that is neither ASCII nor marked as UTF-8", repr(raw)[2:-1])
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("a name that is not UTF-8", repr(raw)[2:-1])
        reason = safepath.problem(name.removesuffix("/"))
        if reason is not None:
            self._refuse(reason, ascii(name)[1:-1])
        return name

    def _zip64(self, extra: bytes, name: str) -> tuple[int, ...]:
        """The 8-byte values of the zip64 extra field, if there is one."""
        if not extra:
            return ()
        values: tuple[int, ...] | None = None
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            at += 4 + length
            if at > len(extra):
                self._refuse("an extra field that is cut short", name)
            if kind == _EXTRA_UNICODE_PATH:
                self._refuse("an entry with a second name", name)
            if kind == _EXTRA_ZIP64:
                if values is not None or length % 8:
                    self._refuse("an entry whose zip64 sizes cannot be read", name)
                values = struct.unpack_from(f"<{length // 8}Q", extra, at - length)
        return values or ()

    def _check_names(self, directory: list[_Central]) -> None:
        every = [entry.name for entry in directory]
        removal = safepath.whiteout(every)
        if removal is not None:
            self._refuse(
                'a name that begins with ".wh.": in an image it would remove another file', removal
            )
        if not _are_plain(every):
            self._refuse_names(directory)

    def _refuse_names(self, directory: list[_Central]) -> None:
        names: dict[str, str] = {}
        files: set[str] = {e.name for e in directory if not e.name.endswith("/")}
        seen: set[str] = set()
        for entry in directory:
            if entry.name in seen:
                self._refuse("the same name twice", entry.name)
            seen.add(entry.name)
            parts = entry.name.removesuffix("/").split("/")
            for depth in range(len(parts), 0, -1):
                prefix = "/".join(parts[:depth])
                if prefix in files and prefix != entry.name:
                    self._refuse("both a file and a folder", prefix)
                key = safepath.fold(prefix)
                other = names.get(key)
                if other == prefix:
                    break
                if other is not None:
                    self._refuse(f'its name and "{other}" fold together', prefix)
                names[key] = prefix

    def _local(self, entry: _Central, limit: int, follower: int) -> tuple[ZipEntry, int]:
        """The entry with the place of its data, and where it ends. `follower` is where the next
        one, or the central directory at `limit`, says that it begins."""
        head = self._read(entry.header, _LOCAL.size + len(entry.raw))
        signature, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = (
            _LOCAL.unpack_from(head)
        )
        if signature != b"PK\x03\x04":
            self._refuse("no local header where the central directory says", entry.name)
        same = (flags, method, name_length, head[_LOCAL.size :]) == (
            entry.flags,
            entry.method,
            len(entry.raw),
            entry.raw,
        )
        after = bool(flags & _BIT_DESCRIPTOR)
        extra_at = entry.header + _LOCAL.size + name_length
        if extra_length or _MAX32 in (size, compressed):
            values = iter(self._zip64(self._read(extra_at, extra_length), entry.name))
            size = next(values, -1) if size == _MAX32 else size
            compressed = next(values, -1) if compressed == _MAX32 else compressed
        zeros = after and (crc, compressed, size) == (0, 0, 0)
        if not same or not (
            zeros or (crc, compressed, size) == (entry.crc, entry.compressed, entry.size)
        ):
            self._refuse("its local header and the central directory disagree", entry.name)
        offset = extra_at + extra_length
        end = offset + entry.compressed
        if end > limit:
            self._refuse("its data reach into the central directory", entry.name)
        if after:
            end += self._descriptor(entry, end, follower)
        return (
            ZipEntry(
                name=entry.name,
                method=entry.method,
                offset=offset,
                compressed=entry.compressed,
                size=entry.size,
                crc=entry.crc,
                mode=entry.mode,
            ),
            end,
        )

    def _descriptor(self, entry: _Central, at: int, follower: int) -> int:
        """The length of the data descriptor at `at`: 12 to 24 bytes, all forms that are in use.

        Of an empty file's the zip64 form begins like the short one: the one that ends where the
        next entry begins is meant, else the first that fits.
        """
        data = self._read(at, min(24, self._length - at))
        fitting: list[int] = []
        for form in ("<4sLLL", "<4sLQQ", "<LLL", "<LQQ"):
            width = struct.calcsize(form)
            if len(data) < width:
                continue
            values = struct.unpack_from(form, data)
            if form[1] == "4":
                if values[0] != b"PK\x07\x08":
                    continue
                values = values[1:]
            if values == (entry.crc, entry.compressed, entry.size):
                fitting.append(width)
        if not fitting:
            self._refuse("its data descriptor and the central directory disagree", entry.name)
        return follower - at if follower - at in fitting else fitting[0]

    def _read(self, at: int, length: int) -> bytes:
        data = os.pread(self._file, length, at) if length and at >= 0 else b""
        if len(data) != length:
            self._refuse("the archive ends within an entry")
        return data

    def _refuse(self, message: str, entry: str | None = None) -> NoReturn:
        raise ArchiveError(message, file=self._label, key=entry)


def _are_plain(names: list[str]) -> bool:
    """Whether all is well at a glance: ASCII, unique, and no two of the paths and their parents
    are one another's folder or fold together."""
    folders: set[str] = set()
    for name in names:
        at = name.rfind("/")
        while at > 0 and (parent := name[:at]) not in folders:
            folders.add(parent)
            at = parent.rfind("/")
    files = {name for name in names if not name.endswith("/")}
    every = files | folders
    return (
        "".join(names).isascii()
        and len(set(names)) == len(names)
        and files.isdisjoint(folders)
        and len({path.lower() for path in every}) == len(every)
    )
