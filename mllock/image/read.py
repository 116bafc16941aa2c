"""What is in layers that may lie: read while streaming, then merged as an engine would merge.

`read_layer` verifies nothing by name: it computes the diff_id of what it reads and the caller's
chunks verify the blob; contents count only when it has returned. `merge` applies layers bottom up
with OCI semantics (image-spec, layer.md: whiteouts hide what is below, never what is beside) and
refuses what engines do differently: members below links, whiteouts beside what they name, hard
links out of the layer. Memory is bounded by the number of members, never by their size. Law: what
`merge` accepts is what `umoci unpack` makes of it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from mllock.core import canonical
from mllock.core.digest import Digest
from mllock.errors import ArchiveError
from mllock.image.read_other import other_headers
from mllock.image.read_tar import Header, Source, headers
from mllock.store.other_json import Packing
from mllock.store.zstd import unzstd

__all__ = ["LayerContents", "Member", "gunzip", "merge", "read_layer"]

OUTPUT = 1024 * 1024
MAX_UNPACKED = 64 * 1024**3
MAX_MEMBERS = 1_000_000
# A bundle is JSON: no more of it is read anywhere, and no more is written.
MAX_KEPT = canonical.MAX_BYTES

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """What is at a path. `digest` of files where it was asked, `data` of files that were kept."""

    kind: Literal["file", "folder", "symlink"]
    mode: int
    uid: int
    gid: int
    size: int = 0
    digest: Digest | None = None
    target: str | None = None
    md5: str | None = field(default=None, compare=False)
    data: bytes | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerContents:
    """A layer that was read to its end. `whiteouts` are paths to hide, `opaques` folders whose
    lower contents are hidden; `unpacked` is the size of the tar in bytes. `loose` says why this is
    not a tar that mllock writes, if it was read as one of a base."""

    diff_id: Digest
    unpacked: int
    members: dict[str, Member]
    whiteouts: tuple[str, ...]
    opaques: tuple[str, ...]
    loose: str | None = field(default=None, compare=False)


_NEVER: Callable[[str], bool] = frozenset[str]().__contains__


def read_layer(
    chunks: Iterator[bytes],
    name: str,
    *,
    hashed: Callable[[str], bool] = _NEVER,
    kept: Callable[[str], bool] = _NEVER,
    md5: bool = False,
    packing: Packing = "gzip",
    other: bool = False,
    max_unpacked: int = MAX_UNPACKED,
) -> LayerContents:
    """Read one tar, compressed as `packing` says. `name` is for messages; `hashed` and `kept` say
    of which files the digest and the bytes are wanted. `other` is for a layer of a base, which any
    tool may have written (`mllock.image.read_other`). Raises ArchiveError."""
    hasher = hashlib.sha256()
    total = 0
    loose: list[str] = []

    def tar() -> Iterator[bytes]:
        nonlocal total
        for piece in _UNPACK[packing](chunks):
            total += len(piece)
            if total > max_unpacked:
                raise ArchiveError(f"unpacks to more than {max_unpacked} bytes")
            hasher.update(piece)
            yield piece

    try:
        source = Source(tar())
        found = other_headers(source, loose) if other else headers(source)
        members, marks = _members(found, source, hashed, kept, md5=md5)
        opaques = tuple(m.rpartition("/")[0] for m in marks if m.rpartition("/")[2] == OPAQUE)
        whiteouts = tuple(_hidden(m) for m in marks if m.rpartition("/")[2] != OPAQUE)
        _consistent(members, whiteouts, opaques)
    except ArchiveError as error:
        if error.file is not None:  # about the blob, not about what is in it
            raise
        raise ArchiveError(error.message, file=name) from None
    return LayerContents(
        diff_id=Digest(f"sha256:{hasher.hexdigest()}"),
        unpacked=total,
        members=members,
        whiteouts=whiteouts,
        opaques=opaques,
        loose=next(iter(loose), None),
    )


def gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 1952: one or more members, nothing else. Checks CRC and size of each."""
    inflater = None
    for chunk in chunks:
        data = chunk
        waiting = False
        while data or waiting:
            if inflater is None:
                inflater = zlib.decompressobj(wbits=31)
            try:
                out = inflater.decompress(data, OUTPUT)
            except zlib.error as error:
                raise ArchiveError(f"not a gzip stream: {error}") from None
            if out:
                yield out
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            # zlib may have taken all input and still hold output.
            waiting = not inflater.eof and len(out) == OUTPUT
            if inflater.eof:
                inflater = None
    if inflater is not None:
        raise ArchiveError("the gzip stream ends early")


