"""One process at a time: for files that are read, changed and written again as a whole.

A folder is locked with `flock`, so that nothing is left behind and a process that is killed holds
nothing. Readers need no turn: what is written appears by one rename. Not for caches, whose entries
are known by digest. Raises SurroundingsError where the system refuses.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mllock.store.atomic import cannot_write

__all__ = ["turn"]


@contextlib.contextmanager
def turn(folder: Path, mode: int = 0o755) -> Iterator[None]:
    """Alone among all who take a turn in `folder`, which is made (with `mode`) if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # file systems that have no locks
            raise cannot_write(folder, error) from error
        yield
    finally:
        os.close(descriptor)
