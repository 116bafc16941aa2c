"""Rows whose hash another table has, kept to be compared by value: each different one once.

At most about LIMIT bytes. If there are more, those with the smallest hashes are kept: which these
are depends on the rows alone, so that any cutting into batches and any order of merging keep the
same ones. `bound` is the largest hash that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from mllock.gates.by_name import named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ALL", "LIMIT", "Candidates"]

LIMIT = 64 * 1024 * 1024
ALL = 2**64 - 1
# What a row costs besides its text.
_ROW, _VALUE = 64, 16


class Candidates:
    """`frame` has `hash`, `offset` (of the first such row), `rows` (how many there are), and the
    columns `names`, as they are in the table, under `v0`, `v1`, ...; `compared` of them, the first
    ones, make rows different."""

    def __init__(self, names: Sequence[str], compared: int, *, limit: int = LIMIT) -> None:
        self.names = tuple(names)
        self._compared = compared
        self._limit = limit
        self._waiting: list[pl.DataFrame] = []
        self._weight = 0
        self._frame: pl.DataFrame | None = None
        self._bound = ALL

    @property
    def bound(self) -> int:
        self._settle()
        return self._bound

    @property
    def frame(self) -> pl.DataFrame | None:
        """In the order of offsets; None if there is no row."""
        self._settle()
        return self._frame

    def add(
        self, rows: pl.DataFrame, hashes: NDArray[np.uint64], offsets: NDArray[np.uint64]
    ) -> None:
        """Some rows of the table, with at least its columns `names`."""
        frame = (
            rows.select(named(name).alias(f"v{place}") for place, name in enumerate(self.names))
            .with_columns(
                pl.Series("hash", hashes),
                pl.Series("offset", offsets),
                pl.lit(1, pl.UInt64).alias("rows"),
            )
            .select("hash", "offset", "rows", *(f"v{place}" for place in range(len(self.names))))
        )
        self._add(frame.filter(pl.col("hash") <= pl.lit(self._bound, pl.UInt64)))

    def merged(self, other: Candidates) -> Candidates:
        found = Candidates(self.names, self._compared, limit=self._limit)
        found._bound = min(self.bound, other.bound)
        for frame in (self.frame, other.frame):
            if frame is not None:
                found._add(frame.filter(pl.col("hash") <= pl.lit(found._bound, pl.UInt64)))
        return found

    def _add(self, frame: pl.DataFrame) -> None:
        if frame.height:
            self._waiting.append(frame)
            self._weight += _weight(frame)
            if self._weight > self._limit // 4:
                self._settle()

    def _settle(self) -> None:
        if not self._waiting:
            return
        every = [*([] if self._frame is None else [self._frame]), *self._waiting]
        self._waiting = []
        self._weight = 0
        values = [f"v{place}" for place in range(len(self.names))]
        same = ["hash", *values[: self._compared]]
        frame = (
            pl.concat(every, how="vertical_relaxed")
            .sort("offset")
            .group_by(same, maintain_order=True)
            .agg(pl.first("offset", *values[self._compared :]), pl.sum("rows"))
            .select("hash", "offset", "rows", *values)
        )
        while _weight(frame) > self._limit and self._bound:
            self._bound //= 2
            frame = frame.filter(pl.col("hash") <= pl.lit(self._bound, pl.UInt64))
        self._frame = frame if frame.height else None


def _weight(frame: pl.DataFrame) -> int:
    """By what the rows hold, never by how it lies in memory."""
    sizes = [
        named(name).str.len_bytes().sum() if kind == pl.String else named(name).bin.size().sum()
        for name, kind in frame.schema.items()
        if kind in (pl.String, pl.Binary)
    ]
    texts = (
        sum(frame.select(size.alias(str(n)) for n, size in enumerate(sizes)).row(0)) if sizes else 0
    )
    return int(texts) + frame.height * (_ROW + _VALUE * frame.width)
