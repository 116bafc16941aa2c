"""Resolving for several platforms so that they agree: one version of a package wherever one has
wheels for all of them. Pure; the resolver is handed in.

Order: the first platform by its own pins; each other one by what the platforms before it got, and
by its own pin where that was another version already. If one of them could not follow, the first
is asked once more with its version as the wish, unless that would move a pin which nobody asked to
move. What differs after that differs in the lock, and is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mllock.lock.ports import Upgrade
from mllock.lock.target import Target
from mllock.lock.types import PythonPackage

__all__ = ["Wishes", "different_versions", "resolve_together"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """Which versions would be liked for one platform."""

    pins: Mapping[str, str]
    upgrade: Upgrade


Resolve = Callable[[Target, Wishes], tuple[PythonPackage, ...]]


def resolve_together(
    targets: Sequence[Target],
    pins: Mapping[str, Mapping[str, str]],
    upgrade: Upgrade,
    resolve: Resolve,
) -> dict[str, tuple[PythonPackage, ...]]:
    """The packages of each platform; `pins` are those of the previous lock, by platform."""
    first, *others = targets
    found = {first.platform: resolve(first, Wishes(pins=pins[first.platform], upgrade=upgrade))}
    kept = {} if upgrade.all else pins[first.platform]
    for target in others:
        found[target.platform] = resolve(target, _following(target, found, pins, upgrade))
    before = _versions(found[first.platform])
    moved = {
        name: version
        for target in others
        for name, version in _versions(found[target.platform]).items()
        if before.get(name, version) != version
        and (kept.get(name) != before[name] or name in upgrade.names)
    }
    if moved:
        again = resolve(first, Wishes(pins=before | moved, upgrade=Upgrade()))
        after = _versions(again)
        # Following is of no use where it ends in another difference.
        if all(after.get(name) == version for name, version in moved.items()):
            found[first.platform] = again
            for target in others:
                wishes = _following(target, {first.platform: again}, pins, upgrade)
                found[target.platform] = resolve(target, wishes)
    return found


def _following(
    target: Target,
    found: Mapping[str, Sequence[PythonPackage]],
    pins: Mapping[str, Mapping[str, str]],
    upgrade: Upgrade,
) -> Wishes:
    leader = next(iter(found))
    own = {} if upgrade.all else pins[target.platform]
    wishes = {name: version for name, version in own.items() if name not in upgrade.names}
    for packages in found.values():
        for name, version in _versions(packages).items():
            differed = name in wishes and wishes[name] != pins[leader].get(name, wishes[name])
            if not differed:
                wishes[name] = version
    return Wishes(pins=wishes, upgrade=Upgrade())


def _versions(packages: Sequence[PythonPackage]) -> dict[str, str]:
    return {item.name: item.version for item in packages}


def different_versions(found: Mapping[str, Sequence[PythonPackage]]) -> Iterator[str]:
    """A line for each package that is not of one version on all platforms that have it."""
    versions: dict[str, dict[str, str]] = {}
    for platform, packages in found.items():
        for name, version in _versions(packages).items():
            versions.setdefault(name, {})[platform] = version
    for name, by_platform in sorted(versions.items()):
        if len(set(by_platform.values())) > 1:
            each = ", ".join(f"{v} on {platform}" for platform, v in by_platform.items())
            yield f"{name} is not of one version on all platforms: {each}"
