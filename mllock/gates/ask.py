"""The data gates, asked: of what [gates] declares, and of what it could declare.

    ask(spec, open_table, day) -> Answers

Each source is opened and looked at once, whatever is asked about it. What is declared has to be
answered: a source that cannot be read raises. What is not declared advises, as far as it goes: a
source that cannot be read is not looked at, and said so. Order of results: as in
docs/reference/gates.md. Raises DataError and SpecError.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from mllock.errors import DataError
from mllock.gates.data_gates import (
    FAMILIES,
    Family,
    check_columns,
    column_results,
    drift_results,
    label_results,
    profiled,
    sources_of,
)
from mllock.gates.drift import Side
from mllock.gates.leakage import leakage_results
from mllock.gates.profile import Profile, ProfileWatcher, profile
from mllock.gates.tables import Table
from mllock.gates.terms import Terms
from mllock.gates.types import Result
from mllock.spec.types import Accepted, ColumnsGate, DriftGate, Gates, LeakageGate, Spec

__all__ = ["Answers", "Unread", "ask"]

Open = Callable[[str], Table]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """Gates of a family that nobody declared, and that could not be asked."""

    family: Family
    error: DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """`declared` are enforced, `advice` stops nothing. `sources` are those that were read."""

    declared: tuple[Result, ...]
    advice: tuple[Result, ...]
    unread: tuple[Unread, ...]
    sources: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class _Looked:
    """Sources as they are needed: opened once, and looked at once."""

    spec: Spec
    open: Open
    tables: dict[str, Table] = field(default_factory=dict)
    sides: dict[str, Side] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        if name not in self.tables:
            try:
                table = self.open(name)
            except DataError as error:
                # Weights to begin with are data as well, and no split.
                error.hint = error.hint or (
                    "if it is no split, name those that are: [gates.leakage] "
                    'between = ["train", "test"]'
                )
                raise
            check_columns(table, self.spec.data[name])
            self.tables[name] = table
        return self.tables[name]

    def side(self, name: str) -> Side:
        if name not in self.sides:
            self.keep(name, profile(self.table(name)))
        return self.sides[name]

    def keep(self, name: str, looked: Profile) -> None:
        source = self.spec.data[name]
        self.sides[name] = Side(name=name, source=source, table=self.table(name), profile=looked)


def ask(spec: Spec, open_table: Open, day: dt.date, *, advise: bool = False) -> Answers:
    """`open_table` gives the table of a source by its name; `day` decides about exceptions."""
    gates = spec.gates or Gates()
    looked = _Looked(spec=spec, open=open_table)
    declared: list[Result] = []
    advice: list[Result] = []
    unread: list[Unread] = []
    asked = [family for family in FAMILIES if advise or getattr(gates, family) is not None]
    # While rows are compared, what other gates want to know is looked at as well.
    wanted = {name for family in asked for name in profiled(spec, family)}
    for family in asked:
        gate = getattr(gates, family)
        if gate is not None:
            declared += _family(family, gate, looked, gates.accept, day, wanted, declared=True)
            continue
        gate = {"leakage": LeakageGate, "columns": ColumnsGate, "drift": DriftGate}[family](
            severity="warn"
        )
        try:
            advice += _family(family, gate, looked, gates.accept, day, wanted, declared=False)
        except DataError as error:
            unread.append(Unread(family=family, error=error))
    if unread and not declared and not advice:
        raise unread[0].error
    return Answers(
        declared=tuple(declared),
        advice=tuple(advice),
        unread=tuple(unread),
        sources=tuple(looked.tables),
    )


def _family(
    family: Family,
    gate: LeakageGate | ColumnsGate | DriftGate,
    looked: _Looked,
    accept: tuple[Accepted, ...],
    day: dt.date,
    wanted: Collection[str],
    *,
    declared: bool,
) -> list[Result]:
    spec = looked.spec
    tables = {name: looked.table(name) for name in sources_of(spec, family)}
    terms = Terms(severity=gate.severity, accept=accept, day=day)
    results: list[Result] = []
    if isinstance(gate, LeakageGate):
        watchers = {name: ProfileWatcher(table) for name, table in tables.items() if name in wanted}
        seeing = {name: [watcher] for name, watcher in watchers.items()}
        results += leakage_results(spec, tables, gate, terms, watchers=seeing)
        for name, watcher in watchers.items():
            looked.keep(name, watcher.profile)
    sides = {name: looked.side(name) for name in profiled(spec, family)}
    match gate:
        case LeakageGate():
            results += label_results(sides, gate, terms)
        case ColumnsGate():
            results += column_results(spec, sides, gate, terms)
        case DriftGate():
            results += drift_results(spec, sides, gate, terms, declared=declared)
    return results
