"""Which packages, pure: the closure of seeds and of what the spec asks, one version of each name.

Recommends are not followed. A version that the previous lock pins is kept while there is an offer
of it; otherwise the highest version of all pockets is taken. The walk is in a fixed order, so equal
inputs give equal answers: dependencies in the order of the package; of alternatives one that is
chosen already, else one that is pinned, else the first; the package of a name before the one that
provides it. Of several that provide it, one that is pinned, else one that another alternative
names; else it is the user's choice: if none of them is chosen when all else is, that is an error
with their names (ADR 0095).

When a choice turns out wrong (a dependency wants another version, or a chosen package conflicts),
that one version is ruled out and the walk begins again; each round rules out one more, so it ends.
If nothing is left of what was asked for, choices are taken back one by one, with a bound
(`mllock.lock.debian.search`); if that finds nothing either, the first reason is the error.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mllock.errors import ResolutionError
from mllock.lock.debian.index import Available, Relation, Universe
from mllock.lock.debian.search import Search

__all__ = ["Solution", "solve"]

ASKED = "environment.system-packages"


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """The chosen packages, sorted by name: of the base, and of the system layer. `why` has for each
    that was not asked for the one that it was first chosen for."""

    base: tuple[Available, ...]
    system: tuple[Available, ...]
    why: Mapping[str, str]

    def chain(self, name: str) -> tuple[str, ...]:
        """From what was asked for to `name`."""
        return _chain(self.why, name)


class _AmbiguousError(ResolutionError):
    """Several packages would do, and the user says which."""


class _RuledOutError(Exception):
    """One version cannot be used; `message` and `hint` say why, if there is no other."""

    def __init__(self, available: Available, error: ResolutionError) -> None:
        super().__init__(error.message)
        self.available = available
        self.error = error


# A relation group that more than one package could meet, and whose it is.
_Open = tuple[Available, Sequence[Relation], tuple[str, ...]]
_SHOWN = 12


@dataclass
class _Walk:
    universe: Universe
    pins: Mapping[str, str]
    out: Mapping[tuple[str, str], ResolutionError]
    roots: frozenset[str]
    asked: frozenset[str]
    left_out: Collection[str]
    chosen: dict[str, Available] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    installed: Mapping[str, Available] = field(default_factory=dict)
    open: list[_Open] = field(default_factory=list)
    soft: set[str] = field(default_factory=set)
    # What is chosen, by its name and by the names that it provides.
    there: dict[str, list[Available]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for available in tuple(self.chosen.values()):
            self._take(available)

    def _take(self, available: Available) -> None:
        self.chosen[available.name] = available
        for name in {available.name, *(provided.name for provided in available.provides)}:
            self.there.setdefault(name, []).append(available)

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
        for package, wanted, providers in self.open:
            if not self._met(wanted):
                raise self._ambiguous(package, wanted, providers)
        self.open.clear()

    def _choose(self, name: str) -> Available:
        available = self.candidate(name)
        if available is None:
            raise next(error for (other, _), error in self.out.items() if other == name)
        self._take(available)
        return available

    def _met(self, group: Sequence[Relation]) -> bool:
        return any(
            self.universe.meets(there, relation)
            for relation in group
            for there in self.there.get(relation.name, ())
        )

    def _satisfy(self, package: Available, group: Sequence[Relation]) -> list[Available]:
        # What is needed only by scripts that are never run: see LEFT_OUT.
        if self._met(group) or any(relation.name in self.left_out for relation in group):
            return []
        for relation in self._in_order(group):
            offers = self._offers(relation)
            pinned = self._pinned(offers)
            if len(pinned) == 1:
                offers = pinned
            if len(offers) > 1:
                names = tuple(offer.name for offer in offers)
                # "virtual | real": the maintainer says which one, if nobody else does.
                named = [other.name for other in group if other.name in names]
                if not named:
                    self.open.append((package, group, names))
                    return []
                offers = [offer for offer in offers if offer.name == named[0]]
            for offer in offers:
                self._take(offer)
                self.why[offer.name] = package.name
                if len(group) > 1:
                    self.soft.add(offer.name)
                return [offer]
        raise self._unmet(package, group)

    def _in_order(self, group: Sequence[Relation]) -> Sequence[Relation]:
        """Alternatives as they are written, but for one that the previous lock has."""
        if len(group) == 1 or not self.pins:
            return group

        return sorted(group, key=lambda one: len(self._pinned(self._offers(one))) != 1)

    def _pinned(self, offers: Iterable[Available]) -> list[Available]:
        return [offer for offer in offers if self.pins.get(offer.name) == offer.version]

    def _offers(self, relation: Relation) -> list[Available]:
        """What could be chosen for `relation`: the package of this name, else its providers."""
        real = self._offer(relation.name, relation)
        if real is not None:
            return [real]
        names = dict.fromkeys(item.name for item in self.universe.providers(relation.name))
        found = [self._offer(name, relation) for name in names if name != relation.name]
        return [offer for offer in found if offer is not None]

    def _offer(self, name: str, relation: Relation) -> Available | None:
        offer = None if name in self.chosen else self.candidate(name)
        return offer if offer is not None and self.universe.meets(offer, relation) else None

    def _shown(self, package: Available) -> str:
        """The package, and who wanted it: "b 1 (asked -> a -> b)"."""
        names = _chain(self.why, package.name)
        chain = f" ({' -> '.join(names)})" if len(names) > 1 else ""
        return f"{package.name} {package.version}{chain}"

    def _key(self, package: Available) -> str | None:
        """The key of the spec that is to blame for `package`; None if the base needs it."""
        return ASKED if _chain(self.why, package.name)[0] in self.asked else None

    def _ambiguous(
        self, package: Available, group: Sequence[Relation], providers: tuple[str, ...]
    ) -> ResolutionError:
        wanted = " | ".join(str(relation) for relation in group)
        return _AmbiguousError(
            f"{self._shown(package)} depends on {wanted}, which {len(providers)} packages provide",
            key=self._key(package),
            expected=f"one of {_listed(providers)}",
            hint="add the one that you want to system-packages",
        )

    def _unmet(self, package: Available, group: Sequence[Relation]) -> _RuledOutError:
        wanted = " | ".join(str(relation) for relation in group)
        error = ResolutionError(
            f"{self._shown(package)} depends on {wanted}, which no archive offers",
            key=self._key(package),
            hint=self._why_not(group),
        )
        for relation in group:
            there = self.installed.get(relation.name)
            if there is not None:
                error = ResolutionError(
                    f"{self._shown(package)} depends on {wanted},"
                    f" and the base has {there.name} {there.version}",
                    key=self._key(package),
                    hint="what a base has is not upgraded: take a newer base, or leave out"
                    f" {package.name}",
                )
                return _RuledOutError(package, error)
        # Another version of the dependency would do: rule out the one that was chosen for it.
        for relation in group:
            for other in self.universe.versions(relation.name):
                current = self.candidate(relation.name)
                usable = (other.name, other.version) not in self.out
                if usable and current and other != current and self.universe.meets(other, relation):
                    return _RuledOutError(current, error)
        return _RuledOutError(package, self._cause(group) or error)

    def _why_not(self, group: Sequence[Relation]) -> str:
        native = self.universe.architecture
        for relation in group:
            if relation.arch == "any":
                if self.universe.versions(relation.name):
                    return f"{relation.name} is not Multi-Arch: allowed, which :any asks for"
            elif relation.arch not in (None, native):
                return f"an image has packages of one architecture, here {native}"
        return "are all pockets of the suite (updates, security) in the mirror that is set?"

    def _cause(self, group: Sequence[Relation]) -> ResolutionError | None:
        """Why what would meet `group` was ruled out, if something was."""
        for relation in group:
            offers = (
                *self.universe.versions(relation.name),
                *self.universe.providers(relation.name),
            )
            for offer in offers:
                cause = self.out.get((offer.name, offer.version))
                if cause is not None and self.universe.meets(offer, relation):
                    return cause
        return None

    def conflict(self) -> _RuledOutError | None:
        """The first chosen package that another one conflicts with or breaks."""
        for package in sorted(self.chosen.values(), key=lambda available: available.name):
            for relation in package.against:
                others = self.there.get(relation.name, ())
                for other in sorted(others, key=lambda available: available.name):
                    # Policy 7.4: a package does not conflict with itself or what it provides.
                    if other.name == package.name or not self.universe.meets(other, relation):
                        continue
                    if {other.name, package.name} <= self.installed.keys():
                        continue
                    error = ResolutionError(
                        f"{self._shown(package)} cannot be installed together with"
                        f" {self._shown(other)}",
                        key=self._key(package) or self._key(other),
                        found=f"Conflicts or Breaks of {package.name}: {relation}",
                        hint="ask for only one of them in system-packages",
                    )
                    return _RuledOutError(self._culprit(package, other, relation), error)
        return None

    def _culprit(self, package: Available, other: Available, relation: Relation) -> Available:
        """Which of two that do not go together to do without: one that has another version which
        would do; else not what a base has, rather not what was asked for, rather one that was the
        first of several alternatives; else the one that has something against the other."""

        def rank(one: Available) -> int:
            if one.name in self.installed:
                return 3
            return 2 if one.name in self.roots else int(one.name not in self.soft)

        others = [
            item
            for item in self.universe.versions(other.name)
            if (item.name, item.version) not in self.out and not self.universe.meets(item, relation)
        ]
        if others and other.name not in self.installed:
            return other
        return min(package, other, key=rank)


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
    out: dict[tuple[str, str], ResolutionError] = {}
    # A name that was asked for is not left out, whoever depends on it.
    dropped = frozenset(left_out) - frozenset(asked)
    search = Search(universe=universe, pins=pins, left_out=dropped, installed=there)
    while True:
        walk = _Walk(
            universe=universe,
            pins=pins,
            out=out,
            roots=frozenset((*seeds, *asked)),
            asked=frozenset(asked) - frozenset(seeds),
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
            key = (ruled_out.available.name, ruled_out.available.version)
            if key in out:  # what a base has cannot be ruled out
                return _searched(search, seeds, asked, ruled_out.error)
            out[key] = ruled_out.error
            continue
        except _AmbiguousError:
            raise
        except ResolutionError as error:
            return _searched(search, seeds, asked, error)
        return _solution(walk.chosen, base, walk.why)


def _solution(
    chosen: Mapping[str, Available], base: Collection[str], why: Mapping[str, str]
) -> Solution:
    packages = [chosen[name] for name in sorted(chosen)]
    return Solution(
        base=tuple(package for package in packages if package.name in base),
        system=tuple(package for package in packages if package.name not in base),
        why=why,
    )


def _searched(
    search: Search, seeds: Sequence[str], asked: Sequence[str], error: ResolutionError
) -> Solution:
    """Where the walk ended with `error`, which is raised if there is no other way."""
    found = search.run((*sorted(seeds), *sorted(asked)))
    if found:
        base = {*search.installed, *search.needed(seeds)}
        return _solution(search.chosen, base, search.why)
    if found is None:
        more = "there are too many alternatives to try them all: name those that you want in"
        error.hint = f"{error.hint}; {more} system-packages" if error.hint else f"{more} it"
    raise error from None


def _chain(why: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = [name]
    while names[0] in why:
        names.insert(0, why[names[0]])
    return tuple(names)


def _exists(universe: Universe, name: str, reason: str | None) -> None:
    if universe.versions(name):
        return
    key = None if reason else ASKED
    providers = sorted({available.name for available in universe.providers(name)})
    if providers:
        raise ResolutionError(
            f'"{name}" is a virtual package', key=key, hint=f"name one of {_listed(providers)}"
        )
    near = " or ".join(f'"{close}"' for close in _near(universe, name))
    raise ResolutionError(
        f'no package "{name}" in the archive' + (f" ({reason})" if reason else ""),
        key=key,
        hint=f"did you mean {near}?" if near else "is it in the component main?",
    )


def _near(universe: Universe, name: str) -> list[str]:
    # Names that begin otherwise are not near, and there are 60,000 names.
    names = [other for other in universe.names() if other[:2] == name[:2]]
    return difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.8)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
