"""Pins that the archive has no more: what the previous lock has of them, as offers to the solver.

A security archive lists the newest version only; a pin moves when the spec or `--upgrade` asks, not
because a mirror moved on (ADR 0096). The .deb is found by the sha256 of the lock: in the cache, at
a mirror, in a snapshot archive. What it depends on is read from its own control file. It is trusted
as the lock is: signed indexes had it when it was locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mllock.core.ports import Reporter
from mllock.errors import GoneError, IntegrityError
from mllock.lock.debian.deb import identify, open_deb
from mllock.lock.debian.index import Available, Universe, described, stanza_fields
from mllock.lock.debian.solve import Solution
from mllock.lock.types import DebianPackage

__all__ = ["Kept", "keep", "refuse_other_bytes"]

Fetch = Callable[[Sequence[DebianPackage]], Mapping[str, Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """An index of what stays, by name. `lost` would stay, and is nowhere: name -> version."""

    packages: Mapping[str, Available]
    lost: Mapping[str, str]

    def named(self, name: str) -> list[Available]:
        return [self.packages[name]] if name in self.packages else []

    def providing(self, name: str) -> list[Available]:
        return [
            package
            for package in self.packages.values()
            if any(provided.name == name for provided in package.provides)
        ]

    def names(self) -> Iterable[str]:
        return self.packages.keys()

    def tell(self, solution: Solution, universe: Universe, reporter: Reporter) -> None:
        """Say which packages of `solution` are older or newer because of all this."""
        for package in sorted((*solution.base, *solution.system), key=lambda item: item.name):
            name, old = package.name, self.lost.get(package.name)
            if old is not None:
                reporter.warn(
                    f"{name} {old} is locked, and neither the archive, a snapshot nor the cache has"
                    f" it any more: {package.version} is taken"
                )
            elif self.packages.get(name) == package:
                newest = next((item.version for item in universe.versions(name)), None)
                by_now = f'{newest} by now: "mllock lock --upgrade {name}" takes it'
                reporter.note(
                    f"{name} {package.version} stays as it is locked; the archive has"
                    f" {by_now if newest else 'none by now'}"
                )


def keep(
    locked: Sequence[DebianPackage], pins: Mapping[str, str], universe: Universe, fetch: Fetch
) -> Kept:
    """Those of `locked` that are pinned, and that `universe` has no more."""
    found: dict[str, Available] = {}
    lost: dict[str, str] = {}
    for package in locked:
        offered = {item.version for item in universe.versions(package.name)}
        if pins.get(package.name) != package.version or package.version in offered:
            continue
        try:
            path = fetch([package])[package.filename]
        except GoneError:
            lost[package.name] = package.version
            continue
        deb = open_deb(path, package.filename)
        identify(deb, package.name, package.version, package.architecture)
        found[package.name] = replace(
            described(stanza_fields(deb.control["control"]), package.filename),
            filename=package.filename,
            size=package.size,
            sha256=package.sha256,
        )
    return Kept(packages=found, lost=lost)


def refuse_other_bytes(
    locked: Sequence[DebianPackage], pins: Mapping[str, str], solution: Solution
) -> None:
    """Raises IntegrityError if a version that stays has other bytes by now."""
    before = {package.name: package for package in locked}
    for package in (*solution.base, *solution.system):
        old = before.get(package.name)
        # What a base image has of its own comes from no archive, and has no digest.
        if old is None or pins.get(old.name) != old.version or not package.sha256:
            continue
        one, other = ((item.version, item.architecture, item.sha256) for item in (old, package))
        if one[:2] == other[:2] and one != other:
            raise IntegrityError(
                f"the archive lists other bytes for {old.name} {old.version} than those that are"
                " locked",
                expected=f"sha256:{old.sha256}",
                found=f"sha256:{package.sha256}",
                hint=f'find out why; "mllock lock --upgrade {old.name}" takes the new ones',
            )
