"""The wheels of a lock looked into, once, before anything is made of them: a step of the lock.

Not of fetching: what is unpacked already, or lies in a layer of the cache, is fetched no more, and
a lock would pass on one machine and be refused on another. So `sync`, `build` and `train` ask here
first. That a lock was looked at is an empty file of the cache, under a name that stands for all
that the look compares. Warm, it is one small file that is opened. See ADRs 0104 and 0143.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mllock.core import canonical
from mllock.core.digest import hex_of
from mllock.lock.platforms import platforms_of
from mllock.lock.types import Lock
from mllock.store.atomic import write_bytes
from mllock.store.own import read_own
from mllock.workflows.context import Context

__all__ = ["look_into_wheels", "look_once"]


def look_into_wheels(ctx: Context, lock: Lock) -> None:
    """Whether the wheels of `lock`, which is for one platform, are what it says of them and ask
    for what is locked. Where nobody of this cache has looked yet, all of them are taken: from the
    cache, else fetched. Raises IntegrityError, ArchiveError, and what fetching raises."""
    if lock.python.packages and read_own(_seen(ctx, lock), 0) is None:
        from mllock.workflows.environment import locked_wheels

        locked_wheels(ctx, lock)(lock.python.packages)


def look_once(ctx: Context, lock: Lock, found: Mapping[str, Path]) -> None:
    """The look at those wheels of `lock` that were `found`, and have the locked sizes; remembered
    if these are all. Raises IntegrityError, ArchiveError."""
    from mllock.lock.closed import check_closed
    from mllock.lock.target import target_of

    seen = _seen(ctx, lock)
    if read_own(seen, 0) is None:
        asked = lock.inputs.environment.get("dependencies", ())
        check_closed(map(str, asked), lock.python.packages, found, target_of(lock))
        if all(wheel.name in found for item in lock.python.packages for wheel in item.wheels):
            write_bytes(seen, b"")


def _seen(ctx: Context, lock: Lock) -> Path:
    (platform,) = platforms_of(lock)
    wheels = [
        (item.name, item.version, wheel.name, wheel.size, wheel.hashes["sha256"])
        for item in lock.python.packages
        for wheel in item.wheels
    ]
    what = {
        "for": platform,
        "python": lock.base.python,
        "asked": lock.inputs.environment.get("dependencies", ()),
        "wheels": wheels,
    }
    name = f"{hex_of(canonical.digest_of(what))}-{os.geteuid()}"
    return ctx.cache.folder("closed") / name
