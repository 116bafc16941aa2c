"""Reading a .deb: a strict reader of the ar archive and of the two tars in it, without unpacking.

deb(5): members debian-binary (format 2.0), control.tar*, data.tar*, in this order. Anything else,
and anything that two readers could understand differently, is an ArchiveError with the name of the
file. Nothing is written to disk; names are only normalised ("./usr/bin/sh" -> "usr/bin/sh") and
refused if they lead outside. The bytes of a .deb were verified by their digest before; memory is
bounded all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mllock.core import safepath
from mllock.errors import ArchiveError
from mllock.lock.debian.streams import unpacked

__all__ = ["Deb", "Entry", "identify", "open_deb", "read_tar"]

_AR_MAGIC = b"!<arch>\n"
_BLOCK = 512
# The largest packages of the archive unpack to about 4 GB; a bomb is far larger.
MAX_UNPACKED = 8 << 30
MAX_CONTROL = 64 << 20
MAX_MEMBERS = 1_000_000
_MAX_PATH, _MAX_NAME = 4096, 255
_MAX_EXTENSION = 64 << 10
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*| *\0*[ \0]*")
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_MAGIC = (b"ustar\x0000", b"ustar  \0")
Kind = Literal["file", "folder", "symlink", "hardlink"]
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "folder",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One member of a tar. `target` of a hard link is normalised like a path.

    dpkg looks `user` and `group` up in the target's passwd; the numbers are of the build machine.
    """

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    data: memoryview
    target: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deb:
    """An open .deb; `control` has the control files by name, e.g. "postinst"."""

    name: str
    control: dict[str, bytes]
    data_name: str
    data: memoryview

    def entries(
        self, hold: Callable[[Iterable[bytes]], memoryview] | None = None
    ) -> Iterator[Entry]:
        """The files of the package, in the order of the archive. Decompresses them: in memory, or
        to where `hold` puts the pieces."""
        pieces = unpacked(self.data, self.data_name, self.name, MAX_UNPACKED)
        return read_tar((hold or _joined)(pieces), self.name)


def open_deb(path: Path, name: str) -> Deb:
    """Read the outer archive and the control files. `name` is for messages."""
    members = _members(memoryview(path.read_bytes()), name)
    names = [member for member, _ in members]
    if (
        len(members) != 3
        or names[0] != "debian-binary"
        or not names[1].startswith("control.tar")
        or not names[2].startswith("data.tar")
    ):
        raise ArchiveError("not a Debian package", file=name, found=", ".join(names))
    if bytes(members[0][1]) != b"2.0\n":
        raise ArchiveError("not a Debian package of format 2.0", file=name)
    control = {
        entry.path: bytes(entry.data)
        for entry in read_tar(_joined(unpacked(members[1][1], names[1], name, MAX_CONTROL)), name)
        if entry.kind == "file"
    }
    if "control" not in control:
        raise ArchiveError("no control file in the package", file=name)
    return Deb(name=name, control=control, data_name=names[2], data=members[2][1])


def identify(deb: Deb, name: str, version: str, architecture: str) -> None:
    """Raises ArchiveError if the control file is not that of the package that was locked."""
    text = deb.control["control"].decode("utf-8", "replace")
    for field, expected in (
        ("Package", name),
        ("Version", version),
        ("Architecture", architecture),
    ):
        found = re.findall(rf"^{field}:[ \t]*(.*?)[ \t\r]*$", text, re.MULTILINE | re.IGNORECASE)
        if found != [expected]:
            raise ArchiveError(
                "the package says that it is another one than the lock does",
                file=deb.name,
                key=field,
                expected=expected,
                found=", ".join(found) or "nothing",
            )


def _members(data: memoryview, name: str) -> list[tuple[str, memoryview]]:
    if bytes(data[:8]) != _AR_MAGIC:
        raise ArchiveError("not an ar archive", file=name)
    found = []
    at = 8
    while at < len(data):
        header = bytes(data[at : at + 60])
        size_text = header[48:58].rstrip(b" ")
        if len(header) != 60 or header[58:] != b"`\n" or not re.fullmatch(rb"[0-9]+", size_text):
            raise ArchiveError("damaged ar header", file=name)
        size = int(size_text)
        member = header[:16].rstrip(b" ").removesuffix(b"/").decode("ascii", "replace")
        at += 60
        if at + size + size % 2 > len(data):
            raise ArchiveError("truncated ar member", file=name, key=member)
        found.append((member, data[at : at + size]))
        at += size + size % 2
        if size % 2 and bytes(data[at - 1 : at]) != b"\n":
            raise ArchiveError("bytes between ar members", file=name, key=member)
        if len(found) > 3:
            break
    return found


def _joined(pieces: Iterable[bytes]) -> memoryview:
    whole = bytearray()
    for piece in pieces:
        whole += piece
    return memoryview(whole)


