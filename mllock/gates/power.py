"""How well one feature alone predicts the label: the label in disguise.

One half of the rows is learned from, the other is judged; which rows are in which half, their
positions say. A feature is learned as a table: of its values, and if most are numbers also of
bins of them, words beside them alone. What a value or bin says is the label that is the most
typical of it (classes) or the mean of their ranks (numbers). A value that was not met says nothing,
so that names and numbers of rows have no power by being different in each row. Specified in
docs/reference/gates.md; numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mllock.gates.profile import mixed, most_numbers, numbers_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["CLASSES", "Label", "codes_of", "label_of", "power_of"]

# A label of numbers has classes if there are at most so many different ones.
CLASSES = 20
# A class with fewer rows in a half is left out; so many rows of numbers make a half.
CLASS_ROWS = 10
ROWS = 30
# Bins: so many of equal size over all rows, and ten within each of the largest classes.
BINS = 50
BINNED_CLASSES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """The labels of the rows that are judged. `rows` are their places in the sample; `learn` says
    which of them are learned from. One of `classes` and `ranks` is there."""

    rows: NDArray[np.intp]
    learn: NDArray[np.bool_]
    classes: NDArray[np.intp] | None = None
    count: int = 0
    ranks: NDArray[np.float64] | None = None


def label_of(series: pl.Series, positions: NDArray[np.uint64], *, text: bool) -> Label | str:
    """The label, or why nothing can be told by it."""
    import numpy as np

    numbers = most_numbers(series) if text else numbers_of(series, text=False)
    if numbers is not None and _different(numbers) <= CLASSES:
        # Words among classes are classes.
        numbers = numbers_of(series, text=text)
    present = series.is_not_null() if numbers is None else numbers.is_not_null()
    rows = np.flatnonzero(present.to_numpy())
    learn = (mixed(positions[rows]) & np.uint64(1)).astype(bool)
    if numbers is not None and _different(numbers) > CLASSES:
        if min(learn.sum(), (~learn).sum()) < ROWS:
            return f"{len(rows)} rows are too few to tell"
        return Label(rows=rows, learn=learn, ranks=_ranks(numbers.to_numpy()[rows]))
    codes = codes_of(series if numbers is None else numbers)[rows]
    count = int(codes.max(initial=-1)) + 1
    if count < 2:
        return "the label has one value in all rows" if count else "the label is missing"
    enough = np.minimum(
        np.bincount(codes[learn], minlength=count), np.bincount(codes[~learn], minlength=count)
    )
    kept = np.flatnonzero(enough >= CLASS_ROWS)
    if len(kept) < 2:
        return f"too few rows: fewer than two labels have {2 * CLASS_ROWS} rows or more"
    chosen = np.isin(codes, kept)
    return Label(
        rows=rows[chosen],
        learn=learn[chosen],
        classes=np.searchsorted(kept, codes[chosen]),
        count=len(kept),
    )


def power_of(series: pl.Series, label: Label) -> float:
    """From 0, no better than the best guess that knows no feature, to 1, without a mistake."""
    import numpy as np

    numbers = most_numbers(series)
    if numbers is None:
        codings = [codes_of(series)[label.rows]]
    else:
        words = _words(series, numbers)[label.rows]
        codings = [
            np.where(words < 0, codes, words + codes.max(initial=-1) + 1)
            for codes in (
                codes_of(numbers)[label.rows],
                _bins(numbers.to_numpy()[label.rows], label),
            )
        ]
    best = max(
        _of_classes(codes, label) if label.ranks is None else _of_numbers(codes, label)
        for codes in codings
    )
    return round(min(1.0, max(0.0, best)), 6)


def _different(numbers: pl.Series) -> int:
    return numbers.n_unique() - (numbers.null_count() > 0)


def _words(series: pl.Series, numbers: pl.Series) -> NDArray[np.intp]:
    """The codes of what is there and is no number; -1 for all else."""
    import numpy as np
    import polars as pl

    if series.dtype != pl.String:
        return np.full(len(series), -1, np.intp)
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, len(series))
    return codes_of(series.zip_with(numbers.is_null(), nothing))


def codes_of(series: pl.Series) -> NDArray[np.intp]:
    """Each value as a number from 0, in the order of the values; missing is -1."""
    import numpy as np
    import polars as pl

    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype in (pl.Boolean, pl.Null):
        series = series.cast(pl.UInt8)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    dense = series.rank("dense").fill_null(0).to_numpy()
    return dense.astype(np.intp) - 1


def _of_classes(codes: NDArray[np.intp], label: Label) -> float:
    """Balanced accuracy, less that of a guess, as a part of what is left above a guess."""
    import numpy as np

    assert label.classes is not None
    codes, classes, count = codes + 1, label.classes, label.count
    learn, judge = label.learn, ~label.learn
    sizes = np.bincount(classes[learn], minlength=count)
    pairs, seen = np.unique(codes[learn] * count + classes[learn], return_counts=True)
    value, of = np.divmod(pairs, count)
    # Last of each value: the class whose part in it is the largest, of equal ones the first.
    order = np.lexsort((-of, seen / sizes[of], value))
    last = np.flatnonzero(np.diff(value[order], append=-1))
    says = np.full(int(codes.max(initial=0)) + 1, int(np.argmax(sizes)))
    says[value[order][last]] = of[order][last]
    right = says[codes[judge]] == classes[judge]
    judged = np.bincount(classes[judge], minlength=count)
    recalls = np.bincount(classes[judge], weights=right, minlength=count) / judged
    return float((recalls.mean() - 1 / count) / (1 - 1 / count))


def _of_numbers(codes: NDArray[np.intp], label: Label) -> float:
    """The part of the variance of the judged ranks that the means of the learned ones explain."""
    import numpy as np

    assert label.ranks is not None
    codes, ranks = codes + 1, label.ranks
    learn, judge = label.learn, ~label.learn
    size = int(codes.max(initial=0)) + 1
    counts = np.bincount(codes[learn], minlength=size)
    sums = np.bincount(codes[learn], weights=ranks[learn], minlength=size)
    mean = ranks[learn].mean()
    says = np.where(counts > 0, sums / np.maximum(counts, 1), mean)
    wrong = float(np.square(ranks[judge] - says[codes[judge]]).sum())
    return 1 - wrong / float(np.square(ranks[judge] - mean).sum())


def _bins(numbers: NDArray[np.float64], label: Label) -> NDArray[np.intp]:
    """The bin of each number; missing is -1. An edge lies half way between two learned numbers."""
    import numpy as np

    present = ~np.isnan(numbers)
    learned = present & label.learn
    edges = [_quantiles(numbers[learned], BINS)]
    if label.classes is not None:
        sizes = np.bincount(label.classes[learned], minlength=label.count)
        largest = np.argsort(-sizes, kind="stable")[:BINNED_CLASSES]
        edges += [_quantiles(numbers[learned & (label.classes == of)], 10) for of in largest]
    cuts, met = np.unique(np.concatenate(edges)), np.unique(numbers[learned])
    if len(cuts) > 1:
        before = met[np.searchsorted(met, cuts[1:]) - 1]
        with np.errstate(over="ignore", invalid="ignore"):
            middle = before + (cuts[1:] - before) / 2
        cuts = np.where(np.isfinite(middle), middle, cuts[1:])
    return np.where(present, np.searchsorted(cuts, numbers, side="right"), -1)


def _quantiles(numbers: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    import numpy as np

    if not len(numbers):
        return numbers
    ordered = np.sort(numbers)
    return ordered[(np.linspace(0, 1, parts + 1) * (len(ordered) - 1)).astype(np.intp)]


def _ranks(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 to 1; equal numbers have the mean of their ranks."""
    import numpy as np

    _, codes, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: NDArray[np.float64] = ends - (counts + 1) / 2
    return middle[codes] / max(1, len(numbers) - 1)
