"""How far two samples of one column are apart, and how far chance alone takes them.

Both are counted in the same bins: tenths of the expected side for numbers, frequent ones alone,
values for everything else, and what is rare on both sides together. Measures are the population
stability index and the Jensen-Shannon distance, base 2. Specified in
docs/reference/gates.md, with sources; numpy only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
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
    thousand. Of one bin, it is 0 if both sides have one value, the same, else infinite."""

    bins: tuple[Bin, ...]
    psi: float
    jensen_shannon: float
    chance: float


def distance(
    expected: pl.Series, found: pl.Series, *, text: tuple[bool, bool], numeric: bool
) -> Distance:
    """Of the values that are there; what is missing is counted elsewhere. `text` says of either
    side whether it is from a format of text; `numeric` that both are numbers."""
    import polars as pl

    one, other = (
        _values(series, text=is_text, numeric=numeric)
        for series, is_text in zip((expected, found), text, strict=True)
    )
    if numeric and one.n_unique() > VALUES:
        bins = _of_numbers(one.to_numpy(), other.to_numpy())
    else:
        bins = _by_value(one, other)
    a = [item.expected for item in bins]
    b = [item.found for item in bins]
    if len(bins) < 2:
        enough = min(len(one), len(other)) >= 2 * LEAST_ROWS
        told = enough and pl.concat([one, other]).n_unique() == 1
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


def _of_numbers(expected: NDArray[np.float64], found: NDArray[np.float64]) -> tuple[Bin, ...]:
    """Frequent values alone, also if they are the smallest: no tenth ends within one of them. The
    others of the expected side in bins of as equal a size as ties permit, none smaller than the
    smaller side can fill, and none on both sides of a frequent value."""
    import numpy as np

    alone = np.union1d(_frequent(expected), _frequent(found))
    rest = np.sort(expected[~np.isin(expected, alone)])
    most = min(TENTHS, min(len(expected), len(found)) // LEAST_ROWS)
    parts = max(1, round(most * len(rest) / len(expected)))
    inner = rest[np.arange(1, parts) * len(rest) // parts]
    # Below its smallest value there is nothing on this side.
    inner = inner[inner > rest[:1]]
    # Each cut begins a bin; one just above a frequent value bears its name.
    above = np.nextafter(alone, np.inf)
    shown = dict(zip(above.tolist(), alone.tolist(), strict=True))
    cuts = np.unique(np.concatenate([inner, alone, above]))
    counts = [
        np.bincount(np.searchsorted(cuts, side, side="right"), minlength=len(cuts) + 1).tolist()
        for side in (expected, found)
    ]
    only = set(alone.tolist())
    edges = [None, *cuts.tolist(), None]
    return tuple(
        Bin(name=_named(low, high, shown, is_one=low in only), expected=a, found=b)
        for (low, high), a, b in zip(itertools.pairwise(edges), *counts, strict=True)
        if a or b
    )


def _frequent(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that more than a tenth of a side are."""
    import numpy as np

    values, counts = np.unique(numbers, return_counts=True)
    return values[counts > max(len(numbers) / TENTHS, LEAST_ROWS - 1)]


def _named(
    low: float | None, high: float | None, shown: Mapping[float, float], *, is_one: bool
) -> str:
    if low is not None and is_one:
        return f"{low:.6g}"
    if low is None:
        return "all" if high is None else f"below {high:.6g}"
    word = "above " if low in shown else ""
    begin = f"{shown.get(low, low):.6g}"
    if high is None:
        return f"{word}{begin}" if word else f"{begin} and above"
    return f"{word}{begin} to {high:.6g}"


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
