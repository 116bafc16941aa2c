"""A tar as a container engine writes it, read from a stream: headers cheaply, contents by the
caller.

For what `docker save` and `docker export` send: ustar, GNU and PAX as Go's archive/tar writes them.
Unlike `mllock.image.read_tar`, which refuses what a layer must not hold, this one reports it
(devices, extended attributes, odd names), because a check has to say what is there; what it cannot
understand, it refuses: the bytes after a header that was misread would be read as something else.
Raises ArchiveError without place: the caller knows the stream.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mllock.errors import ArchiveError
from mllock.image.read_tar import BLOCK, MAX_PART, MAX_PATH, MAX_PAX, Source

__all__ = ["RawMember", "StreamMember", "loose_member", "raw_member", "stream_members"]

StreamKind = Literal["file", "folder", "symlink", "hardlink", "device", "fifo"]
_KINDS: dict[bytes, StreamKind] = {
    b"0": "file",
    b"\0": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "device",
    b"4": "device",
    b"5": "folder",
    b"6": "fifo",
    b"7": "file",
}
_LINKS = ("symlink", "hardlink")
_ZERO = bytes(BLOCK)
_SUM = struct.Struct("148s8x356s")
_RECORD_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_XATTR = "SCHILY.xattr."
# POSIX pax: keys that change nothing that is compared.
_TIMES = frozenset({"atime", "ctime", "mtime", "uname", "gname", "comment"})


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamMember:
    """One member: `size` bytes follow in the source, to be taken by the caller.

    `path` is relative and plain; bytes that are not UTF-8 are surrogates. `xattrs` are names.
    """

    path: str
    kind: StreamKind
    mode: int
    uid: int
    gid: int
    size: int
    target: str | None
    xattrs: tuple[str, ...] = ()


def stream_members(source: Source) -> Iterator[StreamMember]:
    """The members in order. Between two of them the caller takes the member's `size` bytes."""
    while True:
        raw = raw_member(source)
        if raw is None:
            break
        member = loose_member(raw)
        if member is not None:
            yield member
            source.take(-member.size % BLOCK)
    for chunk in source.drain():
        if chunk.count(0) != len(chunk):
            raise ArchiveError("data after the end of the tar")


@dataclass(frozen=True, kw_only=True, slots=True)
class RawMember:
    """A header block and the extension headers before it: type, data, and the bytes after them."""

    block: bytes
    extensions: tuple[tuple[bytes, bytes, bytes], ...]


def raw_member(source: Source) -> RawMember | None:
    """The blocks of the next member; None at the first block of zeros."""
    block = source.take(BLOCK)
    if block == _ZERO:
        return None
    extensions: list[tuple[bytes, bytes, bytes]] = []
    while block[156:157] in (b"x", b"L", b"K"):
        _checksum(block)
        size = _number(block, 124, 12, "size")
        if block[156:157] in [kind for kind, _, _ in extensions]:
            raise ArchiveError("two extension headers of one kind for one member")
        if not 0 < size <= MAX_PAX:
            raise ArchiveError(f"an extension header of {size} bytes")
        extensions.append((block[156:157], source.take(size), source.take(-size % BLOCK)))
        block = source.take(BLOCK)
    return RawMember(block=block, extensions=tuple(extensions))


def loose_member(raw: RawMember) -> StreamMember | None:
    """What engines read in these blocks; None for the root itself."""
    pax: dict[str, str] = {}
    for kind, data, _ in raw.extensions:
        match kind:
            case b"x":
                pax |= _pax(data)
            case b"L":
                pax["path"] = _decoded(data.rstrip(b"\0"))
            case _:
                pax["linkpath"] = _decoded(data.rstrip(b"\0"))
    return _member(raw.block, pax)


