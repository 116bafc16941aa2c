"""The gates of profiles, put together: of what is declared, and of what could be.

Families of [gates] in the order of docs/reference/gates.md. The gates that compare rows and keys
read tables by themselves (`mllock.gates.leakage`). Raises SpecError for a column that is not
there, DataError for one of another type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from mllock.gates.columns import column
from mllock.gates.drift import Side, drift_of_column, drift_of_label, drift_of_missing
from mllock.gates.features import constant_and_missing, label_in_disguise
from mllock.gates.tables import Table
from mllock.gates.terms import Terms
from mllock.gates.types import Result
from mllock.spec.gates import slices_of, splits_of
from mllock.spec.types import ColumnsGate, DataSource, DriftGate, LeakageGate, Spec

__all__ = [
    "FAMILIES",
    "Family",
    "check_columns",
    "column_results",
    "drift_results",
    "label_results",
    "profiled",
    "sources_of",
]

Family = Literal["leakage", "columns", "drift"]
FAMILIES: tuple[Family, ...] = ("leakage", "columns", "drift")


def sources_of(spec: Spec, family: Family) -> tuple[str, ...]:
    """The sources that a family of gates reads."""
    if family == "leakage":
        return tuple(dict.fromkeys((*splits_of(spec), *profiled(spec, family))))
    return profiled(spec, family)


def profiled(spec: Spec, family: Family) -> tuple[str, ...]:
    """Those of them whose columns it is about."""
    splits = splits_of(spec)
    if family == "columns":
        return splits
    if family == "drift":
        return tuple(dict.fromkeys(name for pair in _pairs(spec) for name in pair))
    return tuple(
        name
        for name, source in spec.data.items()
        if source.role == "train" and source.label is not None
    )


def check_columns(table: Table, source: DataSource) -> None:
    """Raises SpecError if a column that the source declares is not there."""
    named = {"label": [source.label], "time": [source.time]}
    for role, columns in {**named, "key": source.key, "group": source.group}.items():
        for each in columns:
            if each is not None:
                column(table, each, key=f"data.{table.name}.{role}")


def label_results(sides: Mapping[str, Side], gate: LeakageGate, terms: Terms) -> Iterator[Result]:
    """`leakage.label`."""
    for name, side in sides.items():
        yield label_in_disguise(name, side.profile, side.source, gate, terms)


def column_results(
    spec: Spec, sides: Mapping[str, Side], gate: ColumnsGate, terms: Terms
) -> Iterator[Result]:
    """`columns.constant`, then `columns.missing`."""
    splits = [sides[name] for name in splits_of(spec)]
    for index, name in enumerate(gate.ignore):
        if splits and not any(name in side.table.columns for side in splits):
            column(splits[0].table, name, key=f"gates.columns.ignore[{index}]")
    both = [constant_and_missing(side.name, side.profile, gate.ignore, terms) for side in splits]
    for results in zip(*both, strict=True):
        yield from results


def drift_results(
    spec: Spec, sides: Mapping[str, Side], gate: DriftGate, terms: Terms, *, declared: bool
) -> Iterator[Result]:
    """`drift.label`, `drift.columns`, `drift.missing`. What is not declared is asked of every
    column that both sides have."""
    pairs = [(sides[one], sides[other]) for one, other in _pairs(spec)]
    for one, other in pairs:
        if one.source.label is not None and other.source.label is not None:
            yield drift_of_label(one, other, gate, terms)
    for one, other in pairs:
        for each in _columns(spec, one, other, gate, declared=declared):
            yield drift_of_column(one, other, each, gate, terms)
    for one, other in pairs:
        yield drift_of_missing(one, other, gate, terms)


def _columns(
    spec: Spec, one: Side, other: Side, gate: DriftGate, *, declared: bool
) -> Iterator[str]:
    """The columns to compare, each once."""
    for index, name in enumerate(gate.columns):
        for side in (one, other):
            column(side.table, name, key=f"gates.drift.columns[{index}]")
        yield name
    slices = () if spec.gates is None else slices_of(spec.gates)
    more = [name for slice_ in slices for name in slice_.by]
    if not declared:
        other_than = {one.source.label, other.source.label, *one.source.key, *one.source.group}
        more += [name for name in one.table.columns if name not in {*other_than, one.source.time}]
    for name in dict.fromkeys(more):
        if name not in gate.columns and all(name in side.table.columns for side in (one, other)):
            yield name


def _pairs(spec: Spec) -> list[tuple[str, str]]:
    """What is expected, and what is held against it."""
    splits = splits_of(spec)
    role = {name: source.role for name, source in spec.data.items()}
    trains = [name for name in splits if role[name] == "train"]
    references = [name for name in spec.data if role[name] == "reference" and name not in splits]
    return [
        *((train, split) for train in trains for split in splits if role[split] != "train"),
        *((reference, split) for reference in references for split in splits),
    ]
