"""Opening a file that somebody else may have put there: regular files only, and nothing waits.

Opening a FIFO waits for whoever writes to it, and reading a device may never end. What was opened
is looked at, not what was there before. For files of runs and of the command line; what counts only
from its own user is `mllock.store.own`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from mllock.core.digest import Digest, from_hex
from mllock.errors import InputError

__all__ = ["hash_regular", "open_regular"]

_CHUNK = 1024 * 1024
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """The file at `path`; without `follow` it may be no link. Raises InputError that says what is
    there instead, and OSError as opening does."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        # open(2): O_NOFOLLOW on a link is ELOOP, a socket is ENXIO.
        if error.errno == errno.ENXIO:
            raise _not_regular(path, "a socket") from None
        if error.errno == errno.ELOOP and path.is_symlink():
            raise _not_regular(path, "a link") from None
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_regular(path, _KINDS.get(stat.S_IFMT(mode), "something else"))
    return open(descriptor, "rb")


def hash_regular(path: Path, *, max_bytes: int) -> Digest:
    """The sha256 of a file that is no link, whatever its size up to `max_bytes`. Raises like
    `open_regular`."""
    whole = hashlib.sha256()
    read = 0
    with open_regular(path, follow=False) as file:
        # Of a sparse file of a terabyte, or one that grows for ever, no more is read.
        too_large = os.fstat(file.fileno()).st_size > max_bytes
        while not too_large and (chunk := file.read(_CHUNK)):
            whole.update(chunk)
            read += len(chunk)
            too_large = read > max_bytes
    if too_large:
        raise InputError("too large", file=str(path), found=f"more than {max_bytes} bytes")
    return from_hex(whole.hexdigest())


def _not_regular(path: Path, found: str) -> InputError:
    return InputError("not a regular file", file=str(path), found=found)
