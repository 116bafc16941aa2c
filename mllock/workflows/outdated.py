"""`mllock outdated`: of which locked packages there are newer versions.

Two questions to the package indexes, and no wheel is fetched: what the spec allows with nothing
pinned, which is what `lock --upgrade` would take; and what is the newest at all. One question to
the Debian archive: its signed lists, verified as in a lock. The lock is not changed, and may be
stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from mllock.core.offline import is_offline, not_asked
from mllock.lock.direct import locked_references, references_for
from mllock.lock.format import LOCK_NAME, read_lock
from mllock.lock.indexes import indexes_of
from mllock.lock.make import locked_debian
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.ports import PythonRequest, Upgrade
from mllock.lock.target import Target, target_of
from mllock.lock.types import Lock
from mllock.spec.reader import LoadedSpec, load_spec
from mllock.spec.requirements import Declared, declared
from mllock.store.own import own_folder
from mllock.workflows.context import Context
from mllock.workflows.direct import direct_of
from mllock.workflows.links import spec_links

if TYPE_CHECKING:
    from mllock.lock.debian import DebianResolver

__all__ = ["Outdated", "OutdatedDeb", "Report", "outdated"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outdated:
    """A locked version that is not the newest. `allowed` is what an upgrade would take, `newest`
    what the index has; `held_by` is what the spec says against the newest one, if it does itself.
    `platforms` are empty for all that the lock has."""

    name: str
    locked: str
    allowed: str
    newest: str
    held_by: str | None = None
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class OutdatedDeb:
    """A locked Debian package that the archive has a newer version of, in `suite`."""

    name: str
    locked: str
    newest: str
    suite: str
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """`total` Python packages and `total_debs` Debian packages were looked at."""

    packages: tuple[Outdated, ...]
    total: int
    debs: tuple[OutdatedDeb, ...]
    total_debs: int


def outdated(ctx: Context, debian: DebianResolver | None = None) -> Report:
    """Raises LockError, OfflineError if an index or archive cannot be reached, ResolutionError,
    IntegrityError. `debian` is who knows the archive; None is the real one."""
    loaded = load_spec(ctx.project / "mlproject.toml")
    lock = read_lock(ctx.project / LOCK_NAME)
    wanted = declared(ctx.project, loaded)
    platforms = platforms_of(lock)
    found: dict[Outdated, list[str]] = {}
    if is_offline(ctx.environ):
        raise not_asked("the package index")
    ctx.reporter.step("asking the package index for newer versions")
    for platform in platforms:
        for item in _of_platform(ctx, narrowed(lock, platform), wanted):
            found.setdefault(item, []).append(platform)
    rows = _merged(found, platforms)
    return Report(
        packages=tuple(sorted(rows, key=lambda item: (item.name, item.platforms))),
        total=len({item.name for item in lock.python.packages}),
        debs=_debs(ctx, loaded, lock, debian),
        total_debs=len({item.name for item in lock.system}),
    )


Row = TypeVar("Row", Outdated, OutdatedDeb)


def _merged(found: Mapping[Row, Sequence[str]], platforms: Sequence[str]) -> list[Row]:
    """Rows with the platforms that they are for, where these are not all."""
    return [
        replace(item, platforms=() if len(those) == len(platforms) else tuple(those))
        for item, those in found.items()
    ]


def _debs(
    ctx: Context, loaded: LoadedSpec, lock: Lock, resolver: DebianResolver | None
) -> tuple[OutdatedDeb, ...]:
    from debian.debian_support import Version

    platforms = platforms_of(lock)
    found: dict[OutdatedDeb, list[str]] = {}
    for platform in platforms:
        locked = locked_debian(lock, platform)
        if locked is None or not locked.packages:
            continue  # a base image, and nothing of Debian's above it
        if resolver is None:
            from mllock.lock.debian import DebianResolver

            resolver = DebianResolver(ctx.fetcher, ctx.cache, ctx.environ, ctx.reporter)
        ctx.reporter.step(f"asking the archive of debian {locked.suite} for newer versions")
        newest = resolver.newest(locked, platform, loaded.spec.environment.debian_mirror)
        for package in locked.packages:
            version, suite = newest.get(package.name, (package.version, ""))
            if Version(version) > Version(package.version):
                row = OutdatedDeb(
                    name=package.name, locked=package.version, newest=version, suite=suite
                )
                found.setdefault(row, []).append(platform)
    rows = _merged(found, platforms)
    return tuple(sorted(rows, key=lambda item: (item.name, item.platforms)))


def _of_platform(ctx: Context, lock: Lock, wanted: Declared) -> Iterator[Outdated]:
    from packaging.version import Version

    target = target_of(lock)
    allowed = _allowed(ctx, lock, wanted, target)
    newest = _newest(ctx, lock, target)
    for package in lock.python.packages:
        versions = [package.version, allowed.get(package.name), newest.get(package.name)]
        locked, best, last = (Version(text or package.version) for text in versions)
        best, last = max(locked, best), max(locked, best, last)
        if last > locked:
            yield Outdated(
                name=package.name,
                locked=package.version,
                allowed=str(best),
                newest=str(last),
                held_by=None if best == last else _held_by(package.name, str(last), wanted),
            )


def _allowed(ctx: Context, lock: Lock, wanted: Declared, target: Target) -> dict[str, str]:
    from mllock.lock.python import resolver_of

    environment = lock.inputs.environment
    references = references_for(wanted.requirements, target)
    resolver = resolver_of(
        environment["resolver"],
        ctx.cache,
        own_folder(ctx.cache.root / "uv"),
        ctx.reporter,
        ctx.environ,
    )
    return resolver.versions(
        PythonRequest(
            requirements=wanted.requirements,
            constraints=wanted.constraints,
            python=target.python,
            platform=target.platform,
            glibc=target.glibc,
            pins={},
            upgrade=Upgrade(all=True),
            exclude_newer=environment.get("exclude-newer"),
            indexes=indexes_of(environment),
            find_links=spec_links(ctx),
            direct=direct_of(ctx, lock, references),
        )
    )


def _newest(ctx: Context, lock: Lock, target: Target) -> dict[str, str]:
    from mllock.lock.newest import newest_versions
    from mllock.lock.pip import Pip
    from mllock.lock.uv import UvChooser

    environment = lock.inputs.environment
    references = locked_references(environment, target)
    pip = Pip(environ=ctx.environ, reporter=ctx.reporter)
    return newest_versions(
        # What comes from a URL is nobody's in an index.
        [item.name for item in lock.python.packages if item.name not in references],
        UvChooser(pip, ctx.environ, own_folder(ctx.cache.root / "uv"), ctx.reporter),
        ctx.cache,
        target=target,
        before=environment.get("exclude-newer"),
        indexes=indexes_of(environment),
        links=spec_links(ctx),
    )


def _held_by(name: str, newest: str, wanted: Declared) -> str | None:
    from packaging.requirements import Requirement

    from mllock.spec.meaning import package_name

    texts: Sequence[str] = (*wanted.requirements, *wanted.constraints)
    for text in texts:
        requirement = Requirement(text)
        named = package_name(requirement.name) == name
        if named and not requirement.specifier.contains(newest, prereleases=True):
            return text
    return None