_UNPACK: dict[Packing, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    "gzip": gunzip,
    "zstd": unzstd,
    "none": iter,
}


def _members(
    found: Iterator[Header],
    source: Source,
    hashed: Callable[[str], bool],
    kept: Callable[[str], bool],
    *,
    md5: bool,
) -> tuple[dict[str, Member], list[str]]:
    members: dict[str, Member] = {}
    marks: list[str] = []
    for header in found:
        if len(members) + len(marks) >= MAX_MEMBERS:
            raise ArchiveError(f"more than {MAX_MEMBERS} members")
        if header.path.rpartition("/")[2].startswith(WHITEOUT):
            marks.append(_mark(header))
            continue
        if header.path in members:
            raise ArchiveError(f"two members of one path: {header.path!r}")
        members[header.path] = _member(header, source, members, hashed, kept, md5=md5)
    return members, marks


def _member(
    header: Header,
    source: Source,
    before: dict[str, Member],
    hashed: Callable[[str], bool],
    kept: Callable[[str], bool],
    *,
    md5: bool,
) -> Member:
    if header.kind == "hardlink":
        linked = before.get(header.target or "")
        if linked is None or linked.kind != "file":
            raise ArchiveError(
                f"{header.path!r} is a hard link to {header.target!r}, no file before it"
            )
        if (header.mode, header.uid, header.gid) != (linked.mode, linked.uid, linked.gid):
            raise ArchiveError(f"{header.path!r} is a hard link that changes mode or owner")
        return linked
    if header.kind != "file":
        return Member(
            kind=header.kind,
            # A link has no mode of its own: lchmod does not exist on Linux.
            mode=0o777 if header.kind == "symlink" else header.mode,
            uid=header.uid,
            gid=header.gid,
            target=header.target,
        )
    return _file(header, source, hash_it=hashed(header.path), keep=kept(header.path), md5=md5)


def _file(header: Header, source: Source, *, hash_it: bool, keep: bool, md5: bool) -> Member:
    if keep and header.size > MAX_KEPT:
        raise ArchiveError(f"{header.path!r} has {header.size} bytes, at most {MAX_KEPT} are read")
    sha = hashlib.sha256()
    # MD5 names a file that differs (dpkg's md5sums have nothing else); it decides nothing.
    old = hashlib.md5(usedforsecurity=False)
    content: list[bytes] = []
    for piece in source.pieces(header.size):
        if hash_it:
            sha.update(piece)
        if md5:
            old.update(piece)
        if keep:
            content.append(bytes(piece))
    return Member(
        kind="file",
        mode=header.mode,
        uid=header.uid,
        gid=header.gid,
        size=header.size,
        digest=Digest(f"sha256:{sha.hexdigest()}") if hash_it else None,
        md5=old.hexdigest() if md5 else None,
        data=b"".join(content) if keep else None,
    )


def _mark(header: Header) -> str:
    if header.kind != "file" or header.size:
        raise ArchiveError(f"{header.path!r} is a whiteout that is no empty file")
    if any(part.startswith(WHITEOUT) for part in header.path.split("/")[:-1]):
        raise ArchiveError(f"{header.path!r} is a whiteout below a whiteout")
    return header.path


def _hidden(mark: str) -> str:
    folder, _, name = mark.rpartition("/")
    hidden = name.removeprefix(WHITEOUT)
    # AUFS wrote ".wh..wh.NAME" for itself; engines do not agree on what it means.
    if hidden in ("", ".", "..") or hidden.startswith(WHITEOUT):
        raise ArchiveError(f"{mark!r} is a whiteout of no name")
    return f"{folder}/{hidden}" if folder else hidden


