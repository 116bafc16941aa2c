"""The tar of a layer: canonical ustar, written from nodes and never from stat.

The same nodes in any order give the same bytes: sorted by the bytes of the path, hard links after
everything else, time 0, no names of users or devices, PAX records only for what ustar cannot say.
Nodes are complete: every parent folder is a node (see `mllock.image.resolve`). Specified in
docs/reference/builder-format.md; a change here is a new builder format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from mllock.core import safepath
from mllock.errors import ArchiveError
from mllock.image.content import Sources
from mllock.image.gzip import GzipSink
from mllock.image.tree import Deflated, Node

__all__ = ["PASS_THROUGH", "header", "sort_nodes", "write_tar"]

# Deflate streams of files of this size and more are copied; smaller files are compressed anew.
PASS_THROUGH = 16 * 1024

BLOCK = 512
_TYPES = {"file": b"0", "hardlink": b"1", "symlink": b"2", "folder": b"5"}
# POSIX ustar: name, numbers and type, target, magic, (no names of owners), device, prefix.
_USTAR = struct.Struct("100s57s100s8s64x16s155s12x")
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777


def sort_nodes(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The order of a layer. Raises ArchiveError where a path occurs twice, or is no file there."""
    ordered = tuple(sorted(nodes, key=lambda n: (n.kind == "hardlink", n.path.encode())))
    removal = safepath.whiteout(node.path for node in ordered)
    if removal is not None:
        # The last line of defence: wheels, debs, code and models are refused where they come in.
        raise ArchiveError("in a layer, this name would remove another file", key=removal)
    seen: set[str] = set()
    for node in ordered:
        if node.path in seen:
            raise ArchiveError("a layer holds this path twice", key=node.path)
        seen.add(node.path)
    return ordered


def write_tar(nodes: Iterable[Node], sink: GzipSink) -> None:
    """Write all nodes and the end of the archive. Raises what reading their content raises."""
    with Sources() as sources:
        for node in sort_nodes(nodes):
            sink.write(header(node))
            if node.kind != "file":
                continue
            content = node.content
            size = 0 if content is None else content.size
            if isinstance(content, Deflated) and size >= PASS_THROUGH:
                _pass_through(node, content, sources, sink)
            else:
                for data in sources.read(node):
                    sink.write(data)
            sink.write(bytes(-size % BLOCK))
    sink.write(bytes(2 * BLOCK))


def _pass_through(node: Node, content: Deflated, sources: Sources, sink: GzipSink) -> None:
    # A function of its own: what it holds is gone before the next file is read.
    at_once = sources.member(content)
    if at_once is not None:
        sink.copy(*at_once)
    else:
        sink.copy_stream(sources.inflate(node, content), content.size, content.crc)


def header(node: Node) -> bytes:
    """The header blocks of one node: a PAX header first where ustar is not enough."""
    path = node.path + "/" if node.kind == "folder" else node.path
    target = node.target or ""
    size = 0 if node.content is None else node.content.size
    uid, gid = node.uid, node.gid
    prefix, name = _split(path)
    records: dict[str, str] = {}
    if name is None:
        records["path"] = path
        name = _ascii(path)
    if target and (len(target) > 100 or not target.isascii()):
        records["linkpath"] = target
    # Numbers that a record says are 0 in the block.
    if size > _OCTAL_11:
        records["size"], size = str(size), 0
    if uid > _OCTAL_7:
        records["uid"], uid = str(uid), 0
    if gid > _OCTAL_7:
        records["gid"], gid = str(gid), 0
    block = _block(
        name=name,
        prefix=prefix,
        mode=node.mode & 0o7777,
        uid=uid,
        gid=gid,
        size=size,
        kind=_TYPES[node.kind],
        target=_ascii(target) if "linkpath" in records else target.encode(),
    )
    return _pax(records) + block if records else block


def _split(path: str) -> tuple[bytes, bytes | None]:
    """(prefix, name) of POSIX ustar, split at the last slash that fits; name None if none does."""
    if not path.isascii():
        return b"", None
    raw = path.encode()
    if len(raw) <= 100:
        return b"", raw
    at = raw.rfind(b"/", 0, min(156, len(raw) - 1))
    if at <= 0 or len(raw) - at - 1 > 100:
        return b"", None
    return raw[:at], raw[at + 1 :]


def _ascii(text: str) -> bytes:
    """What readers without PAX see: the first 100 bytes, those that are not ASCII replaced."""
    return bytes(byte if byte < 0x80 else 0x3F for byte in text.encode())[:100]


def _pax(records: dict[str, str]) -> bytes:
    body = b"".join(_record(key, value) for key, value in sorted(records.items()))
    block = _block(
        name=b"PaxHeader",
        prefix=b"",
        mode=0o644,
        uid=0,
        gid=0,
        size=len(body),
        kind=b"x",
        target=b"",
    )
    return block + body + bytes(-len(body) % BLOCK)


def _record(key: str, value: str) -> bytes:
    # POSIX pax: "LENGTH KEY=VALUE\n", where LENGTH counts itself.
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _block(
    *,
    name: bytes,
    prefix: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    kind: bytes,
    target: bytes,
) -> bytes:
    block = _USTAR.pack(
        name,
        b"%07o\0%07o\0%07o\0%011o\0%011o\0        %b" % (mode, uid, gid, size, 0, kind),
        target,
        b"ustar\x0000",
        b"0000000\x000000000\0",
        prefix,
    )
    # POSIX: the sum of the bytes, with spaces in its own place. All are ASCII, so the sum is less
    # than 65,521, and Adler-32 (RFC 1950) holds it, plus 1, in its lower half.
    return b"%b%06o\0 %b" % (block[:148], (zlib.adler32(block) & 0xFFFF) - 1, block[156:])
