"""Files that are on their way, kept so that an interrupted download goes on where it stopped.

One file for each download, in `partial/` of the cache, by what is being fetched. Only this user's
own are gone on with: whoever could write to one would decide what a first lock pins. Held with a
lock of the kernel while it grows; where another process holds it, a file of one's own is used, and
nothing is gone on with. What nobody has touched for a week is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mllock.core.digest import hex_of, sha256_of
from mllock.store import atomic
from mllock.store.cache import Cache

__all__ = ["Partial", "partial", "remove_old"]

_OLD_SECONDS = 7 * 24 * 3600
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(kw_only=True, slots=True)
class Partial:
    """`size` is how many bytes are there. Raises SurroundingsError on a full disk."""

    path: Path
    descriptor: int
    size: int

    def begin_at(self, offset: int) -> None:
        try:
            os.ftruncate(self.descriptor, offset)
            os.lseek(self.descriptor, offset, os.SEEK_SET)
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        self.size = offset

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.descriptor, view) :]
        except OSError as error:
            raise atomic.cannot_write(self.path, error) from error
        self.size += len(data)


@contextlib.contextmanager
def partial(cache: Cache, key: str | None) -> Iterator[Partial]:
    """The file for what `key` names; without a key one that is gone when the block ends."""
    if key is not None:
        name = f"{hex_of(sha256_of(key.encode('utf-8', 'surrogatepass')))}-{os.geteuid()}"
        path = cache.folder("partial") / name
        found = _held(path)
        if found is not None:
            try:
                yield found
            finally:
                os.close(found.descriptor)
            return
    with cache.scratch() as folder:
        path = folder / "file"
        descriptor = os.open(path, _FLAGS | os.O_EXCL, 0o600)
        try:
            yield Partial(path=path, descriptor=descriptor, size=0)
        finally:
            os.close(descriptor)


def _held(path: Path) -> Partial | None:
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        # Whoever held it may have finished since: then this is a blob by now.
        same = os.lstat(path).st_ino == status.st_ino
    except OSError:
        os.close(descriptor)
        return None
    own = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not same or not own or not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        return None
    return Partial(path=path, descriptor=descriptor, size=status.st_size)


def remove_old(cache: Cache) -> None:
    """Remove what nobody went on with for a week."""
    limit = time.time() - _OLD_SECONDS
    with os.scandir(cache.folder("partial")) as found:
        old = [entry.path for entry in found if entry.stat(follow_symlinks=False).st_mtime < limit]
    for path in old:
        with contextlib.suppress(OSError):
            os.unlink(path)
