"""`mllock lock`: the spec, the previous lock and the world in, a lock or reasons out.

Order: spec; previous lock; data, because a missing file needs no network to be found; the system
part, whose Python and C library decide which wheels fit; the Python part; then the new lock, read
back before it is written. Whatever fails, the old lock stays. If nothing changed, nothing is
resolved, fetched or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mllock import __version__
from mllock.core.offline import is_offline
from mllock.data.pin import stat_reasons, verify_source
from mllock.errors import InputError, LockError, ResolutionError, StaleLockError
from mllock.image.types import BUILDER_FORMAT
from mllock.lock.blame import blame
from mllock.lock.compare import Change, changes, stale_reasons
from mllock.lock.direct import references_for
from mllock.lock.format import LOCK_NAME, NEWER, dump_lock, parse_lock, read_bytes
from mllock.lock.imported import moved_pins, read_pins
from mllock.lock.indexes import indexes_of
from mllock.lock.make import (
    assemble,
    keep_wheels,
    kept_python,
    kept_system,
    locked_debian,
    pins_of,
    same_sources,
    stays,
)
from mllock.lock.overlaps import refuse_unknown_packages
from mllock.lock.platforms import debs_for, merge_python, merge_system
from mllock.lock.ports import (
    PythonRequest,
    PythonResolver,
    SystemRequest,
    SystemResolution,
    SystemResolver,
    Upgrade,
)
from mllock.lock.target import Target, base_glibc
from mllock.lock.together import Wishes, different_versions, resolve_together
from mllock.lock.types import Build, Lock, PythonPackage, Tool
from mllock.spec.available import refuse_unavailable
from mllock.spec.meaning import Meaning, meaning, package_name
from mllock.spec.reader import LoadedSpec, load_spec
from mllock.spec.requirements import Declared, declared
from mllock.spec.sources import is_remote
from mllock.store.atomic import write_bytes
from mllock.workflows.context import Context
from mllock.workflows.direct import DirectWheels
from mllock.workflows.links import absolute_links
from mllock.workflows.remote_data import data_pins
from mllock.workflows.vendored_data import bring_vendored, is_only_vendored

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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Previous:
    """The lock that was here. `pins` are wishes; `parts` may be kept as they are."""

    pins: Lock | None = None
    parts: Lock | None = None
    shown: Lock | None = None
    # Where there is no lock yet: what `init --from` found, name -> version.
    imported: Mapping[str, str] = field(default_factory=dict)


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
    previous = _previous(ctx, path, fresh=fresh)
    upgrade = _checked(upgrade or Upgrade(), previous.pins)
    if previous.parts is not None and not dry_run:
        bring_vendored(ctx, loaded.spec.data, previous.parts.data)
    data = data_pins(
        ctx, loaded, means, previous.parts, upgrade, by_content=by_content, dry_run=dry_run
    )
    system = kept_system(previous.parts, means, upgrade)
    if system is None:
        system = _resolve_system(ctx, loaded, previous, upgrade, resolvers.system)
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
        resolver = resolvers.python or _resolver(ctx, loaded, previous, means)
        packages, builds = _resolve_python(
            ctx, loaded, wanted, targets, previous, upgrade, resolver
        )
        tool = Tool(mllock=__version__, resolver=resolver.name, resolver_version=resolver.version())
    refuse_unknown_packages(loaded, [package.name for package in packages])
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
    if loaded.spec.builder.kind == "docker":
        ctx.reporter.note('[builder] kind = "docker": images are pinned, not bit-identical')
    return _write(path, lock, previous, dry_run=dry_run)


def check_lock(ctx: Context, *, by_content: bool = False) -> tuple[str, ...]:
    """Why the lock is stale, offline; empty if it is current.

    Data is looked at by stat, or `by_content`. Raises LockError if there is no usable lock, and
    DataError if a source is missing.
    """
    loaded, _, means = _spec(ctx)
    lock = parse_lock(read_bytes(ctx.project / LOCK_NAME), LOCK_NAME)
    reasons = [*stale_reasons(lock, means), *_format_reasons(lock)]
    for name, source in sorted(loaded.spec.data.items()):
        pin = lock.data.get(name)
        if pin is None or is_remote(source.source) or is_only_vendored(ctx, source, pin):
            continue
        if not by_content:
            reasons += stat_reasons(ctx.project, name, source, pin, ctx.state)
            continue
        try:
            verify_source(ctx.project, name, source, pin)
        except StaleLockError as error:
            reasons.append(f"{error.key}: {error.message}")
    return tuple(dict.fromkeys(reasons))


def current_lock(ctx: Context, loaded: LoadedSpec, *, data: bool = True) -> tuple[Lock, bytes]:
    """The lock and its bytes, for building or training from.

    Raises LockError, or StaleLockError if the spec means something else now or, unless `data` is
    False (the caller verifies by content), if data changed as far as stat can tell.
    """
    content = read_bytes(ctx.project / LOCK_NAME)
    lock = parse_lock(content, LOCK_NAME)
    means = meaning(loaded.spec, declared(ctx.project, loaded))
    reasons = [*stale_reasons(lock, means), *_format_reasons(lock)]
    if data:
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
    refuse_unavailable(loaded)
    wanted = declared(ctx.project, loaded)
    return loaded, wanted, meaning(loaded.spec, wanted)


def _format_reasons(lock: Lock) -> tuple[str, ...]:
    if lock.layers.builder_format == BUILDER_FORMAT:
        return ()
    return (f"layers.builder-format: {lock.layers.builder_format} -> {BUILDER_FORMAT}",)


def _previous(ctx: Context, path: Path, *, fresh: bool) -> _Previous:
    if not path.exists():
        return _Previous() if fresh else _Previous(imported=read_pins(ctx.state))
    content = read_bytes(path)
    try:
        lock = parse_lock(content, path.name)
    except LockError as error:
        if error.message == NEWER:
            raise
        if fresh:
            return _Previous()
        if error.key not in ("content-digest", "inputs.digest"):
            raise
        edited = parse_lock(content, path.name, verify=False)
        ctx.reporter.warn(f"{path.name}: {error.message}: everything is resolved again")
        return _Previous(pins=edited, shown=edited)
    if fresh:
        return _Previous(shown=lock)
    return _Previous(pins=lock, parts=lock, shown=lock)


def _checked(upgrade: Upgrade, old: Lock | None) -> Upgrade:
    """The same upgrade with names as the lock writes them. Raises InputError for unknown ones."""
    if old is None or not upgrade.names:
        return upgrade
    python, system = (set(pins) for pins in pins_of(old))
    data = {f"data.{name}" for name in old.data}
    names = set()
    for name in sorted(upgrade.names):
        normal = package_name(name)
        found = {normal} & python or {name} & system or {name} & data
        if not found:
            import difflib

            near = difflib.get_close_matches(normal, sorted(python | system | data), n=1)
            raise InputError(
                f"no locked package is named {name!r}",
                file=LOCK_NAME,
                hint=f'did you mean "{near[0]}"?' if near else f"{LOCK_NAME} lists them",
            )
        names |= found
    return Upgrade(all=upgrade.all, names=frozenset(names))


def _resolve_system(
    ctx: Context,
    loaded: LoadedSpec,
    previous: _Previous,
    upgrade: Upgrade,
    resolver: SystemResolver | None,
) -> SystemResolution:
    environment = loaded.spec.environment
    _refuse_foreign(loaded)
    resolver = resolver or _system_resolver(ctx, environment.base)
    pinned = None if previous.parts is None else previous.parts.base
    if pinned is not None and not all(map(pinned.on, environment.platforms)):
        pinned = None  # the images of all platforms are those of one moment
    return merge_system(
        {
            platform: resolver.resolve(
                SystemRequest(
                    base=environment.base,
                    python=environment.python,
                    packages=environment.system_packages,
                    platform=platform,
                    mirror=environment.debian_mirror,
                    pins=pins_of(previous.pins, platform)[1],
                    upgrade=upgrade,
                    previous=pinned,
                    locked=locked_debian(previous.parts, platform),
                )
            )
            for platform in sorted(set(environment.platforms))
        }
    )


def _system_resolver(ctx: Context, base: str) -> SystemResolver:
    if base.startswith("debian:"):
        from mllock.lock.debian import DebianResolver

        return DebianResolver(ctx.fetcher, ctx.cache, ctx.environ, ctx.reporter)
    from mllock.image.base_resolve import ImageBaseResolver

    return ImageBaseResolver(ctx.project, ctx.cache, ctx.fetcher, ctx.environ, ctx.reporter)


def _refuse_foreign(loaded: LoadedSpec) -> None:
    """Before minutes are spent on a base that the Python packages cannot be resolved for."""
    from mllock.lock.pip_tools import foreign

    environment = loaded.spec.environment
    if environment.resolver != "pip-tools":
        return
    for platform in sorted(set(environment.platforms)):
        error = foreign(platform, environment.python)
        if error is not None:
            error.file = loaded.path.name
            # The default stands nowhere.
            error.key = "environment.resolver"
            error.line = loaded.place(error.key)
            raise error


def _resolver(
    ctx: Context, loaded: LoadedSpec, previous: _Previous, means: Meaning
) -> PythonResolver:
    from mllock.lock.python import resolver_of

    name, cache, reporter = loaded.spec.environment.resolver, ctx.cache, ctx.reporter

    def make(environ: Mapping[str, str]) -> PythonResolver:
        return resolver_of(name, cache, cache.root / "uv", reporter, environ)

    if not is_offline(ctx.environ):
        return make(ctx.environ)
    from mllock.lock.local import LocalResolver
    from mllock.lock.pip import Pip

    known = previous.parts if same_sources(previous.parts, means) else None
    return LocalResolver(make, Pip(environ=ctx.environ, reporter=reporter), cache, known)


def _resolve_python(
    ctx: Context,
    loaded: LoadedSpec,
    wanted: Declared,
    targets: Sequence[Target],
    previous: _Previous,
    upgrade: Upgrade,
    resolver: PythonResolver,
) -> tuple[tuple[PythonPackage, ...], tuple[Build, ...]]:
    _refuse_foreign(loaded)
    count = len(wanted.requirements)
    what = f"resolving {count} requirement{'s' if count != 1 else ''}"
    # A wheel that stays must be one that could come again.
    means = meaning(loaded.spec, wanted)
    stay = previous.parts if same_sources(previous.parts, means) else None

    direct = DirectWheels(ctx, means, previous.parts, upgrade)

    def resolve(target: Target, wishes: Wishes) -> tuple[PythonPackage, ...]:
        ctx.reporter.step(what if len(targets) == 1 else f"{what} for {target.platform}")
        # What comes from a URL was kept, or is asked for anew.
        free = upgrade.names | references_for(wanted.requirements, target).keys()
        request = PythonRequest(
            requirements=wanted.requirements,
            constraints=wanted.constraints,
            python=target.python,
            platform=target.platform,
            glibc=target.glibc,
            pins=wishes.pins,
            upgrade=wishes.upgrade,
            exclude_newer=loaded.spec.environment.exclude_newer,
            indexes=indexes_of(means.environment),
            known=stays(stay, target, Upgrade(all=upgrade.all, names=free)),
            find_links=absolute_links(ctx.project, wanted.find_links),
            direct=direct.wheels(target),
        )
        try:
            packages = resolver.resolve(request)
        except ResolutionError as error:
            blame(error, loaded, wanted, pins_of(previous.shown)[0])
            raise
        return keep_wheels(stay, packages, target, Upgrade(all=upgrade.all, names=free))

    pins = {t.platform: previous.imported or pins_of(previous.pins, t.platform)[0] for t in targets}
    found = resolve_together(targets, pins, upgrade, resolve)
    for line in different_versions(found):
        ctx.reporter.warn(line)
    merged = merge_python(found)
    for line in () if upgrade.all else moved_pins(previous.imported, merged):
        ctx.reporter.warn(line)
    names = {package.name for package in merged}
    return merged, tuple(build for build in direct.builds if build.name in names)


def _write(path: Path, lock: Lock, previous: _Previous, *, dry_run: bool) -> LockResult:
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
