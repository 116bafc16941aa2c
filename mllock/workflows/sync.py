"""`mllock sync`: the environment of this machine from the lock.

A current lock, its part for this machine's platform, a Python of the locked minor version, its
wheels looked into if nobody has, and then `mllock.train.sync`. Data is not looked at: none of it
is in an environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.core.digest import from_hex
from mllock.core.platform import host_platform
from mllock.errors import SurroundingsError
from mllock.lock.overlaps import overlaps_of
from mllock.lock.platforms import narrowed
from mllock.lock.types import Lock, PythonPackage
from mllock.spec.reader import load_spec
from mllock.train.libc import refuse_newer_glibc
from mllock.train.python import find_python
from mllock.train.sync import SyncPlan, plan_sync, sync
from mllock.workflows.context import Context
from mllock.workflows.lock import current_lock
from mllock.workflows.looked import look_into_wheels

if TYPE_CHECKING:
    from mllock.train.venv import FetchWheels

__all__ = ["VENV", "SyncResult", "sync_project"]

VENV = ".venv"


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncResult:
    """`plan` is what had to be done, `done` whether it was."""

    plan: SyncPlan
    packages: int
    done: bool


def sync_project(ctx: Context, venv: Path | None = None, *, check: bool = False) -> SyncResult:
    """Make `venv`, default `.venv` of the project, what the lock says; with `check`, only look.
    Raises LockError, InputError, SurroundingsError, and what fetching raises."""
    loaded = load_spec(ctx.project / "mlproject.toml")
    whole, _ = current_lock(ctx, loaded, data=False)
    lock = narrowed(whole, host_platform())
    minor = ".".join(lock.base.python.split(".")[:2])
    try:
        python = find_python(minor, ctx.environ)
    except SurroundingsError as error:
        error.expected = f"python{minor} on PATH, as environment.python says"
        error.hint = f"install it, e.g. with: uv python install {minor}"
        raise
    root = ctx.project / VENV if venv is None else venv
    packages, overlaps = lock.python.packages, overlaps_of(lock)
    refuse_newer_glibc(packages)
    if check:
        plan = plan_sync(root, packages, python, overlaps)
    else:
        look_into_wheels(ctx, lock)
        fetch = _fetch_of(ctx, lock)
        plan = sync(
            root,
            packages,
            python,
            entries=ctx.cache.folder("unpacked"),
            fetch=fetch,
            again=_again_of(ctx, fetch),
            reporter=ctx.reporter,
            prompt=loaded.spec.project.name,
            overlaps=overlaps,
        )
    return SyncResult(plan=plan, packages=len(packages), done=not check)


def _fetch_of(ctx: Context, lock: Lock) -> FetchWheels:
    """Those who build and fetch are imported when something has to be fetched."""

    def fetch(packages: Sequence[PythonPackage]) -> Mapping[str, Path]:
        from mllock.workflows.environment import locked_wheels

        return locked_wheels(ctx, lock)(packages)

    return fetch


def _again_of(ctx: Context, fetch: FetchWheels) -> FetchWheels:
    """Wheels that this user hashed before, and that are the same files still: as good as their
    unpacked files, which are believed by their looks."""

    def again(packages: Sequence[PythonPackage]) -> Mapping[str, Path]:
        wheels = {wheel.name: wheel for package in packages for wheel in package.wheels}
        digests = {name: from_hex(wheel.hashes["sha256"]) for name, wheel in wheels.items()}
        blobs = ctx.cache.unchanged(digests.values())
        found = {name: path for name, digest in digests.items() if (path := blobs[digest])}
        missing = [item for item in packages if any(w.name not in found for w in item.wheels)]
        return {**found, **fetch(missing)} if missing else found

    return again