def read_tar(data: memoryview, name: str) -> Iterator[Entry]:
    """The members of a tar: ustar, with GNU long names (what dpkg-deb writes) or pax paths."""
    at = 0
    long: dict[str, str] = {}
    extensions: list[bytes] = []
    seen: set[str] = set()
    while True:
        header = bytes(data[at : at + _BLOCK])
        if len(header) != _BLOCK:
            raise ArchiveError("truncated tar", file=name)
        if header == bytes(_BLOCK):
            if long or extensions:
                raise ArchiveError("the tar ends after an extension header", file=name)
            _only_zeros(data[at:], "data after the end of the tar", name)
            return
        at += _BLOCK
        if _number(header[148:156], name) != sum(header) - sum(header[148:156]) + 8 * 32:
            raise ArchiveError("tar header with a wrong checksum", file=name)
        if header[257:265] not in _MAGIC:
            raise ArchiveError(f"not a tar header: {header[257:265]!r}", file=name)
        kind = header[156:157]
        size = _number(header[124:136], name)
        body = data[at : at + size]
        padding = data[at + size : at + size + -size % _BLOCK]
        if len(body) != size or len(padding) != -size % _BLOCK:
            raise ArchiveError("truncated tar", file=name)
        _only_zeros(padding, "bytes in the padding after a member", name)
        at += size + -size % _BLOCK
        if kind in (b"L", b"K", b"x"):
            if kind in extensions or (extensions and b"x" in (kind, *extensions)):
                raise ArchiveError("two extension headers for one member", file=name)
            if size > _MAX_EXTENSION:
                raise ArchiveError(f"an extension header of {size} bytes", file=name)
            extensions.append(kind)
            if kind == b"x":
                long.update(_pax(bytes(body), name))
            else:
                # GNU: the text ends with one NUL.
                text = _text(bytes(body).removesuffix(b"\0"), name)
                long["path" if kind == b"L" else "linkpath"] = text
            continue
        entry = _entry(header, kind, body, long, name)
        if entry.path in seen:
            raise ArchiveError("two members of this path", file=name, key=entry.path)
        seen.add(entry.path)
        if len(seen) > MAX_MEMBERS:
            raise ArchiveError(f"more than {MAX_MEMBERS} members", file=name)
        yield entry
        long, extensions = {}, []


def _only_zeros(data: memoryview, message: str, name: str) -> None:
    # In pieces: what is behind the end may be large.
    for start in range(0, len(data), 1 << 20):
        piece = bytes(data[start : start + (1 << 20)])
        if piece.count(0) != len(piece):
            raise ArchiveError(message, file=name)


def _entry(header: bytes, kind: bytes, body: memoryview, long: dict[str, str], name: str) -> Entry:
    path = long.get("path") or _text(header[:100].partition(b"\0")[0], name)
    # POSIX ustar has a prefix; in GNU's format these bytes hold times.
    prefix = header[345:500].partition(b"\0")[0]
    if prefix and "path" not in long and header[257:263] == b"ustar\0":
        path = _text(prefix, name) + "/" + path
    if kind in (b"0", b"\0") and path.endswith("/"):
        # Before there was a type for folders, a slash at the end said it; dpkg still reads it so.
        raise ArchiveError("a file whose name ends with a slash", file=name, key=path)
    path = normalise(path, name)
    if safepath.whiteout((path,)) is not None:
        raise ArchiveError(
            'a name that begins with ".wh.": in an image it would remove another file',
            file=name,
            key=path,
        )
    if kind not in _KINDS:
        words = {b"3": "character device", b"4": "block device", b"6": "named pipe"}
        raise ArchiveError(
            f"{words.get(kind, 'tar member of type ' + repr(kind))} in the package",
            file=name,
            key=path,
        )
    target: str | None = None
    if kind in (b"1", b"2"):
        target = long.get("linkpath") or _text(header[157:257].partition(b"\0")[0], name)
        target = normalise(target, name) if kind == b"1" else target
        if not target:
            raise ArchiveError("link without a target", file=name, key=path)
    if kind not in (b"0", b"\0") and len(body):
        raise ArchiveError("data after something that is not a file", file=name, key=path)
    return Entry(
        path=path,
        kind=_KINDS[kind],
        mode=_number(header[100:108], name) & 0o7777,
        uid=_number(header[108:116], name),
        gid=_number(header[116:124], name),
        user=_text(header[265:297].partition(b"\0")[0], name),
        group=_text(header[297:329].partition(b"\0")[0], name),
        data=body,
        target=target,
    )


def normalise(path: str, name: str) -> str:
    """E.g. "./usr/bin/" -> "usr/bin", "./" -> "". Raises ArchiveError if it leads outside."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise ArchiveError("path that leads outside of the package", file=name, key=path)
    if len(path.encode()) > _MAX_PATH or any(len(part.encode()) > _MAX_NAME for part in parts):
        raise ArchiveError("path that is too long", file=name, key=f"{path[:80]}...")
    return "/".join(parts)


def _text(raw: bytes, name: str) -> str:
    if b"\0" in raw or b"\n" in raw:
        # dpkg's own lists have one path on a line.
        raise ArchiveError(f"path with a NUL or a line end: {raw[:80]!r}", file=name)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"path that is not UTF-8: {raw[:80]!r}", file=name) from error


def _number(raw: bytes, name: str) -> int:
    if raw[:1] == b"\x80":  # GNU: base 256 for what does not fit in octal digits
        return int.from_bytes(raw[1:], "big")
    match = _OCTAL.fullmatch(raw)
    if match is None:
        raise ArchiveError("unreadable number in a tar header", file=name)
    return int(match[1], 8) if match[1] else 0


def _pax(body: bytes, name: str) -> dict[str, str]:
    """POSIX pax, extended header: lines of "LENGTH KEY=VALUE", LENGTH of the whole line."""
    found: dict[str, str] = {}
    keys: set[bytes] = set()
    while body:
        match = _PAX_LENGTH.match(body)
        length = int(match[1]) if match else 0
        if match is None or not match.end() < length <= len(body) or body[length - 1] != 10:
            raise ArchiveError("unreadable pax header", file=name)
        key, equals, value = body[match.end() : length - 1].partition(b"=")
        if key not in (b"path", b"linkpath", b"mtime", b"atime", b"ctime", b"comment"):
            raise ArchiveError(f"pax record {key[:80]!r} is not understood", file=name)
        if not equals or key in keys or not value:
            raise ArchiveError(f"pax record {key[:80]!r} is empty, or there twice", file=name)
        keys.add(key)
        if key in (b"path", b"linkpath"):
            found[key.decode()] = _text(value, name)
        body = body[length:]
    return found
