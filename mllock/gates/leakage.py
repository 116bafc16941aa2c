"""The gates that compare rows: of one split in another, keys, groups, and the order of time.

    leakage_results(spec, tables, gate, terms) -> results, in the order of docs/reference/gates.md

Pairs are compared in the order of the splits: what the later one shares with the earlier is the
finding. All pairs and all of these gates are answered from one reading of each table
(`mllock.gates.shared`), which watchers may look at as well. Raises DataError for a column that is
not there, a key that is missing, a time that is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mllock.errors import DataError
from mllock.gates.columns import column, columns
from mllock.gates.pairs import Pair, names_of, rows_of
from mllock.gates.said import Said
from mllock.gates.tables import Batch, Table
from mllock.gates.terms import Terms
from mllock.gates.times import TimesWatcher
from mllock.gates.types import Result
from mllock.spec.gates import splits_of
from mllock.spec.sources import here
from mllock.spec.types import LeakageGate, Spec

if TYPE_CHECKING:
    from mllock.gates.shared import Watcher

__all__ = ["leakage_results"]


def leakage_results(
    spec: Spec,
    tables: Mapping[str, Table],
    gate: LeakageGate,
    terms: Terms,
    *,
    watchers: Mapping[str, Sequence[Watcher]] | None = None,
) -> tuple[Result, ...]:
    """Every table of `tables` that is a split, or that a watcher looks at, is read."""
    from mllock.gates.shared import share

    names = [name for name in splits_of(spec) if name in tables]
    pairs = [
        Pair(
            earlier=tables[one],
            later=tables[other],
            sources=(spec.data[one], spec.data[other]),
        )
        for one, other in itertools.combinations(names, 2)
    ]
    _check_ignored(gate, [tables[name] for name in names])
    asked = [
        *((pair, "rows", rows_of(pair, gate)) for pair in pairs),
        *((pair, "key", names_of(pair, "key")) for pair in pairs),
        *((pair, "group", names_of(pair, "group")) for pair in pairs),
    ]
    questions = [question for _, _, question in asked if question is not None]
    clocks = _clocks(spec, tables, names)
    keys = {
        name: columns(tables[name], spec.data[name].key, key=f"data.{name}.key") for name in names
    }
    seeing: dict[str, list[Watcher]] = {name: list(more) for name, more in (watchers or {}).items()}
    for name in names:
        own = seeing.setdefault(name, [])
        if len(names) > 1 and keys[name]:
            own.append(_NoMissingKey(keys[name], here(spec.data[name])))
        if name in clocks:
            own.append(clocks[name])
    seen = {
        name: table
        for name, table in tables.items()
        if seeing.get(name) or (name in names and pairs)
    }
    answers = (
        dict(zip(questions, share(seen, questions, keys=keys, watchers=seeing), strict=True))
        if seen
        else {}
    )
    said = Said(terms, gate, keys)
    results: list[Result] = []
    for kind in ("rows", "normalised", "key", "group"):
        for pair, what, question in asked:
            if what == ("rows" if kind == "normalised" else kind):
                answer = None if question is None else answers[question]
                results += said.of(kind, pair, answer, question)
    results += [
        said.time(pair, clocks[pair.earlier.name].times, clocks[pair.later.name])
        for pair in pairs
        if pair.earlier.name in clocks and pair.later.name in clocks
    ]
    return tuple(results)


def _check_ignored(gate: LeakageGate, tables: Sequence[Table]) -> None:
    for index, name in enumerate(gate.ignore):
        if tables and not any(name in table.columns for table in tables):
            column(tables[0], name, key=f"gates.leakage.ignore[{index}]")


def _clocks(
    spec: Spec, tables: Mapping[str, Table], names: Sequence[str]
) -> dict[str, TimesWatcher]:
    """Of the splits that declare a time, if there are two of them."""
    found = {}
    for name in names:
        time = spec.data[name].time
        if time is not None:
            place = column(tables[name], time, key=f"data.{name}.time")
            found[name] = TimesWatcher(place, here(spec.data[name]))
    return found if len(found) > 1 else {}


class _NoMissingKey:
    """Looks at every row: a key that is missing names nothing."""

    def __init__(self, names: tuple[str, ...], shown: str) -> None:
        self.columns = names
        self._shown = shown

    def add(self, batch: Batch) -> None:
        for name in self.columns:
            series = batch.frame[name]
            if series.null_count():
                place = series.is_null().arg_max() or 0
                raise DataError(
                    f"row {batch.first + place}: the key {name!r} is missing",
                    file=f"{self._shown}/{batch.file}" if batch.file else self._shown,
                    hint="give every row a key, or declare none",
                )
