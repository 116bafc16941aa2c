"""Gates about distributions: label, columns and missing values, of one side against another.

Profiles of both sides are compared; only labels that the training split does not have are looked
for in all rows. A difference that chance alone explains is none, and where chance would hide one,
nothing is said. Specified in docs/reference/gates.md. Raises DataError for a column of another
type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mllock.errors import DataError
from mllock.gates.by_name import values
from mllock.gates.distance import CHANCE, LEAST_ROWS, Distance, chi_square, distance
from mllock.gates.labels import as_labels
from mllock.gates.profile import Profile, is_judged, numbers_of
from mllock.gates.tables import Batch, Table
from mllock.gates.terms import Terms, quoted
from mllock.gates.types import MAX_BROKEN, Result, Row
from mllock.spec.sources import here
from mllock.spec.types import DataSource, DriftGate

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Side", "drift_of_column", "drift_of_label", "drift_of_missing"]

# More labels than this that training has not are not told one by one.
MAX_UNSEEN = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One data source, looked at."""

    name: str
    source: DataSource
    table: Table
    profile: Profile


def drift_of_label(expected: Side, found: Side, gate: DriftGate, terms: Terms) -> Result:
    """`drift.label`. What `expected` was trained on has every label that `found` has."""
    label, other = expected.source.label, found.source.label
    assert label is not None
    assert other is not None
    numeric = _numeric(expected, label, found, other)
    apart = _apart(expected, label, found, other, numeric=numeric, words=as_labels)
    holds, summary = _judged(apart, label, expected, gate)
    rows = 0
    broken: tuple[tuple[Row, ...], ...] = ()
    if expected.source.role == "train" and not numeric:
        unseen, rows, broken = _unseen(expected, label, found, other)
        if unseen:
            holds = False
            summary = (
                f"{quoted(sorted(unseen))} {'is a label' if len(unseen) == 1 else 'are labels'} "
                f"that {expected.name} does not have, of {_count(rows, 'row')}; {summary}"
            )
    return terms.result(
        "drift.label",
        f"{expected.name}, {found.name}",
        summary,
        holds=holds,
        rows=rows,
        broken=broken,
        **_facts(label, apart, gate),
    )


def drift_of_column(
    expected: Side, found: Side, column: str, gate: DriftGate, terms: Terms
) -> Result:
    """`drift.columns` of one column that both have."""
    subject = f"{expected.name}, {found.name}: {column}"
    if not all(is_judged(side.profile.series(column)) for side in (expected, found)):
        return terms.result(
            "drift.columns", subject, f'"{column}" has lists, records or bytes', holds=None
        )
    numeric = _numeric(expected, column, found, column)
    apart = _apart(expected, column, found, column, numeric=numeric, words=_booleans)
    holds, summary = _judged(apart, column, expected, gate)
    return terms.result(
        "drift.columns", subject, summary, holds=holds, **_facts(column, apart, gate)
    )


def drift_of_missing(expected: Side, found: Side, gate: DriftGate, terms: Terms) -> Result:
    """`drift.missing`, of all columns that both have."""
    n, m = expected.profile.rows, found.profile.rows
    parts = {}
    for column, one in expected.profile.columns.items():
        other = found.profile.columns.get(column)
        if other is not None:
            parts[column] = one.missing / n, other.missing / m
    far = [name for name, (p, q) in parts.items() if abs(p - q) > gate.max_missing]
    more = [name for name in far if _more_than_chance(*parts[name], n, m)]
    largest = max((abs(p - q) for p, q in parts.values()), default=0.0)
    if more:
        summary = "; ".join(
            f'"{name}" is missing in {_percent(parts[name][0])} of {expected.name}, '
            f"and in {_percent(parts[name][1])} of {found.name}"
            for name in more[:3]
        )
        if len(more) > 3:
            summary += f"; {len(more) - 3} more columns differ so"
    elif far:
        summary = f"{_rows(n, m)} are too few to tell of {quoted(far)}"
    else:
        summary = f"of no column is the part that is missing more than {gate.max_missing:g} apart"
    return terms.result(
        "drift.missing",
        f"{expected.name}, {found.name}",
        summary,
        holds=False if more else None if far else True,
        measured=round(largest, 6),
        limit=gate.max_missing,
        details={
            "columns": [
                {"name": name, "expected": round(p, 6), "found": round(q, 6)}
                for name, (p, q) in parts.items()
                if p or q
            ]
        }
        if any(p or q for p, q in parts.values())
        else None,
    )


