"""`mllock export pylock|requirements`: the locked Python packages for pip and uv.

The lock has to be current, as for building; no package is resolved anew. Wheels are only touched
where they are to lie beside the file: from the cache, or fetched as for a build, before the file
that names them is written. Not for the bytes of the two files (`mllock.lock.export`).
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from mllock.core.platform import image_platform
from mllock.lock.export import pylock_of, requirements_of
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.types import Lock
from mllock.spec.reader import load_spec
from mllock.store.atomic import writing
from mllock.workflows.context import Context
from mllock.workflows.environment import locked_wheels

__all__ = ["export_pylock", "export_requirements"]


def export_pylock(ctx: Context, platform: str | None, beside: Path | None) -> bytes:
    """A pylock.toml for `platform`, by default for all that the lock is for.

    With `beside`, the folder that it will be in, the wheels are put into `beside`/wheels.
    Raises LockError, StaleLockError, InputError; with `beside` what fetching raises.
    """
    lock = _lock(ctx)
    lock = lock if platform is None else narrowed(lock, platform)
    if beside is not None:
        for one in platforms_of(lock):
            _put_wheels(ctx, narrowed(lock, one), beside)
    return pylock_of(lock)


def export_requirements(ctx: Context, platform: str | None) -> bytes:
    """A requirements.txt for `platform`; default: that for this machine, if the lock is for it,
    else the first. Raises LockError, StaleLockError, InputError."""
    lock = _lock(ctx)
    if platform is None:
        own, platforms = image_platform(), platforms_of(lock)
        platform = own if own in platforms else platforms[0]
    return requirements_of(narrowed(lock, platform))


def _lock(ctx: Context) -> Lock:
    from mllock.workflows.lock import current_lock

    loaded = load_spec(ctx.project / "mlproject.toml")
    lock, _ = current_lock(ctx, loaded, data=False)  # data is in neither of the files
    return lock


def _put_wheels(ctx: Context, lock: Lock, beside: Path) -> None:
    packages = lock.python.packages
    found = locked_wheels(ctx, lock)(packages)
    for package in packages:
        for wheel in package.wheels:
            place = beside / wheel.path
            if not _holds(place, wheel.hashes["sha256"]):
                with open(found[wheel.name], "rb") as file, writing(place) as out:
                    shutil.copyfileobj(file, out)


def _holds(place: Path, sha256: str) -> bool:
    if not place.is_file():
        return False
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
