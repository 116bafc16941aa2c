"""Which Python packages share a layer. Pure and sticky.

A wheel of `LARGE` bytes or more is alone, the small ones are together, and a package stays where
the previous lock had it, and layers stay in their order, what is new above them: so one update, or
one package more, moves one layer, and the others are found in caches, registries and engines as
they are. Only a smaller budget moves packages that did not change.

Law: `assign(p, budget, assign(p, budget, before)) == assign(p, budget, before)`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mllock.lock.types import LayerGroup, PythonPackage

__all__ = ["LARGE", "assign", "python_budget"]

LARGE = 1024 * 1024
# base, system, code, model, record, and one for the bytecode of the standard library.
_OTHER_LAYERS = 6


def python_budget(layers: int, *, bytecode: bool = False) -> int:
    """How many of `[builder] layers` Python packages may have; each has one of bytecode above."""
    own = layers - _OTHER_LAYERS
    return max(1, own // 2 if bytecode else own)


def assign(
    packages: Sequence[PythonPackage], budget: int, previous: Sequence[LayerGroup] = ()
) -> tuple[LayerGroup, ...]:
    """Every package in one group, at most `budget` groups: those of before in their order, then new
    ones by their first names."""
    sizes: dict[str, int] = {}
    for item in packages:  # of several platforms, the largest wheel decides
        largest = max(wheel.size for wheel in item.wheels)
        sizes[item.name] = max(largest, sizes.get(item.name, 0))
    groups = [kept for group in previous if (kept := set(group.packages) & sizes.keys())]
    before = len(groups)
    placed = {name for group in groups for name in group}
    small: set[str] = set()
    for name in sorted(sizes.keys() - placed, key=lambda item: (-sizes[item], item)):
        if sizes[name] >= LARGE:
            groups.append({name})
        else:
            small.add(name)
    if small:
        together = max(
            (group for group in groups if _is_of_small(group, sizes)),
            key=lambda group: (len(group), sorted(group)),
            default=None,
        )
        if together is None:
            groups.append(small)
        else:
            together |= small
    groups[before:] = sorted(groups[before:], key=sorted)
    while len(groups) > budget:
        # The two smallest, so that the fewest bytes move; the lower place is theirs.
        order = sorted(
            range(len(groups)),
            key=lambda at: (sum(sizes[name] for name in groups[at]), sorted(groups[at])),
        )
        lower, upper = sorted(order[:2])
        groups[lower] |= groups.pop(upper)
    return tuple(LayerGroup(packages=tuple(sorted(group))) for group in groups)


def _is_of_small(group: set[str], sizes: dict[str, int]) -> bool:
    return len(group) > 1 or all(sizes[name] < LARGE for name in group)