def _numeric(expected: Side, column: str, found: Side, other: str) -> bool:
    """Whether both are numbers. Raises DataError if one of them is and the other is not. Booleans
    are, where they meet numbers."""
    sides = ((expected, column), (found, other))
    kinds = []
    booleans = 0
    for side, name in sides:
        known = side.profile.columns[name]
        if known.missing < side.profile.rows:
            kinds.append(known.numeric)
            booleans += _is_boolean(side.profile.series(name))
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        if booleans:
            return True
        (with_text, name), (with_numbers, _) = sides if kinds[1] else sides[::-1]
        raise DataError(
            f'"{name}" has text here, and numbers in {here(with_numbers.source)}',
            file=here(with_text.source),
            key=f"data.{with_text.name}",
            found=_first_text(with_text.table, name),
            hint="write the column in the same way in both",
        )
    return all(kinds)


def _first_text(table: Table, column: str) -> str | None:
    """Where the first value is that is no number; not which."""
    if not table.is_text:
        return None
    for batch in table.batches([column]):
        series = values(batch.frame, column)
        if numbers_of(series, text=True) is None:
            for index, value in enumerate(series):
                if value is not None and numbers_of(series[index : index + 1], text=True) is None:
                    of = f" of {batch.file}" if batch.file else ""
                    return f"no number in row {batch.first + index}{of}"
    return None


def _apart(
    expected: Side,
    column: str,
    found: Side,
    other: str,
    *,
    numeric: bool,
    words: Callable[[pl.Series], pl.Series],
) -> Distance:
    """`words` makes what is no number the text that it is compared by."""
    import polars as pl

    one, two = expected.profile.series(column), found.profile.series(other)
    if numeric:
        one, two = (each.cast(pl.UInt8) if _is_boolean(each) else each for each in (one, two))
    else:
        one, two = words(one), words(two)
    text = (expected.profile.text, found.profile.text)
    return distance(one, two, text=text, numeric=numeric)


def _is_boolean(series: pl.Series) -> bool:
    import polars as pl

    return series.dtype == pl.Boolean


def _booleans(series: pl.Series) -> pl.Series:
    """`True` and `TRUE` are `true`, as CSV has what is a boolean elsewhere."""
    import polars as pl

    if series.dtype != pl.String:
        return series
    return series.replace({"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"})


def _judged(
    apart: Distance, column: str, expected: Side, gate: DriftGate
) -> tuple[bool | None, str]:
    """Whether it holds, None where nobody can tell, and a sentence."""
    measures = f"PSI {apart.psi:.3g}, Jensen-Shannon distance {apart.jensen_shannon:.3g}"
    far = apart.psi > gate.max_psi or apart.jensen_shannon > gate.max_jensen_shannon
    if far and apart.psi > apart.chance:
        limits = f"{gate.max_psi:g} and {gate.max_jensen_shannon:g}"
        return False, (
            f'"{column}" is distributed otherwise than in {expected.name}: {measures}, '
            f"of at most {limits}"
        )
    n = sum(item.expected for item in apart.bins)
    m = sum(item.found for item in apart.bins)
    if math.isinf(apart.chance) and min(n, m) >= 2 * LEAST_ROWS:
        return None, f'"{column}" has no value that is frequent enough to compare'
    if math.isinf(apart.chance):
        return None, f'"{column}" has a value in {_rows(n, m)}: too few to tell'
    if apart.chance > gate.max_psi:
        return None, (
            f'{_rows(n, m)} are too few to tell whether "{column}" is distributed alike: '
            f"PSI {apart.psi:.3g}, and chance alone passes {apart.chance:.3g}"
        )
    if far:
        return True, (
            f'"{column}" differs from {expected.name} by what chance explains: {measures}, '
            f"and chance alone passes a PSI of {apart.chance:.3g}"
        )
    return True, f'"{column}" is distributed as in {expected.name}: {measures}'


