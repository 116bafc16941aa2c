"""How far two samples of one column are apart, and how far chance alone takes them.

Both are counted in the same bins: tenths of the expected side for numbers, values for everything
else, and what is rare on both sides together. Measures are the population stability index and the
Jensen-Shannon distance, base 2. Specified in docs/reference/gates.md, with sources; numpy only.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mllock.gates.profile import numbers_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["Bin", "Distance", "chance", "chi_square", "distance", "jensen_shannon", "psi"]

# Numbers with at most so many values are compared value by value.
VALUES = 20
TENTHS = 10
# The customary least count of a bin of chi-square (Cochran 1954), and the least part.
LEAST_ROWS = 5
LEAST_PART = 0.01
# Passed by chance once in a thousand.
CHANCE = 0.999
OTHERS = "(others)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """`expected` and `found` are numbers of rows."""

    name: str
    expected: int
    found: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Distance:
    """`chance` is the psi that two samples of these sizes from one distribution pass once in a
    thousand. Of one bin, the sides are equal, or there are too few rows to tell."""

    bins: tuple[Bin, ...]
    psi: float
    jensen_shannon: float
    chance: float


def distance(
    expected: pl.Series, found: pl.Series, *, text: tuple[bool, bool], numeric: bool
) -> Distance:
    """Of the values that are there; what is missing is counted elsewhere. `text` says of either
    side whether it is from a format of text; `numeric` that both are numbers."""
    one, other = (
        _values(series, text=is_text, numeric=numeric)
        for series, is_text in zip((expected, found), text, strict=True)
    )
    if numeric and one.n_unique() > VALUES:
        bins = _tenths(one.to_numpy(), other.to_numpy())
    else:
        bins = _by_value(one, other)
    a = [item.expected for item in bins]
    b = [item.found for item in bins]
    if len(bins) < 2:
        told = bins and min(bins[0].expected, bins[0].found) >= 2 * LEAST_ROWS
        return Distance(bins=bins, psi=0.0, jensen_shannon=0.0, chance=0.0 if told else math.inf)
    return Distance(
        bins=bins,
        psi=psi(a, b),
        jensen_shannon=jensen_shannon(a, b),
        chance=chance(sum(a), sum(b), len(bins)),
    )


def psi(expected: list[int], found: list[int]) -> float:
    """The sum of (q - p) ln(q / p). Half a row is added to each bin, so that none is empty."""
    size = len(expected)
    p = [(count + 0.5) / (sum(expected) + size / 2) for count in expected]
    q = [(count + 0.5) / (sum(found) + size / 2) for count in found]
    return math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))


def jensen_shannon(expected: list[int], found: list[int]) -> float:
    """The square root of the divergence, base 2: 0 for equal, 1 for nothing in common."""
    n, m = sum(expected), sum(found)
    parts = []
    for a, b in zip(expected, found, strict=True):
        p, q = a / n, b / m
        parts += [x / 2 * math.log2(2 * x / (p + q)) for x in (p, q) if x]
    return math.sqrt(max(0.0, math.fsum(parts)))


def chance(expected: int, found: int, bins: int) -> float:
    """Without a difference, psi is chi-square / (harmonic size), bins - 1 degrees (Yurdakul)."""
    if not expected or not found:
        return math.inf
    return (1 / expected + 1 / found) * chi_square(CHANCE, bins - 1)


def chi_square(part: float, degrees: int) -> float:
    """The number that a chi-square variable is below with the probability `part`."""
    low, high = 0.0, 2.0 * degrees + 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, degrees) < part else (low, middle)
    return (low + high) / 2


def _below(x: float, degrees: int) -> float:
    """The regularised lower incomplete gamma function at (degrees / 2, x / 2), by its series."""
    a, x = degrees / 2, x / 2
    if x <= 0:
        return 0.0
    term = total = 1 / a
    n = a
    while term > total * 1e-17:
        n += 1
        term *= x / n
        total += term
    return total * math.exp(-x + a * math.log(x) - math.lgamma(a))


def _values(series: pl.Series, *, text: bool, numeric: bool) -> pl.Series:
    import polars as pl

    if numeric:
        numbers = numbers_of(series, text=text)
        assert numbers is not None
        return numbers.drop_nulls()
    if series.dtype.is_float():
        series = series.fill_nan(None)
    return series.cast(pl.String).drop_nulls()


def _tenths(expected: NDArray[np.float64], found: NDArray[np.float64]) -> tuple[Bin, ...]:
    """Bins of as equal a size as ties permit, on the expected side. No bin is smaller, there, than
    the smaller side can fill."""
    import numpy as np

    parts = max(1, min(TENTHS, min(len(expected), len(found)) // LEAST_ROWS))
    ordered = np.sort(expected)
    places = np.arange(1, parts) * len(ordered) // parts
    cuts = np.unique(ordered[places]) if parts > 1 else ordered[:0]
    cuts = cuts[cuts > ordered[0]] if len(ordered) else cuts
    counts = [
        np.bincount(np.searchsorted(cuts, side, side="right"), minlength=len(cuts) + 1)
        for side in (expected, found)
    ]
    names = (
        [f"below {cuts[0]:.6g}"]
        + [f"{low:.6g} to {high:.6g}" for low, high in itertools.pairwise(cuts)]
        + [f"{cuts[-1]:.6g} and above"]
        if len(cuts)
        else ["all"]
    )
    return tuple(
        Bin(name=name, expected=int(a), found=int(b))
        for name, a, b in zip(names, *counts, strict=True)
    )


def _by_value(expected: pl.Series, found: pl.Series) -> tuple[Bin, ...]:
    """One bin for each value, the most frequent first; rare ones are one bin at the end."""
    sides = []
    for series in (expected, found):
        counts = series.value_counts()
        sides.append(dict(zip(counts[series.name], counts["count"], strict=True)))
    a, b = sides
    n, m = len(expected), len(found)
    if not n or not m:
        return ()
    both = {value: (a.get(value, 0) / n + b.get(value, 0) / m) / 2 for value in {**a, **b}}
    least = max(LEAST_PART, LEAST_ROWS / min(n, m))
    bins = []
    rare = [0, 0]
    for value, part in sorted(both.items(), key=lambda item: (-item[1], str(item[0]))):
        if part < least:
            rare = [rare[0] + a.get(value, 0), rare[1] + b.get(value, 0)]
            continue
        name = f"{value:.15g}" if isinstance(value, float) else value
        bins.append(Bin(name=name, expected=a.get(value, 0), found=b.get(value, 0)))
    if any(rare):
        bins.append(Bin(name=OTHERS, expected=rare[0], found=rare[1]))
    return tuple(bins)
