"""Plots as geometry: where marks, bars and ticks stand, and what they say in words. Pure.

The template draws them as SVG; nothing here writes markup. Every plot has a description that says
what it shows, and the numbers stand in a table beside it. Units are pixels of the viewBox.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mllock.report.details import Bin, Drift, Label, Missing, Slices

__all__ = ["MAX_ROWS", "Bar", "Mark", "Plot", "Tick", "bars_of", "number", "slices_plot"]

# More rows are read in no picture; the table has them all, up to its own end.
MAX_ROWS = 40

WIDTH = 680
LABELS = 220
RIGHT = 16
ROW = 26
TOP = 8
FOOT = 30
LABEL_LETTERS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    x: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A point with its interval; `hollow` if there were too few rows to judge."""

    y: float
    label: str
    x: float
    low: float | None
    high: float | None
    hollow: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """`kind` names the style: expected, found or alone. Only the first bar of a row has a label."""

    y: float
    label: str
    x: float
    width: float
    thick: float
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    title: str
    words: str
    height: float
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...] = ()
    bars: tuple[Bar, ...] = ()
    limit: float | None = None
    legend: tuple[str, ...] = ()
    width: int = WIDTH
    left: int = LABELS
    right: int = WIDTH - RIGHT
    floor: float = field(default=0)


def slices_plot(found: Slices) -> Plot | None:
    """A point and its confidence interval for each slice. None if there is nothing to draw."""
    rows = [one for one in found.slices if one.value is not None][:MAX_ROWS]
    values = [v for one in rows for v in (one.value, one.low, one.high) if v is not None]
    scale = _Scale.over(values)
    if not rows or scale is None:
        return None
    marks = []
    for number_, one in enumerate(rows):
        assert one.value is not None
        marks.append(
            Mark(
                y=TOP + ROW * (number_ + 0.5),
                label=_short(f"{found.name(one)} ({one.rows})"),
                x=scale.x(one.value),
                low=None if one.low is None else scale.x(one.low),
                high=None if one.high is None else scale.x(one.high),
                hollow=not one.judged,
            )
        )
    said = "; ".join(
        f"{found.name(one)}: {number(one.value)}"
        + (
            ""
            if one.low is None or one.high is None
            else f", {number(one.low)} to {number(one.high)}"
        )
        + ("" if one.judged else ", too few rows to judge")
        for one in rows
    )
    return _plot(
        title=f"{found.metric} by {', '.join(found.by)}",
        words=f"{found.metric} of each slice with its confidence interval. {said}.",
        scale=scale,
        rows=len(rows),
        marks=tuple(marks),
        legend=("value with confidence interval", "too few rows to judge"),
    )


def bars_of(found: Drift | Missing | Label, limit: float | None) -> Plot | None:
    """Two bars for each bin or column, what was expected and what was found; of a label one bar
    for each feature, and the limit as a line."""
    if isinstance(found, Label):
        ordered = sorted(found.features, key=lambda one: (-one.power, one.name))[:MAX_ROWS]
        said = "; ".join(f"{one.name}: {number(one.power)}" for one in ordered)
        scale = _Scale.over([0.0, 1.0, *(one.power for one in ordered)])
        if not ordered or scale is None:
            return None
        bars = [
            _bar(scale, row, 0.25, 0.5, one.name, one.power, "alone")
            for row, one in enumerate(ordered)
        ]
        inside = limit is not None and scale.low <= limit <= scale.high
        return _plot(
            title="How well one feature alone predicts the label",
            words=f"Predictive power of each feature. {said}.",
            scale=scale,
            rows=len(ordered),
            bars=tuple(bars),
            limit=scale.x(limit) if inside and limit is not None else None,
        )
    pairs: Sequence[Bin] = (found.bins if isinstance(found, Drift) else found.columns)[:MAX_ROWS]
    scale = _Scale.over([0.0, *(v for one in pairs for v in (one.expected, one.found))])
    if not pairs or scale is None:
        return None
    bars = []
    for row, one in enumerate(pairs):
        bars.append(_bar(scale, row, 0.12, 0.36, one.name, one.expected, "expected"))
        bars.append(_bar(scale, row, 0.52, 0.36, "", one.found, "found"))
    said = "; ".join(
        f"{one.name}: expected {number(one.expected)}, found {number(one.found)}" for one in pairs
    )
    what = f"Distribution of {found.column}" if isinstance(found, Drift) else "Missing values"
    return _plot(
        title=what,
        words=f"{what}, as parts of the rows. {said}.",
        scale=scale,
        rows=len(pairs),
        bars=tuple(bars),
        legend=("expected", "found"),
    )


def number(value: float | None) -> str:
    """For people: four digits that count."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _plot(
    *,
    title: str,
    words: str,
    scale: _Scale,
    rows: int,
    marks: tuple[Mark, ...] = (),
    bars: tuple[Bar, ...] = (),
    limit: float | None = None,
    legend: tuple[str, ...] = (),
) -> Plot:
    floor = TOP + ROW * rows
    return Plot(
        title=title,
        words=words,
        height=floor + FOOT,
        floor=floor,
        ticks=scale.ticks(),
        marks=marks,
        bars=bars,
        limit=limit,
        legend=legend,
    )


def _bar(
    scale: _Scale, row: int, down: float, thick: float, label: str, value: float, kind: str
) -> Bar:
    start, end = sorted((scale.x(0.0), scale.x(value)))
    return Bar(
        y=round(TOP + ROW * (row + down), 2),
        label=_short(label),
        x=start,
        width=round(end - start, 2),
        thick=ROW * thick,
        kind=kind,
    )


def _short(text: str) -> str:
    return text if len(text) <= LABEL_LETTERS else f"{text[: LABEL_LETTERS - 1]}…"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scale:
    """From numbers to pixels, between two round numbers."""

    low: float
    high: float
    step: float

    @classmethod
    def over(cls, values: Iterable[float]) -> _Scale | None:
        """None where there are no numbers, or none that a picture can hold together."""
        values = list(values)
        if not values:
            return None
        low, high = min(values), max(values)
        width = high - low
        if not math.isfinite(width) or max(abs(low), abs(high)) > 1e300:
            return None
        if width <= abs(high) * 1e-9:
            width = abs(high) * 0.2 or 1.0
            low, high = low - width / 2, high + width / 2
        step = _step(width / 5)
        if step <= 0:
            return None
        return cls(low=math.floor(low / step) * step, high=math.ceil(high / step) * step, step=step)

    def x(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(LABELS + part * (WIDTH - RIGHT - LABELS), 2)

    def ticks(self) -> tuple[Tick, ...]:
        count = min(20, round((self.high - self.low) / self.step))
        values = [self.low + self.step * index for index in range(count + 1)]
        # What rounding leaves of a zero is no number to show.
        return tuple(
            Tick(x=self.x(v), text=f"{0.0 if abs(v) < self.step / 1e6 else v:.4g}") for v in values
        )


def _step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    if rough <= 0 or not math.isfinite(rough):
        return 0.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((times * power for times in (1, 2, 5) if times * power >= rough), 10 * power)