def _facts(column: str, apart: Distance, gate: DriftGate) -> dict[str, Any]:
    """What is measured, against the limit that it passed, and the details."""
    by_distance = apart.psi <= gate.max_psi and apart.jensen_shannon > gate.max_jensen_shannon
    n = sum(item.expected for item in apart.bins)
    m = sum(item.found for item in apart.bins)
    details: dict[str, Any] = {
        "column": column,
        "bins": [
            {
                "name": item.name,
                "expected": round(item.expected / n, 6) if n else 0,
                "found": round(item.found / m, 6) if m else 0,
            }
            for item in apart.bins
        ],
        "psi": round(apart.psi, 6),
        "jensen-shannon": round(apart.jensen_shannon, 6),
    }
    if math.isfinite(apart.chance):
        details["chance"] = round(apart.chance, 6)
    return {
        "measured": round(apart.jensen_shannon if by_distance else apart.psi, 6),
        "limit": gate.max_jensen_shannon if by_distance else gate.max_psi,
        "details": details,
    }


def _unseen(
    expected: Side, label: str, found: Side, other: str
) -> tuple[set[str], int, tuple[tuple[Row, ...], ...]]:
    """Labels of `found` that no row of `expected` has, the rows that have them, and the first."""
    unseen = _values(found, other)
    if unseen is None:
        return set(), 0, ()
    for batch in _batches(expected, [label]):
        unseen -= set(_texts(batch, label).unique())
        if not unseen:
            return set(), 0, ()
    rows = 0
    broken: list[tuple[Row, ...]] = []
    for batch in found.table.batches(list(dict.fromkeys((other, *found.source.key)))):
        places = _texts(batch, other).is_in(sorted(unseen)).arg_true()
        rows += len(places)
        broken += [(_row(found, batch, place),) for place in places[: MAX_BROKEN - len(broken)]]
    return unseen, rows, tuple(broken)


def _values(side: Side, column: str) -> set[str] | None:
    """All values; None for more than can be told one by one."""
    values: set[str] = set()
    for batch in _batches(side, [column]):
        values |= set(_texts(batch, column).unique().drop_nulls())
        if len(values) > MAX_UNSEEN:
            return None
    return values


def _batches(side: Side, columns: list[str]) -> Iterator[Batch]:
    """The rows of the sample, if these are all; else all rows."""
    profile = side.profile
    if profile.sample is not None and len(profile.positions) == profile.rows:
        yield Batch(file="", first=1, offset=0, frame=profile.sample[columns])
    else:
        yield from side.table.batches(columns)


def _texts(batch: Batch, column: str) -> pl.Series:
    return as_labels(values(batch.frame, column))


def _row(side: Side, batch: Batch, place: int) -> Row:
    return Row(
        source=side.name,
        file=batch.file,
        row=batch.first + place,
        key={name: str(batch.frame[name][place]) for name in side.source.key},
    )


def _more_than_chance(p: float, q: float, n: int, m: int) -> bool:
    """The two-sided test of two parts, at one in a thousand."""
    pooled = (p * n + q * m) / (n + m)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return abs(p - q) > math.sqrt(chi_square(CHANCE, 1)) * deviation


def _percent(part: float) -> str:
    return f"{100 * part:.3g}%"


def _rows(expected: int, found: int) -> str:
    return f"{expected} and {_count(found, 'row')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
