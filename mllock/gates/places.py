"""Where a row is: from how many rows of a table are before it to its file and position there."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from mllock.gates.tables import Batch

__all__ = ["Place", "Places", "key_text"]

# A key names a row; of what is longer than a name the beginning is told.
_LONG = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a row is, and its key as text."""

    file: str
    row: int
    key: tuple[str, ...] = ()


class Places:
    """Of one table: sees every batch, in order."""

    def __init__(self) -> None:
        self._starts: list[tuple[int, str, int]] = []
        self.rows = 0

    def add(self, batch: Batch) -> None:
        if not self._starts or self._starts[-1][1] != batch.file:
            self._starts.append((batch.offset, batch.file, batch.first))
        self.rows = batch.offset + batch.frame.height

    def at(self, offset: int, key: tuple[str, ...] = ()) -> Place:
        index = bisect_right(self._starts, offset, key=lambda start: start[0]) - 1
        start, file, first = self._starts[index]
        return Place(file=file, row=first + offset - start, key=key)


def key_text(value: object) -> str:
    """A value of a key, as it is told."""
    text = str(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}\u2026"
