"""What makes `[base]` of a lock valid beyond its types: each kind has its own keys, and only those.

Pure, like `mllock.lock.checks`, which calls it. A base image has an entry for each platform of the
inputs and for no other, so that nothing about an image is decided after locking.
"""

from __future__ import annotations

from mllock.errors import LockError
from mllock.lock.types import Base, Lock

__all__ = ["check_base"]


def check_base(lock: Lock, file: str) -> None:
    """Raises LockError with the dotted key."""
    base = lock.base
    if base.kind == "debian":
        _has(base, ("suite", "indexes"), ("reference", "platforms"), file)
        return
    _has(base, ("reference", "platforms"), (), file)
    _described(lock, file)
    declared = sorted(lock.inputs.environment["platforms"])
    found = [item.platform for item in base.platforms]
    if found != declared:
        raise LockError(
            "not one entry for each platform, sorted",
            file=file,
            key="base.platforms",
            expected=", ".join(declared),
            found=", ".join(found),
        )


def _has(base: Base, wanted: tuple[str, ...], unwanted: tuple[str, ...], file: str) -> None:
    for name in wanted:
        if not getattr(base, name):
            raise LockError("missing key", file=file, key=f"base.{name}")
    for name in unwanted:
        if getattr(base, name):
            raise LockError(f"no key of a base of kind {base.kind}", file=file, key=f"base.{name}")


def _described(lock: Lock, file: str) -> None:
    """Packages above a base image come from a suite, with its signed indexes, or there are none."""
    base = lock.base
    if bool(base.suite) != bool(base.indexes) or (lock.system and not base.indexes):
        raise LockError(
            "suite, indexes and Debian packages belong together", file=file, key="base.suite"
        )
    for index, package in enumerate(lock.system):
        if package.layer == "base":
            raise LockError(
                "a package of a base that is an image", file=file, key=f"system[{index}].layer"
            )
