"""Points in time of a split: the first and the last, and the rows that are not after a limit.

ISO 8601 dates and times (`2026-11-01`, `2026-11-01T08:00:00Z`, a space for the T, an offset), or
numbers, as seconds since an epoch or years are: one of the two in all rows of all splits. A time
without an offset is UTC; typed dates and times are times. What is missing is not compared. Any
cutting into batches gives the same. Raises DataError with the first row that is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mllock.errors import DataError
from mllock.gates.places import key_text
from mllock.gates.tables import ROWS, Batch, Table

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Moment", "Times", "TimesWatcher", "not_after"]

Kind = Literal["number", "time"]
# So many rows say whether it is worth to look for times that repeat.
_LOOK = 4096
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_ISO = f"{_DATE}({_CLOCK}(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?$"


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """`value` is a number, or microseconds since 1970 in UTC; `offset` says which row has it."""

    value: float | int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """What all rows say; no kind if none has a time. The first row counts among equal ones."""

    kind: Kind | None = None
    first: Moment | None = None
    last: Moment | None = None
    missing: int = 0
    rows: int = 0

    def merged(self, other: Times) -> Times:
        """Of both together. Raises ValueError if one has numbers and the other times."""
        if self.kind and other.kind and self.kind != other.kind:
            raise ValueError(other.kind)
        firsts = [times.first for times in (self, other) if times.first is not None]
        lasts = [times.last for times in (self, other) if times.last is not None]
        return Times(
            kind=self.kind or other.kind,
            first=min(firsts, key=lambda m: (m.value, m.offset), default=None),
            last=min(lasts, key=lambda m: (-m.value, m.offset), default=None),
            missing=self.missing + other.missing,
            rows=self.rows + other.rows,
        )


class TimesWatcher:
    """Sees the batches of one table; `times` is what they say."""

    def __init__(self, column: str, shown: str) -> None:
        self.columns = (column,)
        self.times = Times()
        self._shown = shown

    def add(self, batch: Batch) -> None:
        values, kind = _values(batch, self.columns[0], self._shown, self.times.kind)
        self.times = self.times.merged(_times(values, kind, batch.offset))


def not_after(
    table: Table,
    column: str,
    limit: float,
    shown: str,
    *,
    named: int,
    keys: Sequence[str] = (),
    rows: int = ROWS,
) -> tuple[int, list[tuple[str, int, dict[str, str]]]]:
    """How many rows are not after `limit`; file, row and key of the first of them."""
    count = 0
    first: list[tuple[str, int, dict[str, str]]] = []
    for batch in table.batches(tuple(dict.fromkeys((column, *keys))), rows=rows):
        values, _ = _values(batch, column, shown, None)
        places = (values <= limit).fill_null(value=False).arg_true()
        count += len(places)
        for place in places.head(named - len(first)).to_list():
            key = {name: key_text(batch.frame[name][place]) for name in keys}
            first.append((batch.file, batch.first + place, key))
    return count, first


def _times(values: pl.Series, kind: Kind | None, offset: int) -> Times:
    missing = values.null_count()
    if missing == len(values):
        return Times(missing=missing, rows=len(values))
    low, high = values.arg_min(), values.arg_max()
    assert low is not None
    assert high is not None
    # Of equal ones the first, whatever polars finds.
    low = (values == values[low]).arg_max() or 0
    high = (values == values[high]).arg_max() or 0
    return Times(
        kind=kind,
        first=Moment(value=values[low], offset=offset + low),
        last=Moment(value=values[high], offset=offset + high),
        missing=missing,
        rows=len(values),
    )


def _values(
    batch: Batch, column: str, shown: str, known: Kind | None
) -> tuple[pl.Series, Kind | None]:
    """Numbers: Float64 or Int64. Times: Int64, microseconds."""
    import polars as pl

    series = batch.frame[column]
    if series.null_count() == len(series):
        return pl.Series([None], dtype=pl.Int64).new_from_index(0, len(series)), None
    found = {"number": _numbers(series), "time": _moments(series)}
    # What the first row is, all have to be.
    first = series.is_not_null().arg_max() or 0
    kind: Kind | None = known
    for name, values in found.items():
        if kind is None and values is not None and values[first] is not None:
            kind = name  # type: ignore[assignment]
    if kind is None:
        raise _neither(batch, column, first, shown, None)
    values = found[kind]
    if values is None:
        raise _neither(batch, column, first, shown, kind)
    if values.null_count() > series.null_count():
        wrong = series.is_not_null() & values.is_null()
        raise _neither(batch, column, wrong.arg_max() or 0, shown, kind)
    return values, kind


def _numbers(series: pl.Series) -> pl.Series | None:
    """None for a type that has no numbers."""
    import polars as pl

    if series.dtype.is_integer():
        return series.cast(pl.Int64, strict=False)
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    elif not series.dtype.is_numeric():
        return None
    found = series.cast(pl.Float64, strict=False)
    return found.to_frame("n").select(pl.when(pl.col("n").is_finite()).then("n")).to_series()


def _moments(series: pl.Series) -> pl.Series | None:
    """None for a type that has no times."""
    import polars as pl

    if series.dtype == pl.Date:
        return series.cast(pl.Datetime("us")).to_physical()
    if isinstance(series.dtype, pl.Datetime):
        return series.dt.cast_time_unit("us").to_physical()
    if series.dtype != pl.String:
        return None
    if series.head(_LOOK).n_unique() > _LOOK // 4:
        return _iso(series)
    # Days repeat: each is read once.
    texts = series.unique().drop_nulls()
    return series.replace_strict(texts, _iso(texts), default=None, return_dtype=pl.Int64)


def _iso(series: pl.Series) -> pl.Series:
    """Microseconds since 1970, null for what is no ISO date or time."""
    import polars as pl

    text = pl.col("t")
    day = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    clock = text.str.extract(r"[T ]([0-9:.]+)")
    hours = clock.str.slice(0, 2).cast(pl.Int64, strict=False)
    minutes = clock.str.slice(3, 2).cast(pl.Int64, strict=False)
    seconds = clock.str.slice(6, 2).cast(pl.Int64, strict=False).fill_null(0)
    micros = clock.str.extract(r"\.([0-9]+)").str.pad_end(6, "0").str.slice(0, 6)
    sign = pl.when(text.str.contains(r":.*-[0-9]{2}:?[0-9]{2}$")).then(-1).otherwise(1)
    zone = text.str.extract(r":.*[+-]([0-9]{2}:?[0-9]{2})$").str.replace(":", "")
    shift = zone.str.slice(0, 2).cast(pl.Int64) * 60 + zone.str.slice(2, 2).cast(pl.Int64)
    inside = (hours < 24) & (minutes < 60) & (seconds < 61)
    of_day = (hours * 60 + minutes - (sign * shift).fill_null(0)) * 60 + seconds
    whole = of_day * 1_000_000 + micros.cast(pl.Int64).fill_null(0)
    return (
        series.alias("t")
        .to_frame()
        .select(
            pl.when(text.str.contains(_ISO) & (clock.is_null() | inside)).then(
                day.cast(pl.Datetime("us")).to_physical() + whole.fill_null(0)
            )
        )
        .to_series()
    )


def _neither(batch: Batch, column: str, place: int, shown: str, kind: Kind | None) -> DataError:
    expected = {
        None: "an ISO date or time, e.g. 2026-11-01 or 2026-11-01T08:00:00Z, or a number",
        "number": "a number, as in the rows before",
        "time": "an ISO date or time, as in the rows before",
    }[kind]
    # Never the value: whoever reads a message may not be one who may see the data.
    return DataError(
        f"row {batch.first + place}: {column!r} is no point in time that can be compared",
        file=f"{shown}/{batch.file}" if batch.file else shown,
        expected=expected,
        hint="write all of them in one way, or declare no time",
    )
