"""The search for when one choice after the other leads nowhere: over versions and alternatives.

`mllock.lock.debian.solve` rules out one version for good whenever it meets a conflict, which is
quick, almost always enough, and may rule out what another choice would have needed. Here choices
are taken back instead, the last one first, in the order of preference: what is pinned, alternatives
as they are written, the highest version. So the first answer is the nearest to what the quick walk
wanted; none means that there is none. Several providers of a virtual package stay the user's
choice. Pure, in a fixed order, with a bound on the steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mllock.lock.debian.index import Available, Relation, Universe

__all__ = ["MAX_STEPS", "Search"]

MAX_STEPS = 20_000

# Who wants it ("" for the base and the spec), and the alternatives.
_Goal = tuple[str, Sequence[Relation]]


@dataclass(slots=True)
class _Choice:
    """A goal for which something was chosen, and how far everything was then."""

    goal: int
    options: Iterator[Available]
    taken: int
    goals: int
    open: int


@dataclass(slots=True)
class Search:
    """`run` fills `chosen` and `why`."""

    universe: Universe
    pins: Mapping[str, str]
    left_out: Collection[str]
    installed: Mapping[str, Available]
    chosen: dict[str, Available] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    _there: dict[str, list[Available]] = field(default_factory=dict)
    _taken: list[Available] = field(default_factory=list)
    _goals: list[_Goal] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)
    _providers: dict[str, list[str]] = field(default_factory=dict)

    def run(self, names: Sequence[str]) -> bool | None:
        """Whether all `names` can be had together; None if too many steps do not tell."""
        for package in self.installed.values():
            self._take(package, "")
        before = len(self._taken)
        self._goals = [("", (Relation(name),)) for name in names]
        choices: list[_Choice] = []
        at = 0
        for _ in range(MAX_STEPS):
            if at == len(self._goals):
                if all(self._met(self._goals[goal][1]) for goal in self._open):
                    return True
                at = self._back(choices)
            elif self._nothing_to_do(*self._goals[at]):
                at += 1
            else:
                options = self._options(self._goals[at][1])
                if options is None:  # the user's choice, unless something else brings one
                    self._open.append(at)
                    at += 1
                    continue
                choices.append(
                    _Choice(
                        goal=at,
                        options=iter(options),
                        taken=len(self._taken),
                        goals=len(self._goals),
                        open=len(self._open),
                    )
                )
                at = self._back(choices)
            if at < 0:
                self._undo(before)
                return False
        return None

    def needed(self, names: Sequence[str]) -> set[str]:
        """The names among `chosen` that `names` need."""
        needed: set[str] = set()
        waiting = [name for name in names if name in self.chosen]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                for relation in itertools.chain.from_iterable(self.chosen[name].depends):
                    there = self._there.get(relation.name, ())
                    met = (one for one in there if self.universe.meets(one, relation))
                    waiting += [one.name for one in met]
        return needed

    def _back(self, choices: list[_Choice]) -> int:
        """Take the next option of the last choice that has one; the goal to go on with, or -1."""
        while choices:
            last = choices[-1]
            self._undo(last.taken)
            del self._goals[last.goals :], self._open[last.open :]
            wanted = self._goals[last.goal][0]
            for option in last.options:
                if not self._in_conflict(option):
                    self._take(option, wanted)
                    self._goals += [(option.name, group) for group in option.depends]
                    return last.goal + 1
            choices.pop()
        return -1

    def _take(self, package: Available, wanted: str) -> None:
        self._taken.append(package)
        self.chosen[package.name] = package
        if wanted:
            self.why[package.name] = wanted
        for name in {package.name, *(provided.name for provided in package.provides)}:
            self._there.setdefault(name, []).append(package)

    def _undo(self, taken: int) -> None:
        while len(self._taken) > taken:
            package = self._taken.pop()
            del self.chosen[package.name]
            self.why.pop(package.name, None)
            for name in {package.name, *(provided.name for provided in package.provides)}:
                self._there[name].pop()

    def _nothing_to_do(self, wanted: str, group: Sequence[Relation]) -> bool:
        # Whoever asked for a name itself gets it, and not what provides it.
        if not wanted:
            return group[0].name in self.chosen
        return self._met(group) or any(relation.name in self.left_out for relation in group)

    def _met(self, group: Sequence[Relation]) -> bool:
        return any(
            self.universe.meets(there, relation)
            for relation in group
            for there in self._there.get(relation.name, ())
        )

    def _options(self, group: Sequence[Relation]) -> list[Available] | None:
        """What would meet the group, the best first; None if that is the user's choice."""
        found: list[Available] = []
        ambiguous = False
        for relation in group:
            names = self._names(relation)
            pinned = [name for name in names if name in self.pins]
            named = [other.name for other in group if other.name in names]
            if len(names) > 1:
                ambiguous = ambiguous or not (len(pinned) == 1 or named)
                names = pinned if len(pinned) == 1 else named[:1]
            for name in names:
                found += self._versions(name, relation)
        if not found and ambiguous:
            return None
        return sorted(found, key=lambda one: self.pins.get(one.name) != one.version)

    def _names(self, relation: Relation) -> list[str]:
        """The package of that name, if it would do; else those that provide it."""
        if self._versions(relation.name, relation):
            return [relation.name]
        if relation.name not in self._providers:
            offers = self.universe.providers(relation.name)
            self._providers[relation.name] = list(dict.fromkeys(offer.name for offer in offers))
        names = self._providers[relation.name]
        return [name for name in names if self._versions(name, relation)]

    def _versions(self, name: str, relation: Relation) -> list[Available]:
        if name in self.chosen:
            return []
        offers = self.universe.versions(name)
        return [offer for offer in offers if self.universe.meets(offer, relation)]

    def _in_conflict(self, package: Available) -> bool:
        """With what is chosen; a package does not conflict with what it provides (Policy 7.4)."""
        for relation in package.against:
            for other in self._there.get(relation.name, ()):
                if other.name != package.name and self.universe.meets(other, relation):
                    return True
        return any(
            self.universe.meets(package, relation)
            for other in self.chosen.values()
            for relation in other.against
        )
