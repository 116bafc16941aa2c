"""Reading what no digest protects: files that count only if this very user has written them.

The cache may be shared. A blob is known by its own digest, so anyone may write it; an entry that
says which blob is the right one is not, and whoever could write it would decide what is built. The
kernel knows who did: owner and mode are taken from the opened file, no link is followed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["read_own"]

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def read_own(path: Path, max_bytes: int) -> bytes | None:
    """The bytes of a regular file that is this user's and that no other user may write.

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
        data = file.read(max_bytes + 1)
    return data if len(data) <= max_bytes else None
