"""Putting a tree out of the cache where a program finds it: a copy of the project's own.

Not links into the cache: programs write where they should not, and the next project would read it;
a hard link would also move the times by which a run tells that nobody touched its data. Where the
disk can share blocks (btrfs, xfs), a copy costs none. Order: copied beside the target, hashed as a
whole, renamed. What was there before goes only if nothing is lost: it is in the cache, or the
caller says `force`. Raises DataError, SurroundingsError.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.data.scan import scan
from mllock.errors import DataError, IntegrityError
from mllock.processes import held_interrupts
from mllock.spec.sources import here
from mllock.spec.types import DataSource
from mllock.store import atomic
from mllock.store.cache import Cache

__all__ = ["place"]

_BLOCK = 1024**3


def place(
    cache: Cache,
    project: Path,
    name: str,
    source: DataSource,
    manifest: TreeManifest,
    *,
    force: bool = False,
) -> bool:
    """Make `path` of the source hold `manifest`; False if it does already."""
    target = _target(project, name, source)
    there = os.path.lexists(target)
    if there:
        if _is_now(target, source, manifest):
            return False
        if not force and not _is_kept(cache, target, here(source)):
            raise DataError(
                f"{here(source)!r} is not what is locked, and is nowhere else",
                file="mlproject.toml",
                key=f"data.{name}.path",
                hint=f'move it away, or give it up: "mllock data fetch --force {name}"',
            )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.cannot_write(target.parent, error) from error
    with atomic.staging(target.parent) as staged:
        new = staged / "new"
        try:
            _copy_all(cache, manifest, new)
            _verify(cache, manifest, new)
            with held_interrupts():
                if there:
                    os.rename(target, staged / "old")
                os.rename(new, target)
        except OSError as error:
            raise atomic.cannot_write(target, error) from error
    return True


def _target(project: Path, name: str, source: DataSource) -> Path:
    """Where the source goes: inside of the project, whatever links lead to."""
    inside = os.path.realpath(project)
    folder, last = os.path.split(os.path.join(inside, here(source)))
    real = os.path.realpath(folder)
    if real != inside and not real.startswith(inside + os.sep):
        raise DataError(
            f"{here(source)!r} is outside of the project",
            file="mlproject.toml",
            key=f"data.{name}.path",
            hint="remove the link that leads there, or name another path",
        )
    return Path(real, last)


def _is_now(target: Path, source: DataSource, manifest: TreeManifest) -> bool:
    try:
        found = scan(target, include=source.include, exclude=source.exclude, name=here(source))
    except DataError:  # a link, or something in it that is no file
        return False
    return found.digest == manifest.digest


def _is_kept(cache: Cache, target: Path, name: str) -> bool:
    """Whether all of what is at `target` is in the cache as well."""
    try:
        entries = scan(target, name=name).entries
    except DataError:
        return False
    digests = [entry.digest for entry in entries if entry.digest is not None]
    if len(digests) != len(entries):
        return False
    return None not in cache.get_all(digests).values()


def _copy_all(cache: Cache, manifest: TreeManifest, new: Path) -> None:
    if not manifest.is_single_file:
        new.mkdir()
    for entry in manifest.entries:
        target = new if entry.path == SINGLE else new / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(cache, entry, target)


def _copy(cache: Cache, entry: Entry, target: Path) -> None:
    assert entry.digest is not None
    blob = cache.blob_path(entry.digest)
    try:
        with open(blob, "rb", buffering=0) as reader, open(target, "xb", buffering=0) as writer:
            try:
                while os.copy_file_range(reader.fileno(), writer.fileno(), _BLOCK):
                    pass
            except OSError:  # another disk, or one that cannot
                writer.seek(0)
                reader.seek(0)
                shutil.copyfileobj(reader, writer, 1024 * 1024)
    except FileNotFoundError as error:
        raise _damaged() from error
    # Data is only read: a program that writes to it by mistake should hear of it.
    target.chmod(0o555 if entry.kind == "x" else 0o444)


def _verify(cache: Cache, manifest: TreeManifest, new: Path) -> None:
    if scan(new, name="data").digest == manifest.digest:
        return
    for entry in manifest.entries:
        if entry.digest is not None:
            cache.get(entry.digest)  # removes what is damaged, and says so
    raise _damaged()


def _damaged() -> IntegrityError:
    return IntegrityError(
        "an entry of the cache was damaged or removed meanwhile",
        hint="run the same command again: it is fetched again",
    )
