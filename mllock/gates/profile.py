"""A table, looked at once: what gates ask of each column, and a sample of the rows.

Values are added batch by batch, and profiles of parts are merged. Laws: any cutting into batches,
and any order of merging, give the same profile; memory does not grow with the rows. The sample is
drawn by position alone: the rows whose positions, mixed by splitmix64, are the smallest numbers.
So it is the same on every machine, says nothing of any value, and is all rows of a small table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mllock.gates.by_name import named, values
from mllock.gates.tables import Batch, Table

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = [
    "Column",
    "Profile",
    "ProfileWatcher",
    "empty",
    "is_judged",
    "missing_in",
    "mixed",
    "most_numbers",
    "numbers_of",
    "profile",
]

# Rows of a sample: what separates 100,000 rows from all is far below every limit of a gate.
SAMPLE = 100_000
# With very many columns it is fewer, so that a sample has at most about so many values.
CELLS = 16_000_000
LEAST = 5_000
# Of longer texts a sample keeps the beginning, and a digest for the rest.
LONG = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """What all rows say of a column. `value` is that of all rows so far that have one, and
    `constant` whether there is only one; `numeric`: no value is anything but a number."""

    missing: int = 0
    value: Any = None
    constant: bool = True
    numeric: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """`sample` has the columns of the table, its rows in order; `positions` are their offsets.
    `text`: as in CSV, where text may be a number."""

    text: bool
    rows: int
    size: int
    columns: Mapping[str, Column]
    positions: NDArray[np.uint64]
    sample: pl.DataFrame | None

    def plus(self, batch: Batch) -> Profile:
        """With the rows of a batch that follow, or stand anywhere else."""
        return self.merged(_of_batch(batch, self))

    def series(self, column: str) -> pl.Series:
        """A column of the sample. Raises for a profile of no rows."""
        assert self.sample is not None
        return values(self.sample, column)

    def merged(self, *others: Profile) -> Profile:
        """Of all of them together, whichever is first."""
        import numpy as np
        import polars as pl

        every = (self, *others)
        columns = dict(self.columns)
        for other in others:
            columns = {name: _both(found, other.columns[name]) for name, found in columns.items()}
        positions = np.concatenate([one.positions for one in every])
        samples = [one.sample for one in every if one.sample is not None]
        frame = pl.concat(samples, how="vertical_relaxed") if samples else None
        if frame is not None:
            order = np.argsort(positions)
            if len(order) > self.size:
                kept = np.argpartition(mixed(positions), self.size)[: self.size]
                order = kept[np.argsort(positions[kept])]
            if not np.array_equal(order, np.arange(len(positions))):
                frame, positions = frame[order], positions[order]
        return Profile(
            text=self.text,
            rows=sum(one.rows for one in every),
            size=self.size,
            columns=columns,
            positions=positions,
            sample=frame,
        )


def empty(columns: Sequence[str], *, text: bool, size: int | None = None) -> Profile:
    """Of no rows. `size` is that of the sample; default: by the number of columns."""
    import numpy as np

    if size is None:
        size = max(LEAST, min(SAMPLE, CELLS // max(1, len(columns))))
    return Profile(
        text=text,
        rows=0,
        size=size,
        columns={name: Column() for name in columns},
        positions=np.zeros(0, np.uint64),
        sample=None,
    )


def profile(table: Table) -> Profile:
    """All rows of a table. Raises DataError."""
    watcher = ProfileWatcher(table)
    for batch in table.batches():
        watcher.add(batch)
    return watcher.profile


class ProfileWatcher:
    """Makes the profile of a table that somebody else reads, batch by batch.

    Samples wait until there are many: each merging touches all that was drawn before.
    """

    def __init__(self, table: Table) -> None:
        self.columns = table.columns
        self._merged = empty(self.columns, text=table.is_text)
        self._so_far: Mapping[str, Column] = self._merged.columns
        self._waiting: list[Profile] = []
        self._drawn = 0

    def add(self, batch: Batch) -> None:
        found = _of_batch(batch, replace(self._merged, columns=self._so_far))
        self._so_far = {n: _both(one, found.columns[n]) for n, one in self._so_far.items()}
        self._waiting.append(found)
        self._drawn += len(found.positions)
        if self._drawn > self._merged.size:
            self._settle()

    @property
    def profile(self) -> Profile:
        self._settle()
        return self._merged

    def _settle(self) -> None:
        self._merged = self._merged.merged(*self._waiting)
        self._waiting = []
        self._drawn = 0


def mixed(positions: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64 (Steele, Lea and Flood 2014): each position its own number, as if by chance."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def missing_in(series: pl.Series) -> int:
    """Null and NaN."""
    count = series.null_count()
    if series.dtype.is_float():
        count += int(series.is_nan().sum())
    return count


def numbers_of(series: pl.Series, *, text: bool) -> pl.Series | None:
    """As Float64, null where missing; None if a value is no number. Points in time are numbers."""
    import polars as pl

    if series.null_count() == len(series):
        return pl.Series(series.name, [None] * len(series), dtype=pl.Float64)
    if text and series.dtype == pl.String:
        found = _some_numbers(series)
        return found.fill_nan(None) if found.null_count() == series.null_count() else None
    if series.dtype.is_temporal():
        return _microseconds(series).cast(pl.Float64)
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_nan(None)
    return None


def _microseconds(series: pl.Series) -> pl.Series:
    """Of points in time since 1970 in UTC, of durations and times of day, whatever their unit."""
    import polars as pl

    if series.dtype == pl.Duration:
        return series.dt.total_microseconds()
    if series.dtype == pl.Time:
        return series.to_physical() // 1000
    return series.dt.timestamp("us")


def _some_numbers(series: pl.Series) -> pl.Series:
    import polars as pl

    found = series.cast(pl.Float64, strict=False)
    if found.null_count() > series.null_count():
        # Some have spaces around them, or are no numbers.
        found = series.str.strip_chars().cast(pl.Float64, strict=False)
    return found


def most_numbers(series: pl.Series) -> pl.Series | None:
    """As `numbers_of`, of text too where at least half of the values are numbers: null for the
    others as well."""
    import polars as pl

    if series.dtype != pl.String:
        return numbers_of(series, text=False)
    found = _some_numbers(series)
    present = len(series) - series.null_count()
    parsed = len(found) - found.null_count()
    return found.fill_nan(None) if 2 * parsed >= present else None


def is_judged(series: pl.Series) -> bool:
    """Whether values of this type are compared: not lists, records and bytes."""
    import polars as pl

    return not series.dtype.is_nested() and series.dtype not in (pl.Binary, pl.Object)


def _of_batch(batch: Batch, so_far: Profile) -> Profile:
    """What is no longer true of the rows so far is not looked for in these."""
    import numpy as np

    frame = batch.frame
    columns = {}
    for name, before in so_far.columns.items():
        series = values(frame, name)
        columns[name] = Column(
            missing=missing_in(series),
            numeric=before.numeric and numbers_of(series, text=so_far.text) is not None,
            **_constant(series, wanted=before.constant),
        )
    positions = np.arange(batch.offset, batch.offset + frame.height, dtype=np.uint64)
    drawn = mixed(positions)
    taken = np.ones(len(positions), dtype=bool)
    if len(so_far.positions) >= so_far.size:
        taken = drawn < mixed(so_far.positions).max()
    if int(taken.sum()) > so_far.size:
        taken = drawn <= np.partition(drawn, so_far.size - 1)[so_far.size - 1]
    chosen = np.flatnonzero(taken)
    return Profile(
        text=so_far.text,
        rows=frame.height,
        size=so_far.size,
        columns=columns,
        positions=positions[chosen],
        sample=_shortened(frame[list(so_far.columns)][chosen]),
    )


def _constant(series: pl.Series, *, wanted: bool) -> dict[str, Any]:
    import polars as pl

    if not wanted or not is_judged(series):
        return {"constant": False}
    if series.dtype.is_float():
        series = series.fill_nan(None)
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    present = series.drop_nulls()
    if present.is_empty():
        return {}
    if present[0] != present[-1] or present.min() != present.max():
        return {"constant": False}
    return {"value": present[0]}


def _both(one: Column, other: Column) -> Column:
    constant = one.constant and other.constant
    if constant and one.value is not None and other.value is not None:
        constant = bool(one.value == other.value)
    value = one.value if one.value is not None else other.value
    return Column(
        missing=one.missing + other.missing,
        constant=constant,
        value=value if constant else None,
        numeric=one.numeric and other.numeric,
    )


def _shortened(frame: pl.DataFrame) -> pl.DataFrame:
    """With long texts cut: what a sample holds does not grow with them."""
    import polars as pl

    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        pl.when(named(name).str.len_bytes() > LONG)
        .then(
            pl.format(
                "{}… {}",
                named(name).str.slice(0, 40),
                named(name).map_elements(_digest, return_dtype=pl.String),
            )
        )
        .otherwise(named(name))
        for name in texts
        if (values(frame, name).str.len_bytes() > LONG).any()
    )


def _digest(value: str) -> str:
    from mllock.core.digest import sha256_of

    return sha256_of(value.encode("utf-8", "surrogatepass"))[7:39]
