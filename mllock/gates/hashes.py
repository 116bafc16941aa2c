"""Tallies of hashes: of one table, and of a second one against it.

Both are added to batch by batch and merged; any cutting and any order give the same. Eight bytes
for each row are held, and nothing of the row. What they find are candidates: rows that are the
same have the same hash, and whether others have is looked at afterwards (`mllock.gates.shared`).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Hashes", "Hits", "found_in", "rows_in"]

_NONE: NDArray[np.uint64] = np.zeros(0, np.uint64)


class Hashes:
    """The hashes of the rows of a table."""

    def __init__(self, parts: tuple[NDArray[np.uint64], ...] = ()) -> None:
        self._parts = list(parts)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        self._parts.append(hashes)

    def merged(self, other: Hashes) -> Hashes:
        return Hashes((*self._parts, *other._parts))

    @property
    def rows(self) -> int:
        return sum(map(len, self._parts))

    @cached_property
    def sorted(self) -> NDArray[np.uint64]:
        """All of them; nothing is added after this was asked for."""
        every = np.concatenate(self._parts) if self._parts else _NONE
        self._parts = [every]
        every.sort()
        return every

    @cached_property
    def unique(self) -> NDArray[np.uint64]:
        every = self.sorted
        first = np.ones(len(every), bool)
        np.not_equal(every[1:], every[:-1], out=first[1:])
        return every if first.all() else every[first]


class Hits:
    """Which hashes of a table, `unique`, another one has as well, and in how many of its rows."""

    def __init__(self, unique: NDArray[np.uint64]) -> None:
        self._unique = unique
        self._hit = np.zeros(len(unique), bool)
        self.rows = 0

    def add(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The places in `hashes` of those that are there."""
        # Sorted, a million searches go through memory in order; most batches have no hit at all.
        ordered = np.sort(hashes)
        if not found_in(ordered, self._unique).any():
            return np.zeros(0, np.int64)
        places = np.flatnonzero(found_in(hashes, self._unique))
        self._hit[np.searchsorted(self._unique, hashes[places])] = True
        self.rows += len(places)
        return places

    def merged(self, other: Hits) -> Hits:
        found = Hits(self._unique)
        found._hit = self._hit | other._hit
        found.rows = self.rows + other.rows
        return found

    @property
    def shared(self) -> NDArray[np.uint64]:
        """Sorted, each once."""
        return self._unique[self._hit]


def found_in(hashes: NDArray[np.uint64], unique: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Of each whether it is among the `unique` ones, which are sorted."""
    if not len(unique):
        return np.zeros(len(hashes), bool)
    places = np.searchsorted(unique, hashes)
    places[places == len(unique)] = 0
    there: NDArray[np.bool_] = unique[places] == hashes
    return there


def rows_in(hashes: NDArray[np.uint64], unique: NDArray[np.uint64]) -> int:
    """How many of the sorted `hashes` are among the `unique` ones."""
    left = np.searchsorted(hashes, unique, side="left")
    right = np.searchsorted(hashes, unique, side="right")
    return int((right - left).sum())
