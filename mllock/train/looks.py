"""How a file of an environment looks: what is compared instead of its bytes."""

from __future__ import annotations

import os

import msgspec

__all__ = ["Look", "look_at"]


class Look(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A file, relative to the environment, and how it looks."""

    path: str
    size: int
    time: int
    inode: int

    def is_of(self, status: os.stat_result) -> bool:
        return (self.size, self.time, self.inode) == (
            status.st_size,
            status.st_mtime_ns,
            status.st_ino,
        )


def look_at(path: str, place: str) -> Look | None:
    """How the regular file `place` looks; None if there is none."""
    try:
        status = os.lstat(place)
    except OSError:
        return None
    return Look(path, status.st_size, status.st_mtime_ns, status.st_ino)
