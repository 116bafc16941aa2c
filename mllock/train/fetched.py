"""What a container's `/app` holds, read through the engine: outputs to disk, code by hash only.

The engine archives what the program left, and that may be anything. The reader is the strict one of
layers (`mllock.image.read_tar`); on top of it, a member is written only into a folder that this
archive made before, never through a link, and never over another member. Links are made as they
are and followed by nobody; whether they may be in a model is decided where the host's is
(`mllock.train.outputs`). Raises ProgramError that names the path, SurroundingsError.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mllock.core.digest import Digest, from_hex
from mllock.core.tree import Entry, TreeManifest
from mllock.engine.ports import Engine
from mllock.errors import ArchiveError, ProgramError
from mllock.image.read_tar import Header, Source, headers
from mllock.store import atomic
from mllock.train.container import APP

__all__ = ["changed_code", "fetch"]

MAX_MEMBERS = 1_000_000
# More archives than this are slower than one of all that the program left in /app.
_MANY = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A member of an archive: `digest` of a file, `target` of a link."""

    kind: str
    executable: bool = False
    size: int = 0
    digest: Digest | None = None
    target: str | None = None


def fetch(
    engine: Engine, container: str, path: str, work: Path, *, what: str, limit: int | None = None
) -> None:
    """Bring `/app/PATH` to `work/PATH`, if it is there, whatever it is.

    `limit` is for all bytes together; `what` is what messages call it.
    """
    found = engine.archive(container, f"{APP}/{path}")
    if found is None:
        return
    target = work / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with found as chunks:
        try:
            _write(chunks, target, limit)
        except ArchiveError as error:
            raise ProgramError(
                f"the {what} cannot be taken out of the container: {error.message}",
                file=path,
                hint="write regular files only",
            ) from error


def _write(chunks: Iterator[bytes], target: Path, limit: int | None) -> None:
    """Unpack an archive whose members all are `target.name`, or below it."""
    made: dict[str, str] = {}
    total = 0
    source = Source(chunks)
    for header in _members(source, target.name, made):
        parent, _, _ = header.path.rpartition("/")
        if parent and made.get(parent) != "folder":
            raise ArchiveError(f"member {header.path!r} is not in a folder")
        total += header.size
        if limit is not None and total > limit:
            raise ArchiveError(f"more than {limit} bytes")
        path = target.parent / header.path
        try:
            match header.kind:
                case "folder":
                    path.mkdir()
                case "file":
                    mode = 0o755 if header.mode & 0o100 else 0o644
                    descriptor = os.open(path, _NEW, mode)
                    with open(descriptor, "wb") as file:
                        file.writelines(source.pieces(header.size))
                        os.fchmod(file.fileno(), mode)
                case "symlink":
                    assert header.target is not None
                    os.symlink(header.target, path)
                case "hardlink":
                    if header.target is None or made.get(header.target) != "file":
                        raise ArchiveError(
                            f"member {header.path!r} links to no file of the archive"
                        )
                    os.link(target.parent / header.target, path)
        except OSError as error:
            raise atomic.cannot_write(path, error) from error
        made[header.path] = "file" if header.kind == "hardlink" else header.kind


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _members(source: Source, root: str, made: dict[str, str]) -> Iterator[Header]:
    """The headers of an archive of `root`: nothing beside it, nothing twice, not too many."""
    for header in headers(source):
        if header.path != root and not header.path.startswith(f"{root}/"):
            raise ArchiveError(f"member {header.path!r} was not asked for")
        if header.path in made:
            raise ArchiveError(f"member {header.path!r} comes twice")
        if len(made) >= MAX_MEMBERS:
            raise ArchiveError(f"more than {MAX_MEMBERS} members")
        yield header


def changed_code(engine: Engine, container: str, code: TreeManifest) -> tuple[str, ...]:
    """The paths of `code` that are not in `/app` as the manifest says, by content."""
    tops = list(dict.fromkeys(entry.path.partition("/")[0] for entry in code.entries))
    seen: dict[str, _Seen] = {}
    if len(tops) > _MANY:
        _look(engine, container, APP, lambda path: path.partition("/")[2], seen)
    else:
        for top in tops:
            _look(engine, container, f"{APP}/{top}", lambda path: path, seen)
    return tuple(entry.path for entry in code.entries if not _same(entry, seen.get(entry.path)))


def _same(entry: Entry, seen: _Seen | None) -> bool:
    if seen is None:
        return False
    match entry.kind:
        case "d":
            return seen.kind == "folder"
        case "l":
            return seen.kind == "symlink" and seen.target == entry.target
        case "f" | "x":
            return (seen.digest, seen.size, seen.executable) == (
                entry.digest,
                entry.size,
                entry.kind == "x",
            )


def _look(
    engine: Engine,
    container: str,
    path: str,
    name_of: Callable[[str], str],
    seen: dict[str, _Seen],
) -> None:
    """Add what is at `path` to `seen`. What cannot be read is not there."""
    found = engine.archive(container, path)
    if found is None:
        return
    # Links to a file are to what was hashed under its first name.
    here: dict[str, _Seen] = {}
    with found as chunks:
        source = Source(chunks)
        made: dict[str, str] = {}
        try:
            for header in _members(source, path.rpartition("/")[2], made):
                made[header.path] = header.kind
                member = _seen(source, header, here)
                if member is not None:
                    here[header.path] = seen[name_of(header.path)] = member
        except ArchiveError:
            # A device, a name that is no text: what came before it was seen, the rest is changed.
            return


def _seen(source: Source, header: Header, here: dict[str, _Seen]) -> _Seen | None:
    if header.kind == "hardlink":
        return here.get(header.target or "")
    if header.kind != "file":
        return _Seen(kind=header.kind, target=header.target)
    whole = hashlib.sha256()
    for piece in source.pieces(header.size):
        whole.update(piece)
    return _Seen(
        kind="file",
        executable=bool(header.mode & 0o100),
        size=header.size,
        digest=from_hex(whole.hexdigest()),
    )
