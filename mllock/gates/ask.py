"""The data gates, asked: of what [gates] declares, and of what it could declare.

    ask(spec, open_table, day) -> Answers

Each source is opened and looked at once, whatever is asked about it. What is declared has to be
answered: a source that cannot be read raises. What is not declared advises, as far as it goes: a
source that cannot be read is not looked at, and said so. Order of results: as in
docs/reference/gates.md. Raises DataError and SpecError.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mllock.errors import DataError
from mllock.gates.data_gates import (
    FAMILIES,
    Family,
    column_results,
    drift_results,
    label_results,
    side_of,
    sources_of,
)
from mllock.gates.drift import Side
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
    """Sources as they are needed."""

    spec: Spec
    open: Open
    sides: dict[str, Side] = field(default_factory=dict)

    def at(self, names: Sequence[str]) -> dict[str, Side]:
        for name in names:
            if name not in self.sides:
                self.sides[name] = side_of(name, self.spec.data[name], self.open(name))
        return {name: self.sides[name] for name in names}


def ask(spec: Spec, open_table: Open, day: dt.date, *, advise: bool = False) -> Answers:
    """`open_table` gives the table of a source by its name; `day` decides about exceptions."""
    gates = spec.gates or Gates()
    looked = _Looked(spec=spec, open=open_table)
    declared: list[Result] = []
    advice: list[Result] = []
    unread: list[Unread] = []
    for family in FAMILIES:
        gate = getattr(gates, family)
        if gate is not None:
            declared += _family(family, gate, looked, gates.accept, day, declared=True)
        elif advise:
            default = {"leakage": LeakageGate, "columns": ColumnsGate, "drift": DriftGate}[family]
            try:
                advice += _family(
                    family, default(severity="warn"), looked, gates.accept, day, declared=False
                )
            except DataError as error:
                unread.append(Unread(family=family, error=error))
    return Answers(
        declared=tuple(declared),
        advice=tuple(advice),
        unread=tuple(unread),
        sources=tuple(looked.sides),
    )


def _family(
    family: Family,
    gate: LeakageGate | ColumnsGate | DriftGate,
    looked: _Looked,
    accept: tuple[Accepted, ...],
    day: dt.date,
    *,
    declared: bool,
) -> list[Result]:
    spec = looked.spec
    sides = looked.at(sources_of(spec, family))
    terms = Terms(severity=gate.severity, accept=accept, day=day)
    found: Iterator[Result]
    match gate:
        case LeakageGate():
            found = label_results(sides, gate, terms)
        case ColumnsGate():
            found = column_results(spec, sides, gate, terms)
        case DriftGate():
            found = drift_results(spec, sides, gate, terms, declared=declared)
    return list(found)
