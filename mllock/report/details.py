"""The details of results, read by gate: what is in another form is not drawn. Pure.

Specified in docs/reference/gates.md. Fields that are not known are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from mllock.gates.types import Result

__all__ = ["Bin", "Drift", "Interval", "Label", "Missing", "Power", "Slice", "Slices", "details_of"]

Count = Annotated[int, Meta(ge=0)]


class _Details(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A JSON object."""


class Bin(_Details, frozen=True, kw_only=True):
    name: str
    expected: float
    found: float


class Drift(_Details, frozen=True, kw_only=True):
    column: str
    bins: tuple[Bin, ...]
    psi: float | None = None
    jensen_shannon: float | None = None
    chance: float | None = None


class Missing(_Details, frozen=True, kw_only=True):
    columns: tuple[Bin, ...]


class Power(_Details, frozen=True, kw_only=True):
    name: str
    power: float


class Label(_Details, frozen=True, kw_only=True):
    features: tuple[Power, ...]


class Slice(_Details, frozen=True, kw_only=True):
    """`slice` is column to value; without `value` there was nothing to measure."""

    slice: dict[str, str | int | float | bool | None]
    rows: Count
    value: float | None = None
    low: float | None = None
    high: float | None = None
    judged: bool = True


class Interval(_Details, frozen=True, kw_only=True):
    value: float
    low: float | None = None
    high: float | None = None


class Slices(_Details, frozen=True, kw_only=True):
    metric: str
    by: tuple[str, ...]
    slices: tuple[Slice, ...]
    difference: Interval | None = None
    ratio: Interval | None = None

    def name(self, one: Slice) -> str:
        """Of a slice, its columns in the order of `by`."""
        order = [column for column in self.by if column in one.slice]
        columns = [*order, *(column for column in one.slice if column not in order)]
        return ", ".join(f"{column}={one.slice[column]}" for column in columns)


_FORMS: Mapping[str, type[Drift | Missing | Label | Slices]] = MappingProxyType(
    {
        "drift.label": Drift,
        "drift.columns": Drift,
        "drift.missing": Missing,
        "leakage.label": Label,
        "slices": Slices,
    }
)


def details_of(result: Result) -> Drift | Missing | Label | Slices | None:
    """None for gates without details to draw, and for details in another form."""
    form = _FORMS.get(result.gate)
    if form is None or not result.details:
        return None
    try:
        return msgspec.convert(dict(result.details), form)
    except msgspec.ValidationError:
        return None
