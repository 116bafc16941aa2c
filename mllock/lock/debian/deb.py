"""Reading a .deb: a strict reader of the ar archive and of the two tars in it, without unpacking.

deb(5): members debian-binary (format 2.0), control.tar*, data.tar*, in this order. Anything else,
and anything malformed, is an ArchiveError with the name of the file. Nothing is written to disk;
names are only normalised ("./usr/bin/sh" -> "usr/bin/sh") and refused if they lead outside. The
bytes of a .deb were verified by their digest before, so its sizes are what the archive signed.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mllock.core import safepath
from mllock.errors import ArchiveError, NotAvailableError

__all__ = ["Deb", "Entry", "open_deb", "read_tar"]

_AR_MAGIC = b"!<arch>\n"
_BLOCK = 512
# The largest packages of the archive unpack to about 4 GB; a bomb is far larger.
_MAX_UNPACKED = 8 << 30
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

    def entries(self) -> Iterator[Entry]:
        """The files of the package, in the order of the archive. Decompresses them."""
        return read_tar(_decompress(self.data, self.data_name, self.name), self.name)


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
        for entry in read_tar(_decompress(members[1][1], names[1], name), name)
        if entry.kind == "file"
    }
    if "control" not in control:
        raise ArchiveError("no control file in the package", file=name)
    return Deb(name=name, control=control, data_name=names[2], data=members[2][1])


def _members(data: memoryview, name: str) -> list[tuple[str, memoryview]]:
    if bytes(data[:8]) != _AR_MAGIC:
        raise ArchiveError("not an ar archive", file=name)
    found = []
    at = 8
    while at < len(data):
        header = bytes(data[at : at + 60])
        size_text = header[48:58].rstrip(b" ")
        if len(header) != 60 or header[58:] != b"`\n" or not size_text.isdigit():
            raise ArchiveError("damaged ar header", file=name)
        size = int(size_text)
        member = header[:16].rstrip(b" ").removesuffix(b"/").decode("ascii", "replace")
        at += 60
        if at + size > len(data):
            raise ArchiveError("truncated ar member", file=name, key=member)
        found.append((member, data[at : at + size]))
        at += size + size % 2
    return found


def _decompress(data: memoryview, member: str, name: str) -> memoryview:
    suffix = member.partition(".tar")[2]
    try:
        if suffix == ".xz":
            xz = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            out = xz.decompress(data, _MAX_UNPACKED)
            ended = xz.eof and not xz.unused_data
        elif suffix == ".gz":
            gz = zlib.decompressobj(wbits=31)
            out = gz.decompress(data, _MAX_UNPACKED)
            ended = gz.eof and not gz.unused_data
        elif suffix == "":
            return data
        else:
            raise NotAvailableError(
                f"packages compressed with {suffix.lstrip('.')} are not available in this version",
                file=name,
            )
    except (lzma.LZMAError, zlib.error) as error:
        raise ArchiveError(f"damaged {member}: {error}", file=name) from error
    if not ended:
        raise ArchiveError(f"damaged {member}: not one whole stream", file=name)
    return memoryview(out)


def read_tar(data: memoryview, name: str) -> Iterator[Entry]:
    """The members of a tar: ustar, with GNU long names (what dpkg-deb writes) or pax paths."""
    at = 0
    long: dict[str, str] = {}
    while True:
        header = bytes(data[at : at + _BLOCK])
        if len(header) != _BLOCK:
            raise ArchiveError("truncated tar", file=name)
        if header == bytes(_BLOCK):
            return
        at += _BLOCK
        if _number(header[148:156], name) != sum(header) - sum(header[148:156]) + 8 * 32:
            raise ArchiveError("tar header with a wrong checksum", file=name)
        kind = header[156:157]
        size = _number(header[124:136], name)
        body = data[at : at + size]
        if len(body) != size:
            raise ArchiveError("truncated tar", file=name)
        at += size + -size % _BLOCK
        if kind in (b"L", b"K"):
            long["path" if kind == b"L" else "linkpath"] = _text(bytes(body).rstrip(b"\0"), name)
            continue
        if kind == b"x":
            long.update(_pax(bytes(body), name))
            continue
        yield _entry(header, kind, body, long, name)
        long = {}


def _entry(header: bytes, kind: bytes, body: memoryview, long: dict[str, str], name: str) -> Entry:
    path = long.get("path") or _text(header[:100].partition(b"\0")[0], name)
    # POSIX ustar has a prefix; in GNU's format these bytes hold times.
    prefix = header[345:500].partition(b"\0")[0]
    if prefix and "path" not in long and header[257:263] == b"ustar\0":
        path = _text(prefix, name) + "/" + path
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
    return "/".join(parts)


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"path that is not UTF-8: {raw!r}", file=name) from error


def _number(raw: bytes, name: str) -> int:
    text = raw.strip(b" \0")
    if raw[:1] == b"\x80":  # GNU: base 256 for what does not fit in octal digits
        return int.from_bytes(raw[1:], "big")
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise ArchiveError("unreadable number in a tar header", file=name) from error


def _pax(body: bytes, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    while body:
        length, _, _ = body.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(body) or body[int(length) - 1] != 10:
            raise ArchiveError("unreadable pax header", file=name)
        key, _, value = body[len(length) + 1 : int(length) - 1].partition(b"=")
        if key not in (b"path", b"linkpath", b"mtime", b"atime", b"ctime", b"comment"):
            raise ArchiveError(f"pax record {key!r} is not understood", file=name)
        if key in (b"path", b"linkpath"):
            found[key.decode()] = _text(value, name)
        body = body[int(length) :]
    return found
