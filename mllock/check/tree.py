"""The merged tree of a container, read from the engine's export and held against what it should be.

`read_export` hashes while it streams and keeps one entry for each path; `compare_tree` says which
paths are not as in the layers of the signed statement, less what engines put there themselves
(`mllock.check.live_lists`). Contents, type, mode, owner and link target count, times do not. What
is far more than the signed sizes is not read on: a sparse file costs whoever makes it nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mllock.check.evidence import Problem
from mllock.check.folder import SLACK
from mllock.check.image import CARRIED_FILES
from mllock.check.live_lists import ENGINE_FILES, SCRATCH
from mllock.check.types import Difference
from mllock.core.digest import Digest
from mllock.image.read import MAX_KEPT, MAX_MEMBERS, Member
from mllock.image.read_tar import Source
from mllock.image.stream_tar import StreamMember, stream_members

__all__ = ["ContainerTree", "compare_tree", "is_below", "is_of_engine", "read_export"]

# What a program may have in its scratch folders before a check gives up reading past it.
MAX_SCRATCH = 64 * 1024**3
_EMPTY = Digest(f"sha256:{hashlib.sha256().hexdigest()}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerTree:
    """`members` by path; `odd` are paths whose entry is more than a member can say (a device, an
    attribute), in words. `hashed` bytes of files were read for it. `scratch` counts files in
    folders where any program may write. `problem` is set if it was not read to its end."""

    members: Mapping[str, Member] = field(default_factory=dict)
    odd: Mapping[str, str] = field(default_factory=dict)
    hashed: int = 0
    scratch: int = 0
    problem: Problem | None = None


@dataclass(slots=True)
class _Reading:
    members: dict[str, Member] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    hashed: int = 0
    scratch: int = 0
    scratch_bytes: int = 0


def read_export(chunks: Iterator[bytes], expected: Mapping[str, Member]) -> ContainerTree:
    """The tree that `docker export` streams. Files in scratch folders are counted, not hashed,
    unless `expected` has them. Raises ArchiveError if the stream itself is damaged: that says
    nothing about the container."""
    reading = _Reading()
    most = sum(member.size for member in expected.values()) + SLACK
    problem = None
    source = Source(chunks)
    for member in stream_members(source):
        problem = _take(reading, source, member, expected, most)
        if problem is not None:
            break
    return ContainerTree(
        members=reading.members,
        odd=reading.odd,
        hashed=reading.hashed,
        scratch=reading.scratch,
        problem=problem,
    )


def _take(
    reading: _Reading,
    source: Source,
    member: StreamMember,
    expected: Mapping[str, Member],
    most: int,
) -> Problem | None:
    path = member.path
    if path in reading.members or path in reading.odd:
        return Problem(path=f"/{path}", reason="it comes twice", expected="one entry")
    if len(reading.members) + len(reading.odd) >= MAX_MEMBERS:
        return Problem(path=f"/{path}", reason=f"more than {MAX_MEMBERS} files")
    if is_below(path, SCRATCH) and path not in expected:
        if member.kind != "folder":
            reading.scratch += 1
        reading.scratch_bytes += member.size
        if reading.scratch_bytes > MAX_SCRATCH:
            return _too_much(path, reading.scratch_bytes, MAX_SCRATCH)
        for _ in source.pieces(member.size):
            pass
        return None
    if member.xattrs:
        reading.odd[path] = f"a {member.kind} with {', '.join(member.xattrs)}"
    if member.kind in ("device", "fifo"):
        reading.odd[path] = "a FIFO" if member.kind == "fifo" else "a device"
        return None
    if member.kind == "hardlink":
        linked = reading.members.get(member.target or "")
        if linked is None:
            reading.odd[path] = f"a hard link to {member.target}"
        else:
            # Listed once more, so counted once more: as the layers' listings do.
            reading.hashed += linked.size
            reading.members[path] = linked
        return None
    if member.kind == "file":
        if reading.hashed + member.size > most:
            return _too_much(path, reading.hashed + member.size, most)
        reading.hashed += member.size
        reading.members[path] = _file(source, member)
        return None
    reading.members[path] = Member(
        kind=member.kind,  # type: ignore[arg-type]
        mode=0o777 if member.kind == "symlink" else member.mode,
        uid=member.uid,
        gid=member.gid,
        target=member.target,
    )
    return None


def _too_much(path: str, size: int, most: int) -> Problem:
    return Problem(
        path=f"/{path}",
        reason="nothing after it was read",
        expected=f"at most {most} bytes up to here",
        found=f"{size} bytes",
    )


def _file(source: Source, member: StreamMember) -> Member:
    keep = member.path in CARRIED_FILES and member.size <= MAX_KEPT
    hasher = hashlib.sha256()
    content: list[bytes] = []
    for piece in source.pieces(member.size):
        hasher.update(piece)
        if keep:
            content.append(bytes(piece))
    return Member(
        kind="file",
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        size=member.size,
        digest=Digest(f"sha256:{hasher.hexdigest()}"),
        data=b"".join(content) if keep else None,
    )


def compare_tree(
    expected: Mapping[str, Member], found: ContainerTree, mounts: Collection[str]
) -> dict[str, Difference]:
    """By path, what is not as it should be. `mounts` are the paths (relative) that something is
    mounted on: where the image has none, the engine makes an empty one."""
    points = {
        parent for mount in mounts for parent in (mount, *_parents(mount)) if parent not in expected
    }
    differences: dict[str, Difference] = {}
    for path in sorted({*expected, *found.members, *found.odd}, key=_order):
        wanted = expected.get(path)
        there = found.members.get(path)
        odd = found.odd.get(path)
        if odd is None and (there == wanted or is_of_engine(path, there)):
            continue
        if odd is None and path in points and _is_empty_point(there):
            continue
        told = _words(wanted, there), odd or _words(there, wanted)
        differences[path] = Difference(path=f"/{path}", expected=told[0], found=told[1])
    return differences


def is_of_engine(path: str, there: Member | None) -> bool:
    """Whether it is exactly what engines put at this path of every container."""
    known = ENGINE_FILES.get(path)
    if known is None or there is None:
        return False
    if known.kind == "file":
        known = replace(known, digest=_EMPTY)
    return there == known


def _is_empty_point(there: Member | None) -> bool:
    if there is None or (there.uid, there.gid) != (0, 0):
        return False
    return there.kind == "folder" or (there.kind == "file" and there.size == 0)


def _words(member: Member | None, other: Member | None) -> str:
    """An entry for people; mode and owner where these are what differs."""
    if member is None:
        return "nothing"
    if member.kind == "symlink":
        text = f"a link to {member.target}"
    elif member.kind == "folder":
        text = "a folder"
    else:
        text = f"{member.digest} ({member.size} bytes)"
    if other is None or (member.mode, member.uid, member.gid) == (other.mode, other.uid, other.gid):
        return text
    return f"{text}, mode {member.mode:04o}, owner {member.uid}:{member.gid}"


def is_below(path: str, folders: Collection[str]) -> bool:
    """Whether `path` is one of `folders`, or in one of them."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)


def _order(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
