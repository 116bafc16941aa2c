"""`mllock lock`: the spec, the previous lock and the world in, a lock or reasons out.

Order: spec; previous lock; data, because a missing file needs no network to be found; the system
part, whose Python and C library decide which wheels fit; the Python part; then the new lock, read
back before it is written. Whatever fails, the old lock stays. If nothing changed, nothing is
resolved, fetched or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock import __version__
from mllock.errors import StaleLockError
from mllock.image.builder_format import BUILDER_FORMAT
from mllock.lock.compare import Change, changes, stale_reasons
from mllock.lock.format import LOCK_NAME, dump_lock, parse_lock, read_bytes
from mllock.lock.make import (
    assemble,
    kept_python,
    kept_system,
)
from mllock.lock.overlaps import refuse_unknown_packages
from mllock.lock.platforms import debs_for
from mllock.lock.ports import (
    PythonResolver,
    SystemResolution,
    SystemResolver,
    Upgrade,
)
from mllock.lock.target import Target, base_glibc
from mllock.lock.types import DataPin, Lock, PythonPackage, Tool
from mllock.spec.meaning import Meaning, meaning
from mllock.spec.reader import LoadedSpec, load_spec
from mllock.spec.requirements import Declared, declared
from mllock.spec.sources import is_remote
from mllock.store.atomic import write_bytes
from mllock.workflows.context import Context
from mllock.workflows.previous import Previous, checked_upgrade, previous_lock

__all__ = ["LockResult", "Resolvers", "check_lock", "current_lock", "lock_project"]

SPEC_NAME = "mlproject.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockResult:
    """What `mllock lock` did, or would do. `current` is whether there was nothing to do; `written`
    is False then, and where it was only asked."""

    lock: Lock
    changes: tuple[Change, ...]
    current: bool
    written: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolvers:
    """Who resolves; None is the real one, made when it is needed."""

    python: PythonResolver | None = None
    system: SystemResolver | None = None


def lock_project(
    ctx: Context,
    *,
    upgrade: Upgrade | None = None,
    fresh: bool = False,
    dry_run: bool = False,
    by_content: bool = False,
    resolvers: Resolvers | None = None,
) -> LockResult:
    """Bring mlproject.lock up to date. `fresh` forgets the previous pins; with `dry_run` no
    lock is written; `by_content` reads all data again."""
    resolvers = resolvers or Resolvers()
    loaded, wanted, means = _spec(ctx)
    path = ctx.project / LOCK_NAME
    previous = previous_lock(ctx, path, fresh=fresh)
    asked = (*wanted.requirements, *loaded.spec.environment.system_packages)
    upgrade = checked_upgrade(upgrade or Upgrade(), previous.pins, asked)
    if previous.parts is not None and loaded.spec.data and not dry_run:
        from mllock.workflows.vendored_data import bring_vendored

        bring_vendored(ctx, loaded.spec.data, previous.parts.data)
    data = _data(
        ctx, loaded, means, previous.parts, upgrade, by_content=by_content, dry_run=dry_run
    )
    system = kept_system(previous.parts, means, upgrade)
    if system is None:
        from mllock.workflows.resolving import resolve_system

        system = resolve_system(ctx, loaded, previous, upgrade, resolvers.system)
    targets = tuple(
        Target(
            python=system.base.python,
            platform=platform,
            glibc=base_glibc(system.base, debs_for(system.packages, platform), platform),
        )
        for platform in means.environment["platforms"]
    )
    packages = kept_python(previous.parts, means, targets, upgrade)
    builds = () if previous.parts is None else previous.parts.builds
    tool = previous.parts.tool if previous.parts is not None else None
    if packages is None or tool is None:
        from mllock.workflows.resolving import python_resolver, resolve_python

        resolver = resolvers.python or python_resolver(ctx, loaded, previous, means)
        packages, builds = resolve_python(ctx, loaded, wanted, targets, previous, upgrade, resolver)
        tool = Tool(mllock=__version__, resolver=resolver.name, resolver_version=resolver.version())
    refuse_unknown_packages(loaded, [package.name for package in packages])
    if loaded.spec.builder.kind == "docker":
        ctx.reporter.note('[builder] kind = "docker": images are pinned, not bit-identical')
    old = previous.parts
    if old is not None and _stays(old, means, system, packages, data):
        return LockResult(lock=old, changes=(), current=True, written=False)
    lock = assemble(
        meaning=means,
        tool=tool,
        builder_format=BUILDER_FORMAT,
        system=system,
        targets=targets,
        packages=packages,
        builds=builds,
        data=data,
        previous=previous.pins,
    )
    return _write(path, lock, previous, dry_run=dry_run)


def check_lock(ctx: Context, *, by_content: bool = False) -> tuple[str, ...]:
    """Why the lock is stale, offline; empty if it is current.

    Data is looked at by stat, or `by_content`. Raises LockError if there is no usable lock, and
    DataError if a source is missing.
    """
    loaded, _, means = _spec(ctx)
    lock = parse_lock(read_bytes(ctx.project / LOCK_NAME), LOCK_NAME)
    reasons = [*stale_reasons(lock, means), *_format_reasons(lock)]
    if loaded.spec.data:
        reasons += _data_reasons(ctx, loaded, lock, by_content=by_content)
    return tuple(dict.fromkeys(reasons))


def _data_reasons(
    ctx: Context, loaded: LoadedSpec, lock: Lock, *, by_content: bool
) -> Iterator[str]:
    from mllock.data.pin import stat_reasons, verify_source
    from mllock.workflows.vendored_data import is_only_vendored

    for name, source in sorted(loaded.spec.data.items()):
        pin = lock.data.get(name)
        if pin is None or is_remote(source.source) or is_only_vendored(ctx, source, pin):
            continue
        if not by_content:
            yield from stat_reasons(ctx.project, name, source, pin, ctx.state)
            continue
        try:
            verify_source(ctx.project, name, source, pin)
        except StaleLockError as error:
            yield f"{error.key}: {error.message}"


def current_lock(ctx: Context, loaded: LoadedSpec, *, data: bool = True) -> tuple[Lock, bytes]:
    """The lock and its bytes, for building or training from.

    Raises LockError, or StaleLockError if the spec means something else now or, unless `data` is
    False (the caller verifies by content), if data changed as far as stat can tell.
    """
    content = read_bytes(ctx.project / LOCK_NAME)
    lock = parse_lock(content, LOCK_NAME)
    means = meaning(loaded.spec, declared(ctx.project, loaded))
    reasons = [*stale_reasons(lock, means), *_format_reasons(lock)]
    if data and loaded.spec.data:
        from mllock.data.pin import stat_reasons
        from mllock.workflows.vendored_data import is_only_vendored

        for name, source in sorted(loaded.spec.data.items()):
            pin = lock.data.get(name)
            if pin is not None and not is_only_vendored(ctx, source, pin):
                reasons += stat_reasons(ctx.project, name, source, pin, ctx.state)
    if reasons:
        raise StaleLockError(
            "is stale",
            file=LOCK_NAME,
            found="\n       ".join(reasons),
            hint='bring it up to date with "mllock lock"',
        )
    return lock, content


def _spec(ctx: Context) -> tuple[LoadedSpec, Declared, Meaning]:
    loaded = load_spec(ctx.project / SPEC_NAME)
    wanted = declared(ctx.project, loaded)
    return loaded, wanted, meaning(loaded.spec, wanted)


def _data(
    ctx: Context,
    loaded: LoadedSpec,
    means: Meaning,
    previous: Lock | None,
    upgrade: Upgrade,
    *,
    by_content: bool,
    dry_run: bool,
) -> dict[str, DataPin]:
    if not loaded.spec.data:
        return {}
    from mllock.workflows.remote_data import data_pins

    return data_pins(ctx, loaded, means, previous, upgrade, by_content=by_content, dry_run=dry_run)


def _format_reasons(lock: Lock) -> tuple[str, ...]:
    if lock.layers.builder_format == BUILDER_FORMAT:
        return ()
    return (f"layers.builder-format: {lock.layers.builder_format} -> {BUILDER_FORMAT}",)


def _stays(
    old: Lock,
    means: Meaning,
    system: SystemResolution,
    packages: Sequence[PythonPackage],
    data: Mapping[str, DataPin],
) -> bool:
    """Whether every part is what it was, so that the lock of them is `old`."""
    kept = packages is old.python.packages and system.packages is old.system
    same = old.inputs.digest == means.digest and old.data == data
    return kept and same and not _format_reasons(old)


def _write(path: Path, lock: Lock, previous: Previous, *, dry_run: bool) -> LockResult:
    old = previous.parts
    if old is not None and old.content_digest == lock.content_digest:
        return LockResult(lock=old, changes=(), current=True, written=False)
    content = dump_lock(lock)
    parse_lock(content, path.name)  # what cannot be read back is never written
    if not dry_run:
        write_bytes(path, content)
    edited = previous.parts is None and previous.pins is not None
    moved = changes(previous.shown, lock, edited=edited)
    return LockResult(lock=lock, changes=moved, current=False, written=not dry_run)
