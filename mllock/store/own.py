"""Reading what no digest protects: files that count only if this very user has written them.

The cache may be shared. A blob is known by its own digest, so anyone may write it; an entry that
says which blob is the right one is not, and whoever could write it would decide what is built. The
kernel knows who did: owner and mode are taken from the opened file, no link is followed. Where
another user may rename, a file of ours under a name of ours still says nothing: it may be the
answer to another question. So the folders count as well, up to the cache itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["are_private", "make_folder", "own_folder", "read_own"]

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def read_own(path: Path, max_bytes: int, *, depth: int = 2) -> bytes | None:
    """The bytes of a regular file that is this user's and that no other user may write, in `depth`
    folders (the one that holds it, and those above) that nobody else may put files into.

    None if there is no such file, if it cannot be read, or if it has more than `max_bytes`.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return None
        # What its user may not write is a blob that somebody put here.
        if status.st_mode & _OTHERS_WRITE or not status.st_mode & stat.S_IWUSR:
            return None
        if not are_private(list(path.parents)[:depth]):
            return None
        data = file.read(max_bytes + 1)
    return data if len(data) <= max_bytes else None


def are_private(folders: Iterable[Path]) -> bool:
    """Whether nobody but this user, and root, may put other files into these folders. One that its
    group may write is private where that is its owner's own group, which has the owner's number."""
    try:
        found = [folder.stat() for folder in folders]
    except OSError:
        return False
    return all(
        status.st_uid in (os.geteuid(), 0)
        and not status.st_mode & stat.S_IWOTH
        and (not status.st_mode & stat.S_IWGRP or status.st_gid == status.st_uid)
        for status in found
    )


def make_folder(folder: Path) -> None:
    """Make `folder`, and those above it, if missing: for this user alone to write, whatever the
    umask is; but as the umask has it below a folder with the set-group-ID bit, which is shared on
    purpose. Raises OSError."""
    try:
        parent = folder.parent.stat()
    except FileNotFoundError:
        make_folder(folder.parent)
        parent = folder.parent.stat()
    # Where another process makes it meanwhile, it is made.
    folder.mkdir(0o777 if parent.st_mode & stat.S_ISGID else 0o755, exist_ok=True)


def own_folder(shared: Path) -> Path | None:
    """This user's folder in `shared`, a folder of the cache; None where another user may put files
    into it, or into those above it up to the cache."""
    own = shared / str(os.geteuid())
    try:
        make_folder(shared)
        if are_private((shared, shared.parent)):
            own.mkdir(0o700, exist_ok=True)
    except OSError:
        return None
    # Looked at anew: it may have been there, and somebody else's.
    return own if are_private((own, shared, shared.parent)) else None
