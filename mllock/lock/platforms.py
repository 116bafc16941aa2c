"""Several platforms in one lock: putting their parts together, and taking one out again. Pure.

A lock for one platform is what it always was. In one for several, a package that not all of them
have carries a PEP 508 marker, a .deb of architecture "all" the platforms that have it, and a
package's wheels are those of all platforms: each picks the best that its tags allow, as installers
do. Specified in docs/reference/mlproject-lock.md, "Several platforms"; see ADR 0057.

Law: `narrowed(lock, p)` is, for every platform p of a lock, what a lock for p alone would hold:
one wheel for each package, the same versions, layers and digests of them. Its content digest stays
that of the whole lock, which is the one that records name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from msgspec.structs import replace

from mllock.core.platform import KNOWN
from mllock.errors import InputError, IntegrityError, ResolutionError
from mllock.lock.ports import SystemResolution
from mllock.lock.target import Target, base_glibc
from mllock.lock.types import DebianPackage, LayerGroup, Lock, PythonPackage, Wheel

__all__ = [
    "debs_for",
    "is_for",
    "marker_of",
    "markers",
    "merge_python",
    "merge_system",
    "narrowed",
    "pick",
    "platforms_of",
    "ranks",
    "targets_of",
]


def platforms_of(lock: Lock) -> tuple[str, ...]:
    """What the lock is for, sorted; of a narrowed one, the platform that it is narrowed to."""
    return tuple(lock.inputs.environment["platforms"])


def targets_of(lock: Lock) -> tuple[Target, ...]:
    """What the wheels are for, by platform. Raises ResolutionError."""
    platforms = platforms_of(lock)
    return tuple(
        Target(
            python=lock.base.python,
            platform=platform,
            glibc=base_glibc(lock.base, debs_for(lock.system, platform), platform),
        )
        for platform in platforms
    )


def narrowed(lock: Lock, platform: str) -> Lock:
    """The part of `lock` that is for `platform`. Raises InputError if it is not for it."""
    platforms = platforms_of(lock)
    if platform not in platforms:
        raise InputError(
            f"the lock is not for {platform}",
            file="mlproject.lock",
            found=", ".join(platforms),
            hint="name it in [environment] platforms, then run: mllock lock",
        )
    if len(platforms) == 1:
        return lock
    (target,) = (item for item in targets_of(lock) if item.platform == platform)
    packages = packages_for(lock.python.packages, target)
    names = {item.name for item in packages}
    groups = (tuple(n for n in group.packages if n in names) for group in lock.layers.python)
    environment = {**lock.inputs.environment, "platforms": [platform]}
    base = tuple(item for item in lock.base.platforms if item.platform == platform)
    return replace(
        lock,
        inputs=replace(lock.inputs, environment=environment),
        base=replace(lock.base, platforms=base),
        system=debs_for(lock.system, platform),
        python=replace(lock.python, environments=(target.environment,), packages=packages),
        layers=replace(
            lock.layers, python=tuple(LayerGroup(packages=group) for group in groups if group)
        ),
    )


def debs_for(debs: Iterable[DebianPackage], platform: str) -> tuple[DebianPackage, ...]:
    """Those of `debs` that `platform` has, as a lock for it alone has them."""
    return tuple(
        replace(deb, platforms=())
        for deb in debs
        if (platform in deb.platforms)
        or (not deb.platforms and deb.architecture in ("all", KNOWN[platform].debian))
    )


def packages_for(packages: Iterable[PythonPackage], target: Target) -> tuple[PythonPackage, ...]:
    """Those of `packages` that `target` has, each with its one wheel."""
    rank = ranks(target)
    found = []
    for item in packages:
        if is_for(item, target.platform):
            wheel = pick(item.wheels, rank)
            if wheel is None:
                raise InputError(
                    f"no wheel of {item.name} is for {target.platform}",
                    file="mlproject.lock",
                    hint='write the lock again with "mllock lock"',
                )
            found.append(replace(item, marker=None, wheels=(wheel,)))
    return tuple(found)


def is_for(package: PythonPackage, platform: str) -> bool:
    return package.marker is None or marker_of((platform,)) in package.marker.split(" or ")


def marker_of(platforms: Iterable[str]) -> str:
    """The PEP 508 marker of some of the platforms."""
    machines = sorted(KNOWN[platform].machine for platform in platforms)
    return " or ".join(f"platform_machine == '{machine}'" for machine in machines)


def markers(platforms: Sequence[str]) -> frozenset[str]:
    """Every marker that a lock for `platforms` may hold: of some of them, and not of all."""
    return frozenset(
        marker_of(some)
        for count in range(1, len(platforms))
        for some in itertools.combinations(platforms, count)
    )


@lru_cache(maxsize=8)
def ranks(target: Target) -> Mapping[str, int]:
    """Every tag that `target` takes, best first, as pip ranks them (PEP 425, PEP 600)."""
    from packaging.tags import compatible_tags, cpython_tags

    version = tuple(int(part) for part in target.minor.split("."))
    nick = f"cp{''.join(target.minor.split('.'))}"
    platforms = target.platform_tags
    tags = itertools.chain(
        cpython_tags(version, [nick], platforms), compatible_tags(version, nick, platforms)
    )
    found: dict[str, int] = {}
    for position, tag in enumerate(tags):
        found.setdefault(str(tag), position)
    return MappingProxyType(found)


def pick(wheels: Iterable[Wheel], rank: Mapping[str, int]) -> Wheel | None:
    """The wheel that an installer with these `ranks` would take; None if it could take none."""
    from packaging.utils import parse_wheel_filename

    def best(wheel: Wheel) -> int | None:
        _, _, _, tags = parse_wheel_filename(wheel.name)
        return min((rank[str(tag)] for tag in tags if str(tag) in rank), default=None)

    usable = [(place, wheel.name, wheel) for wheel in wheels if (place := best(wheel)) is not None]
    return min(usable)[2] if usable else None


def merge_system(parts: Mapping[str, SystemResolution]) -> SystemResolution:
    """One system part of those of several platforms. Raises ResolutionError if they are not of one
    state of the archive."""
    (first, base), *others = ((platform, part.base) for platform, part in parts.items())
    for platform, other in others:
        if base.python != other.python:
            raise ResolutionError(
                "the base has another Python on another platform",
                expected=f"{base.python}, as on {first}",
                found=f"{other.python} on {platform}",
                hint="wait until the archive has built both, or lock one platform",
            )
        if base.interpreter != other.interpreter:
            raise ResolutionError(
                "the base is another one on another platform",
                expected=f"{base.interpreter}, as on {first}",
                found=f"{other.interpreter} on {platform}",
                hint="name a base that has its Python in one place on all platforms",
            )
        if replace(base, platforms=()) != replace(other, platforms=()):
            raise ResolutionError(
                "the archive changed while it was read for several platforms",
                hint="run the same command again",
            )
    if len(parts) == 1:
        return parts[first]
    owners: dict[DebianPackage, list[str]] = {}
    for platform, part in parts.items():
        for deb in part.packages:
            owners.setdefault(deb, []).append(platform)
    images = (item for part in parts.values() for item in part.base.platforms)
    return SystemResolution(
        base=replace(base, platforms=tuple(sorted(images, key=lambda item: item.platform))),
        packages=tuple(
            replace(deb, platforms=tuple(sorted(those)))
            if deb.architecture == "all" and len(those) < len(parts)
            else deb
            for deb, those in owners.items()
        ),
    )


def merge_python(parts: Mapping[str, Sequence[PythonPackage]]) -> tuple[PythonPackage, ...]:
    """One Python part of those of several platforms, each package with one wheel for each of them.

    Raises IntegrityError if one file came with two contents.
    """
    if len(parts) == 1:
        return tuple(next(iter(parts.values())))
    owners: dict[tuple[str, str], dict[str, Wheel]] = {}
    for platform, packages in parts.items():
        for item in packages:
            (wheel,) = item.wheels
            owners.setdefault((item.name, item.version), {})[platform] = wheel
    return tuple(
        PythonPackage(
            name=name,
            version=version,
            marker=None if len(wheels) == len(parts) else marker_of(wheels),
            wheels=_union(wheels.values()),
        )
        for (name, version), wheels in sorted(owners.items())
    )


def _union(wheels: Iterable[Wheel]) -> tuple[Wheel, ...]:
    found: dict[str, Wheel] = {}
    for wheel in wheels:
        known = found.setdefault(wheel.name, wheel)
        if known.hashes != wheel.hashes:
            raise IntegrityError(
                f"the index serves other bytes for {wheel.name} than it did a moment ago",
                expected=f"sha256:{known.hashes['sha256']}",
                found=f"sha256:{wheel.hashes['sha256']}",
                hint="find out why: a released wheel never changes",
            )
    return tuple(sorted(found.values(), key=lambda item: item.name))