def _consistent(
    members: dict[str, Member], whiteouts: tuple[str, ...], opaques: tuple[str, ...]
) -> None:
    """What a layer says about one path, it says once. Raises ArchiveError."""
    for path in (*members, *whiteouts, *opaques):
        for parent in _parents(path):
            above = members.get(parent)
            if above is not None and above.kind != "folder":
                raise ArchiveError(f"{path!r} is below {parent!r}, which is a {above.kind}")
            if parent.rpartition("/")[2].startswith(WHITEOUT):
                raise ArchiveError(f"{path!r} is below a whiteout")
    if len(set(whiteouts)) != len(whiteouts) or len(set(opaques)) != len(opaques):
        raise ArchiveError("two whiteouts of one path")
    for path in opaques:
        if path in members and members[path].kind != "folder":
            raise ArchiveError(f"{path!r} is opaque and a {members[path].kind}")
    hidden = set(whiteouts)
    if hidden.intersection(opaques):
        raise ArchiveError("a folder that is both opaque and hidden")
    for path in (*members, *whiteouts, *opaques):
        if (path in hidden and path in members) or any(p in hidden for p in _parents(path)):
            raise ArchiveError(f"{path!r} is in a layer together with its whiteout")


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)


class _Place:
    """A path of the merged tree; `below` is filled for folders."""

    __slots__ = ("below", "member")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.below: dict[str, _Place] = {}


# OCI image-spec is silent about folders that are only implied; engines make them like this.
_IMPLIED = Member(kind="folder", mode=0o755, uid=0, gid=0)


def merge(layers: Iterable[LayerContents]) -> dict[str, Member]:
    """The tree that a container of these layers has. Raises ArchiveError that names the path."""
    root = _Place(_IMPLIED)
    for layer in layers:
        for path in layer.opaques:
            place = _find(root, path, layer)
            if place is not None:
                place.below.clear()
        for path in layer.whiteouts:
            folder, _, name = path.rpartition("/")
            place = _find(root, folder, layer)
            if place is not None:
                place.below.pop(name, None)
        for path, member in layer.members.items():
            _put(root, path, member, layer)
    merged: dict[str, Member] = {}
    _flatten(root, merged)
    return merged


def _find(root: _Place, path: str, layer: LayerContents) -> _Place | None:
    """The lower folder at `path`, None if there is none. A link on the way is refused, unless
    this layer puts a folder there itself."""
    place = root
    at = ""
    for name in path.split("/") if path else ():
        at = f"{at}/{name}" if at else name
        below = place.below.get(name)
        if below is None:
            return None
        if below.member.kind != "folder":
            own = layer.members.get(at)
            if own is not None and own.kind == "folder":
                return None
            raise ArchiveError(f"a whiteout below {at!r}, which is a {below.member.kind}")
        place = below
    return place


def _put(root: _Place, path: str, member: Member, layer: LayerContents) -> None:
    place = root
    at = ""
    *folders, name = path.split("/")
    for part in folders:
        at = f"{at}/{part}" if at else part
        below = place.below.get(part)
        own = layer.members.get(at)
        if below is not None and below.member.kind != "folder" and own is not None:
            # The layer's own folder comes later in the tar, and takes this place.
            below = None
        if below is None:
            below = place.below[part] = _Place(own or _IMPLIED)
        if below.member.kind != "folder":
            raise ArchiveError(f"{path!r} goes through {at!r}, which is a {below.member.kind}")
        place = below
    there = place.below.get(name)
    if there is not None and there.member.kind == "folder" and member.kind == "folder":
        there.member = member
    else:
        place.below[name] = _Place(member)


def _flatten(root: _Place, merged: dict[str, Member]) -> None:
    waiting = [("", root)]
    while waiting:
        prefix, place = waiting.pop()
        for name in sorted(place.below):
            below = place.below[name]
            path = f"{prefix}{name}"
            merged[path] = below.member
            if below.below:
                waiting.append((f"{path}/", below))
