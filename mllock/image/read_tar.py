"""A tar stream as headers and bytes, read as strictly as mllock writes it.

POSIX ustar with PAX `path`, `linkpath`, `size`, `uid` and `gid`, and these only where ustar has no
room: what one reader takes from the header and another from an override cannot differ. GNU and
global extensions, sparse files, devices and FIFOs, bytes after a NUL, data on links, a missing
end and anything after it are refused. Names are checked here; what they mean in a file system is
decided in `mllock.image.read`. Raises ArchiveError without place: the caller knows the layer.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mllock.errors import ArchiveError

__all__ = ["Header", "Source", "headers", "strict_header", "strict_pax"]

BLOCK = 512
ZERO = bytes(BLOCK)
MAX_PAX = 64 * 1024
MAX_PATH = 4096
MAX_PART = 255
USTAR_NAME = 100
USTAR_SIZE = 0o77777777777
USTAR_ID = 0o7777777

TarKind = Literal["file", "folder", "symlink", "hardlink"]
_KINDS: dict[bytes, TarKind] = {b"0": "file", b"1": "hardlink", b"2": "symlink", b"5": "folder"}
# A hard link is to a file: only those are archived as one.
_TYPES: dict[TarKind, int] = {
    "file": stat.S_IFREG,
    "hardlink": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "folder": stat.S_IFDIR,
}
_OCTAL = re.compile(rb"([0-7]+)[ \x00]+")
_RECORD_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_PAX_KEYS = frozenset({"path", "linkpath", "size", "uid", "gid"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """One member: `size` in bytes follow it in the source. `target` is for links."""

    path: str
    kind: TarKind
    mode: int
    uid: int
    gid: int
    size: int
    target: str | None


class Source:
    """Chunks of a stream, taken in the pieces that a reader needs."""

    __slots__ = ("_at", "_chunk", "_chunks")

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes. Raises ArchiveError if there are fewer."""
        while count:
            if self._at == len(self._chunk):
                self._chunk = next(self._chunks, b"")
                self._at = 0
                if not self._chunk:
                    raise ArchiveError("the tar ends early")
            piece = memoryview(self._chunk)[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end <= len(self._chunk):
            data = self._chunk[self._at : end]
            self._at = end
            return data
        return b"".join(self.pieces(count))

    def drain(self) -> Iterator[bytes]:
        """All that is left."""
        yield self._chunk[self._at :]
        yield from self._chunks


def headers(source: Source) -> Iterator[Header]:
    """The members in order. Between two of them the caller takes the member's `size` bytes; the
    padding is taken here, and must be zero. Ends at the end of the stream."""
    while True:
        block = source.take(BLOCK)
        if block == ZERO:
            break
        pax: dict[str, str] = {}
        if block[156:157] == b"x":
            pax = strict_pax(source, _number(block, 124, 12, "size"))
            block = source.take(BLOCK)
        header = strict_header(block, pax)
        yield header
        _padding(source, header.size)
    if source.take(BLOCK) != ZERO:
        raise ArchiveError("one zero block where the tar should end")
    for chunk in source.drain():
        if chunk.count(0) != len(chunk):
            raise ArchiveError("data after the end of the tar")


def strict_header(block: bytes, pax: dict[str, str]) -> Header:
    """A member by its header block and PAX records. Raises ArchiveError."""
    _checksum(block)
    if block[257:265] != b"ustar\x0000":
        raise ArchiveError(f"not a ustar header: {block[257:265]!r}")
    flag = block[156:157]
    name, prefix = _text(block, 0, 100), _text(block, 345, 155)
    if block[500:] != bytes(12):
        raise ArchiveError("bytes in the padding of a header")
    path = f"{prefix}/{name}" if prefix else name
    if "path" in pax:
        path = _override(pax["path"], "path")
    kind = _KINDS.get(flag)
    if kind is None:
        raise ArchiveError(f"member {path!r} is of type {flag!r}: not a file, folder or link")
    if kind == "folder":
        path = path.removesuffix("/")
    _safe(path)
    size = _overridden(pax, "size", _number(block, 124, 12, "size"), USTAR_SIZE)
    if kind != "file" and size:
        raise ArchiveError(f"member {path!r} is a {kind} with data")
    target = _text(block, 157, 100)
    if "linkpath" in pax:
        target = _override(pax["linkpath"], "linkpath")
    if (kind in ("symlink", "hardlink")) != bool(target):
        raise ArchiveError(f"member {path!r} is a {kind} with link target {target!r}")
    if len(target.encode()) > MAX_PATH:
        raise ArchiveError(f"member {path!r} has a link target of more than {MAX_PATH} bytes")
    mode = _number(block, 100, 8, "mode")
    if stat.S_IFMT(mode) == _TYPES[kind]:
        # Container engines say the type of a file here as well.
        mode = stat.S_IMODE(mode)
    if mode > 0o7777:
        raise ArchiveError(f"member {path!r} has mode {mode:o}")
    return Header(
        path=path,
        kind=kind,
        mode=mode,
        uid=_overridden(pax, "uid", _number(block, 108, 8, "uid"), USTAR_ID),
        gid=_overridden(pax, "gid", _number(block, 116, 8, "gid"), USTAR_ID),
        size=size,
        target=target or None,
    )


def _checksum(block: bytes) -> None:
    # POSIX pax, ustar: the sum of all bytes, with the checksum field as spaces.
    total = sum(block) - sum(block[148:156]) + 8 * 0x20
    if _number(block, 148, 8, "checksum") != total:
        raise ArchiveError("a tar header with a wrong checksum")


def _number(block: bytes, at: int, length: int, name: str) -> int:
    match = _OCTAL.fullmatch(block, at, at + length)
    if match is None:
        raise ArchiveError(f"a tar header whose {name} is {block[at : at + length]!r}")
    return int(match[1], 8)


def _text(block: bytes, at: int, length: int) -> str:
    raw, _, rest = block[at : at + length].partition(b"\0")
    if rest.count(0) != len(rest):
        raise ArchiveError(f"a tar header with bytes after the end of {raw!r}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError(f"a name that is not UTF-8: {raw!r}") from None


def _safe(path: str) -> None:
    if len(path.encode()) > MAX_PATH:
        raise ArchiveError(f"path of more than {MAX_PATH} bytes: {path[:80]!r}...")
    for part in path.split("/"):
        if part in ("", ".", "..") or "\0" in part:
            raise ArchiveError(f"a path that is not plain and relative: {path!r}")
        if len(part.encode()) > MAX_PART:
            raise ArchiveError(f"name of more than {MAX_PART} bytes: {path[:80]!r}...")


def _padding(source: Source, size: int) -> None:
    pad = source.take(-size % BLOCK)
    if pad.count(0) != len(pad):
        raise ArchiveError("bytes in the padding after a member")


def _override(value: str, key: str) -> str:
    if len(value.encode()) <= USTAR_NAME and value.isascii():
        raise ArchiveError(f"a PAX {key} where the header has room: {value!r}")
    return value


def _overridden(pax: dict[str, str], key: str, plain: int, room: int) -> int:
    if key not in pax:
        return plain
    if _DECIMAL.fullmatch(pax[key]) is None:
        raise ArchiveError(f"a PAX {key} that is no number: {pax[key]!r}")
    value = int(pax[key])
    if value <= room or plain != 0:
        raise ArchiveError(f"a PAX {key} where the header has room: {value}")
    return value


def strict_pax(source: Source, size: int) -> dict[str, str]:
    """POSIX pax, extended header: lines of "LENGTH KEY=VALUE", LENGTH of the whole line."""
    if not 0 < size <= MAX_PAX:
        raise ArchiveError(f"a PAX header of {size} bytes")
    data = source.take(size)
    _padding(source, size)
    found: dict[str, str] = {}
    at = 0
    while at < size:
        match = _RECORD_LENGTH.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= size or data[end - 1 : end] != b"\n":
            raise ArchiveError(f"a damaged PAX record: {data[at : at + 40]!r}")
        raw_key, equals, raw_value = data[match.end() : end - 1].partition(b"=")
        try:
            key, value = raw_key.decode("utf-8"), raw_value.decode("utf-8")
        except UnicodeDecodeError:
            raise ArchiveError(f"a PAX record that is not UTF-8: {raw_key!r}") from None
        if not equals or key not in _PAX_KEYS or key in found or not value:
            raise ArchiveError(f"a PAX record that is not accepted: {key!r}")
        found[key] = value
        at = end
    return found
