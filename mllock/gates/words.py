"""Results of gates as text, for a terminal: verdict, gate, subject, sentence, rows, ways out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from mllock.gates.types import Result, Row

__all__ = ["lines_of", "row_words", "ways_out"]

# So many of the rows that broke a gate are shown.
SHOWN = 3

_WAYS: Mapping[str, str] = MappingProxyType(
    {
        "leakage.rows": "remove these rows from one of the splits",
        "leakage.normalised-rows": "remove these rows from one of the splits",
        "leakage.keys": "give each key to one split alone",
        "leakage.groups": "put all rows of a group into one split",
        "leakage.time": "split by time: what is tested comes after what was trained on",
        "leakage.label": "leave the feature out of the data; if it is known before the label is, "
        "name it in [gates.leakage] ignore",
        "columns.constant": "leave the column out, or name it in [gates.columns] ignore",
        "columns.missing": "leave the column out, or name it in [gates.columns] ignore",
        "drift.label": "split again, stratified by the label",
        "drift.columns": "split again at random, or find out what changed between the two",
        "drift.missing": "find out why values are missing on one side",
    }
)


def lines_of(result: Result, *, shown: int = SHOWN) -> Iterator[str]:
    """The first line says all of it; those that follow are indented."""
    yield f"{result.verdict:<10}  {result.gate:<23}  {result.subject}: {result.summary}"
    for rows in result.broken[:shown]:
        yield "              " + " and ".join(map(row_words, rows))
    more = result.rows - min(shown, len(result.broken))
    if result.broken and more > 0:
        yield f"              and {more} more"
    if result.accepted is not None:
        yield f"              accepted until {result.accepted.until}: {result.accepted.reason}"


def row_words(row: Row) -> str:
    """`row 12 of test, part-1.csv (id = 7)`."""
    of = f"{row.source}, {row.file}" if row.file else row.source
    key = ", ".join(f"{name} = {value}" for name, value in row.key.items())
    return f"row {row.row} of {of}{f' ({key})' if key else ''}"


def ways_out(results: Iterable[Result]) -> tuple[str, ...]:
    """What to do about gates that failed or warned, one way for each kind of finding."""
    gates = [result.gate for result in results if result.verdict in ("failed", "warned")]
    return tuple(dict.fromkeys(f"{gate}: {_WAYS[gate]}" for gate in gates if gate in _WAYS))
