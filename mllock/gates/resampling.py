"""How sure a metric of a slice is: resamples of its rows, and what they say of differences.

A slice's rows are drawn again, RESAMPLES times, from a seed that everybody has: counts by a
multinomial over the cells of the table, sums by blocks of rows, ranks by the scores. The interval
of a slice is between percentiles. Differences and ratios are of the two slices that are furthest
apart, and whoever looks at many slices finds two far apart by chance: so their interval is that in
which all pairs are at once (the largest studentised deviation of any pair, "max-t"). See
docs/adr/0129. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mllock.core import canonical
from mllock.core.digest import Digest, hex_of

__all__ = [
    "RESAMPLES",
    "Interval",
    "counts_again",
    "difference",
    "generator",
    "percentiles",
    "ranks_again",
    "ratio",
    "sums_again",
]

RESAMPLES = 2000
# More rows than this are drawn as blocks of rows, more scores as quantiles.
BLOCKS = 1000

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    value: float
    low: float
    high: float


def generator(*what: object) -> np.random.Generator:
    """The same numbers for all who ask about the same: `what` is JSON, with digests of inputs."""
    seed: Digest = canonical.digest_of(list(what))
    return np.random.Generator(np.random.PCG64(int(hex_of(seed), 16)))


def counts_again(table: Numbers, dice: np.random.Generator) -> Numbers:
    """Resamples x labels x labels of one table of counts."""
    cells = table.reshape(-1)
    full = np.nonzero(cells)[0]
    drawn = dice.multinomial(int(cells.sum()), cells[full] / cells.sum(), size=RESAMPLES)
    again = np.zeros((RESAMPLES, len(cells)))
    again[:, full] = drawn
    return again.reshape(RESAMPLES, *table.shape)


def sums_again(rows: Numbers, dice: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Sums of resampled rows (resamples x sums), and how many rows each resample has."""
    blocks = rows
    sizes = np.ones(len(rows))
    if len(rows) > BLOCKS:
        order = dice.permutation(len(rows))
        ends = np.linspace(0, len(rows), BLOCKS + 1).astype(np.int64)
        blocks = np.add.reduceat(rows[order], ends[:-1], axis=0)
        sizes = np.diff(ends).astype(np.float64)
    number = len(blocks)
    drawn = dice.integers(0, number, (RESAMPLES, number))
    drawn += np.arange(RESAMPLES)[:, None] * number
    weights = np.bincount(drawn.reshape(-1), minlength=RESAMPLES * number)
    weights = weights.reshape(RESAMPLES, number).astype(np.float64)
    return weights @ blocks, weights @ sizes


def ranks_again(positive: NDArray[np.bool_], scores: Numbers, dice: np.random.Generator) -> Numbers:
    """Areas under the ROC curves of resampled rows; NaN for one with a single label."""
    known, places = np.unique(scores, return_inverse=True)
    if len(known) > BLOCKS:
        edges = np.quantile(scores, np.linspace(0, 1, BLOCKS + 1)[1:-1])
        places = np.searchsorted(np.unique(edges), scores, side="right")
    number = int(places.max()) + 1
    cells = np.bincount(places * 2 + positive, minlength=number * 2).astype(np.float64)
    drawn = dice.multinomial(len(scores), cells / cells.sum(), size=RESAMPLES)
    negative, hits = drawn[:, 0::2].astype(np.float64), drawn[:, 1::2].astype(np.float64)
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        area: Numbers = (hits * below).sum(axis=1) / (hits.sum(axis=1) * negative.sum(axis=1))
    return area


def percentiles(again: Numbers, confidence: float) -> tuple[float, float]:
    """The interval of one slice; undefined resamples say nothing."""
    known = again[np.isfinite(again)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return float(low), float(high)


def difference(values: Numbers, again: Numbers, confidence: float) -> Interval:
    """Of the largest and the smallest value; `again` are slices x resamples."""
    return Interval(
        value=float(values.max() - values.min()),
        **_together(values, again, confidence, _differences, max),
    )


def ratio(values: Numbers, again: Numbers, confidence: float) -> Interval | None:
    """Of the smallest value to the largest; None if the largest is not above 0."""
    if values.max() <= 0:
        return None
    found = _together(values, again, confidence, _ratios, min)
    # No ratio of the smaller to the larger is above 1.
    found["high"] = min(1.0, found["high"])
    return Interval(value=float(values.min() / values.max()), **found)


Pairs = Callable[[Numbers, Numbers, Numbers], tuple[Numbers, Numbers, Numbers]]


def _together(
    values: Numbers,
    again: Numbers,
    confidence: float,
    pairs: Pairs,
    worst: Callable[[Sequence[float]], float],
) -> dict[str, float]:
    """Low and high of the worst pair, such that all pairs are within theirs at once."""
    order = np.argsort(values, kind="stable")
    values, again = values[order], again[order]
    spread = np.nanstd(again, axis=1)
    furthest = np.zeros(again.shape[1])
    found = []
    for small in range(len(values) - 1):
        # Every larger one, so that each pair comes once.
        value, deviation, error = pairs(values[small:], again[small:], spread[small:])
        known = error > 0
        if known.any():
            studentised = np.abs(deviation[known]) / error[known][:, None]
            studentised[~np.isfinite(studentised)] = 0.0
            furthest = np.maximum(furthest, studentised.max(axis=0))
        found.append((value, error))
    limit = float(np.quantile(furthest, confidence))
    lows = [float(worst((value - limit * error).tolist())) for value, error in found]
    highs = [float(worst((value + limit * error).tolist())) for value, error in found]
    return {"low": max(0.0, worst(lows)), "high": worst(highs)}


def _differences(
    values: Numbers, again: Numbers, spread: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Of the first slice and all others, which have larger values: value, deviation, error."""
    value = values[1:] - values[0]
    deviation = (again[1:] - again[0]) - value[:, None]
    return value, deviation, np.sqrt(spread[1:] ** 2 + spread[0] ** 2)


def _ratios(values: Numbers, again: Numbers, spread: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    larger = values[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Two slices without anything are alike.
        value = np.where(larger > 0, values[0] / larger, 1.0)
        deviation = again[0] / again[1:] - value[:, None]
        error = np.sqrt((spread[0] / larger) ** 2 + (values[0] * spread[1:] / larger**2) ** 2)
    return value, deviation, np.where(larger > 0, error, 0.0)
