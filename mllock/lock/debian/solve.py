"""Which packages, pure: the closure of seeds and of what the spec asks, one version of each name.

Recommends are not followed. A version that the previous lock pins is kept while an index still
has it; otherwise the highest version of all pockets is taken. The walk is in a fixed order, so
equal inputs give equal answers: dependencies in the order of the package, alternatives in the
order of the field, a package already chosen before a new one, the package of a name before its
providers, providers by name.

When a choice turns out wrong (a dependency wants another version, or a chosen package conflicts),
that one version is ruled out and the walk begins again; each round rules out one more, so it ends.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mllock.errors import ResolutionError
from mllock.lock.debian.index import Available, Relation, Universe

__all__ = ["Solution", "solve"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """The chosen packages, sorted by name: of the base, and of the system layer."""

    base: tuple[Available, ...]
    system: tuple[Available, ...]


class _RuledOutError(Exception):
    """One version cannot be used; `message` and `hint` say why, if there is no other."""

    def __init__(self, available: Available, error: ResolutionError) -> None:
        super().__init__(error.message)
        self.available = available
        self.error = error


@dataclass
class _Walk:
    universe: Universe
    pins: Mapping[str, str]
    out: set[tuple[str, str]]
    left_out: Collection[str]
    chosen: dict[str, Available] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    installed: Mapping[str, Available] = field(default_factory=dict)

    def candidate(self, name: str) -> Available | None:
        """The version of `name` to use: the pinned one, else the highest that is not ruled out."""
        usable = [
            available
            for available in self.universe.versions(name)
            if (name, available.version) not in self.out
        ]
        pinned = [available for available in usable if available.version == self.pins.get(name)]
        return next(iter(pinned or usable), None)

    def close(self, names: Iterable[str]) -> None:
        """Choose `names` and all that they depend on."""
        queue = [self._choose(name) for name in names if name not in self.chosen]
        while queue:
            package = queue.pop(0)
            for group in package.depends:
                queue.extend(self._satisfy(package, group))

    def _choose(self, name: str) -> Available:
        available = self.candidate(name)
        if available is None:
            raise ResolutionError(f"no usable version of {name}")
        self.chosen[name] = available
        return available

    def _satisfy(self, package: Available, group: Sequence[Relation]) -> list[Available]:
        if any(self._meets(available, relation) for relation in group for available in self._all()):
            return []
        # What is needed only by scripts that are never run: see LEFT_OUT.
        if any(relation.name in self.left_out for relation in group):
            return []
        for relation in group:
            offers = [self.candidate(relation.name)]
            offers += [
                self.candidate(name)
                for name in dict.fromkeys(
                    available.name for available in self.universe.providers(relation.name)
                )
            ]
            for offer in offers:
                if offer is None or offer.name in self.chosen:
                    continue
                if self._meets(offer, relation):
                    self.chosen[offer.name] = offer
                    self.why[offer.name] = package.name
                    return [offer]
        raise self._unmet(package, group)

    def _unmet(self, package: Available, group: Sequence[Relation]) -> _RuledOutError:
        wanted = " | ".join(str(relation) for relation in group)
        error = ResolutionError(
            f"{package.name} {package.version} depends on {wanted}, which no archive offers",
            hint="are all pockets of the suite (updates, security) in the mirror that is set?",
        )
        for relation in group:
            there = self.installed.get(relation.name)
            if there is not None:
                error = ResolutionError(
                    f"{package.name} {package.version} depends on {wanted},"
                    f" and the base has {there.name} {there.version}",
                    hint="what a base has is not upgraded: take a newer base, or leave out"
                    f" {package.name}",
                )
                return _RuledOutError(package, error)
        # Another version of the dependency would do: rule out the one that was chosen for it.
        for relation in group:
            for other in self.universe.versions(relation.name):
                current = self.candidate(relation.name)
                usable = (other.name, other.version) not in self.out
                if usable and current and other != current and self._meets(other, relation):
                    return _RuledOutError(current, error)
        return _RuledOutError(package, error)

    def conflict(self) -> _RuledOutError | None:
        """The first chosen package that another one conflicts with or breaks."""
        for package in sorted(self.chosen.values(), key=lambda available: available.name):
            for relation in package.against:
                for other in sorted(self._all(), key=lambda available: available.name):
                    # Policy 7.4: a package does not conflict with itself or what it provides.
                    if other.name == package.name or not self._meets(other, relation):
                        continue
                    if {other.name, package.name} <= self.installed.keys():
                        continue
                    error = ResolutionError(
                        f"{package.name} {package.version} cannot be installed together with"
                        f" {other.name} {other.version} ({relation})",
                        hint="ask for only one of them in system-packages",
                    )
                    pinned = self.pins.get(other.name) == other.version
                    culprit = other if pinned or relation.op else package
                    if culprit.name in self.installed:
                        culprit = package if culprit is other else other
                    return _RuledOutError(culprit, error)
        return None

    def _all(self) -> Iterable[Available]:
        return self.chosen.values()

    def _meets(self, available: Available, relation: Relation) -> bool:
        if relation.arch not in (None, "any", self.universe.architecture):
            return False
        if available.name == relation.name:
            return relation.allows(available.version)
        for provided in available.provides:
            if provided.name != relation.name:
                continue
            # Policy 7.5: a versioned relation is met by a versioned Provides only.
            if relation.op is None or (provided.version and relation.allows(provided.version)):
                return True
        return False


def solve(
    universe: Universe,
    *,
    seeds: Sequence[str],
    asked: Sequence[str],
    pins: Mapping[str, str],
    left_out: Collection[str],
    installed: Mapping[str, Available] | None = None,
) -> Solution:
    """The base (closure of `seeds`) and the system layer (what `asked` needs beyond it).

    `installed` are packages that a base has already, by name: they stay as they are.

    Raises ResolutionError: a name does not exist, is only virtual, or cannot be satisfied.
    """
    for name in seeds:
        _exists(universe, name, "the base needs it")
    there = dict(installed or {})
    for name in asked:
        if name in there:
            continue
        _exists(universe, name, None)
    out: set[tuple[str, str]] = set()
    # A name that was asked for is not left out, whoever depends on it.
    dropped = frozenset(left_out) - frozenset(asked)
    while True:
        walk = _Walk(
            universe=universe,
            pins=pins,
            out=out,
            left_out=dropped,
            chosen=dict(there),
            installed=there,
        )
        try:
            walk.close(sorted(seeds))
            base = frozenset(walk.chosen)
            walk.close(sorted(asked))
            problem = walk.conflict()
            if problem is not None:
                raise problem
        except _RuledOutError as ruled_out:
            available = ruled_out.available
            others = [
                other
                for other in universe.versions(available.name)
                if other.version != available.version and (other.name, other.version) not in out
            ]
            if not others:
                raise ruled_out.error from None
            out.add((available.name, available.version))
            continue
        packages = [walk.chosen[name] for name in sorted(walk.chosen)]
        return Solution(
            base=tuple(package for package in packages if package.name in base),
            system=tuple(package for package in packages if package.name not in base),
        )


def _exists(universe: Universe, name: str, reason: str | None) -> None:
    if universe.versions(name):
        return
    key = None if reason else "environment.system-packages"
    providers = sorted({available.name for available in universe.providers(name)})
    if providers:
        raise ResolutionError(
            f'"{name}" is a virtual package', key=key, hint="name one of " + ", ".join(providers)
        )
    close = difflib.get_close_matches(name, sorted(universe.names()), n=1, cutoff=0.8)
    raise ResolutionError(
        f'no package "{name}" in the archive' + (f" ({reason})" if reason else ""),
        key=key,
        hint=f'did you mean "{close[0]}"?' if close else "is it in the component main?",
    )