def _member(block: bytes, pax: dict[str, str]) -> StreamMember | None:
    _checksum(block)
    flag = block[156:157]
    path = pax.get("path") or _name(block)
    kind = _KINDS.get(flag)
    if kind is None:
        raise ArchiveError(f"member {path!r} is of type {flag!r}, which is not known")
    size = int(pax["size"]) if "size" in pax else _number(block, 124, 12, "size")
    if kind == "file" and path.endswith("/"):
        # POSIX: before there was a type for folders, a slash at the end said it.
        kind = "folder"
    if kind != "file" and size:
        raise ArchiveError(f"member {path!r} is a {kind} with data")
    plain = _plain(path)
    if not plain:
        if kind != "folder":
            raise ArchiveError(f"the root is a {kind}")
        return None
    target = pax.get("linkpath") or _text(block, 157, 100)
    if kind == "hardlink":
        target = _plain(target)
    return StreamMember(
        path=plain,
        kind=kind,
        # Engine 20.10 puts the bits of the file type into the field of the mode.
        mode=_number(block, 100, 8, "mode") & 0o7777,
        uid=int(pax["uid"]) if "uid" in pax else _number(block, 108, 8, "uid"),
        gid=int(pax["gid"]) if "gid" in pax else _number(block, 116, 8, "gid"),
        size=size,
        target=target if kind in _LINKS else None,
        xattrs=tuple(sorted(k.removeprefix(_XATTR) for k in pax if k.startswith(_XATTR))),
    )


def _checksum(block: bytes) -> None:
    # POSIX pax, ustar: the sum of all bytes, with the checksum field as spaces.
    before, after = _SUM.unpack(block)
    if _number(block, 148, 8, "checksum") != sum(before) + sum(after) + 8 * 0x20:
        raise ArchiveError("a tar header with a wrong checksum")


def _number(block: bytes, at: int, length: int, name: str) -> int:
    raw = block[at : at + length]
    if raw[0] == 0x80:
        # GNU: base 256 for what octal digits have no room for.
        return int.from_bytes(raw[1:])
    text = raw.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise ArchiveError(f"a tar header whose {name} is {raw!r}") from None


def _name(block: bytes) -> str:
    name = _text(block, 0, 100)
    if block[257:263] == b"ustar\0":
        prefix = _text(block, 345, 155)
        if prefix:
            return f"{prefix}/{name}"
    return name


def _text(block: bytes, at: int, length: int) -> str:
    return _decoded(block[at : at + length].partition(b"\0")[0])


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _plain(path: str) -> str:
    """Relative and without dots; empty for the root."""
    short = path.removeprefix("./").removesuffix("/")
    if short in ("", "."):
        return ""
    if len(short) > MAX_PATH:
        raise ArchiveError(f"a path of more than {MAX_PATH} characters: {short[:80]!r}...")
    for part in short.split("/"):
        if part in ("", ".", "..") or len(part) > MAX_PART:
            raise ArchiveError(f"a path that is not plain and relative: {path[:200]!r}")
    return short


def _pax(data: bytes) -> dict[str, str]:
    """POSIX pax, extended header: lines of "LENGTH KEY=VALUE", LENGTH of the whole line."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        match = _RECORD_LENGTH.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ArchiveError(f"a damaged PAX record: {data[at : at + 40]!r}")
        raw_key, equals, raw_value = data[match.end() : end - 1].partition(b"=")
        key = _decoded(raw_key)
        if not equals or key in found:
            raise ArchiveError(f"a PAX record that is not accepted: {key!r}")
        if key in ("size", "uid", "gid"):
            if not raw_value.isdigit() or len(raw_value) > 19:
                raise ArchiveError(f"a PAX {key} that is no number: {raw_value!r}")
        elif key in ("path", "linkpath"):
            if not raw_value or b"\0" in raw_value:
                raise ArchiveError(f"a PAX {key} that is no path: {raw_value!r}")
        elif key not in _TIMES and not key.startswith(_XATTR):
            # Sparse files among them: their bytes are not what the header says.
            raise ArchiveError(f"a PAX record that is not known: {key!r}")
        found[key] = _decoded(raw_value)
        at = end
    return found
