"""Slices: is a part of the data served worse than another, as far as there are rows to tell?

A slice is the rows that have one value of a column, or one of each of several columns. Values are
those of `counts` and `numbers`; differences and ratios are fairlearn's `MetricFrame.difference`
and `.ratio`, between groups. Demographic parity and equalised odds are asked by fairlearn's names,
the latter as two results. A slice with fewer rows than `min-rows` is not judged, nor one whose
metric is made of fewer: a recall is made of rows that are positive. Raises SpecError, DataError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mllock.core.digest import Digest
from mllock.errors import DataError, SpecError
from mllock.gates import resampling
from mllock.gates.counts import COUNTED, ONLY_OF_TWO, counted, support, table_of, without_absent
from mllock.gates.numbers import (
    REGRESSION,
    from_sums,
    log_loss,
    losses_of,
    regression,
    roc_auc,
    sums_of,
)
from mllock.gates.scored import MAX_LABELS, Coded, Scored
from mllock.gates.terms import Terms
from mllock.gates.types import Result
from mllock.spec.gates import DISPARITIES, SLICE_METRICS
from mllock.spec.types import SlicesGate

__all__ = ["judge_slices", "value_of"]

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slice:
    """`again` are its resampled values; empty if it is not judged, for the reason in `why`."""

    named: Mapping[str, str | None]
    rows: int
    value: float
    made_of: int
    again: Numbers
    judged: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measure:
    """One metric over some rows: its value, how many rows that is made of, and resampled values."""

    value: Callable[[Rows], float]
    made_of: Callable[[Rows], int]
    again: Callable[[Rows, np.random.Generator], Numbers]


def value_of(scored: Scored, metric: str) -> float | None:
    """The metric over all rows; None if it cannot be told from what is there."""
    if metric not in SLICE_METRICS or metric in DISPARITIES:
        return None
    if metric in ("roc_auc", "log_loss") and not scored.has_scores:
        return None
    value = _measure(scored, metric).value(np.arange(scored.rows))
    return value if np.isfinite(value) else None


def judge_slices(
    scored: Scored,
    gate: SlicesGate,
    terms: Terms,
    *,
    source: str,
    key: str,
    inputs: Mapping[str, Digest],
) -> Iterator[Result]:
    """The results of one gate about one test source. `key` is where the spec declares it, `inputs`
    are what resamples are seeded by."""
    columns = {name: scored.slices(name, key=f"{key}.by") for name in gate.by}
    groupings: list[tuple[str, ...]] = [(name,) for name in gate.by]
    if gate.intersections and len(gate.by) > 1:
        groupings.append(gate.by)
    parts = DISPARITIES.get(gate.metric, (gate.metric,))
    for by in groupings:
        groups = list(_groups(columns, by, source))
        for metric in parts:
            named = gate.metric if len(parts) == 1 else f"{gate.metric}, {metric}"
            subject = f"{source}: {named} by {', '.join(by)}"
            slices = [
                _slice(scored, gate, metric, named_by, rows, (source, list(by), dict(inputs)))
                for named_by, rows in groups
            ]
            yield _result(gate, terms, metric, subject, by, slices)


def _groups(
    columns: Mapping[str, Coded], by: Sequence[str], source: str
) -> Iterator[tuple[dict[str, str | None], Rows]]:
    """The slices that have rows, in the order of their values, each with its rows."""
    together = np.stack([columns[name].codes for name in by], axis=1)
    known, places = np.unique(together, axis=0, return_inverse=True)
    if len(known) > MAX_LABELS:
        raise DataError(
            f"too many slices by {', '.join(by)}",
            file=f"data.{source}",
            expected=f"at most {MAX_LABELS}",
            found=str(len(known)),
            hint="slice by fewer columns, or set intersections = false",
        )
    places = places.reshape(-1)
    order = np.argsort(places, kind="stable")
    ends = np.cumsum(np.bincount(places, minlength=len(known)))[:-1]
    for codes, rows in zip(known.tolist(), np.split(order, ends), strict=True):
        yield (
            {
                name: columns[name].values[code] if code >= 0 else None
                for name, code in zip(by, codes, strict=True)
            },
            rows,
        )


def _slice(
    scored: Scored,
    gate: SlicesGate,
    metric: str,
    named: Mapping[str, str | None],
    rows: Rows,
    seed: Sequence[object],
) -> _Slice:
    measure = _measure(scored, metric)
    value, made_of = measure.value(rows), measure.made_of(rows)
    judged = made_of >= gate.min_rows and bool(np.isfinite(value))
    again = np.empty(0)
    if judged:
        again = measure.again(rows, resampling.generator(*seed, metric, dict(named)))
    return _Slice(
        named=named, rows=len(rows), value=value, made_of=made_of, again=again, judged=judged
    )


def _result(
    gate: SlicesGate,
    terms: Terms,
    metric: str,
    subject: str,
    by: Sequence[str],
    slices: Sequence[_Slice],
) -> Result:
    judged = [one for one in slices if one.judged]
    details: dict[str, Any] = {
        "metric": metric,
        "by": list(by),
        "slices": [_details(one, gate.confidence) for one in slices],
    }
    if len(judged) < 2:
        return terms.result(
            "slices",
            subject,
            _too_small(gate, metric, slices, judged),
            holds=None,
            details=details,
        )
    values = np.array([one.value for one in judged])
    again = np.stack([one.again for one in judged])
    difference = resampling.difference(values, again, gate.confidence)
    ratio = resampling.ratio(values, again, gate.confidence)
    details["difference"] = msgspec.to_builtins(difference)
    if ratio is not None:
        details["ratio"] = msgspec.to_builtins(ratio)
    sentence = _sentence(metric, judged, values)
    crossed: list[tuple[float, float, str]] = []
    asked: list[tuple[float, float, str]] = []
    if gate.max_difference is not None:
        words = f"a difference of {_words(difference, gate)}, at most {gate.max_difference:g}"
        asked.append((difference.value, gate.max_difference, words))
        if difference.low > gate.max_difference:
            crossed.append(asked[-1])
    if gate.min_ratio is not None and ratio is not None:
        words = f"a ratio of {_words(ratio, gate)}, at least {gate.min_ratio:g}"
        asked.append((ratio.value, gate.min_ratio, words))
        if ratio.high < gate.min_ratio:
            crossed.append(asked[-1])
    if not asked:
        return terms.result(
            "slices",
            subject,
            f"{sentence}: there is no ratio where nothing is above 0",
            holds=None,
            details=details,
        )
    measured, limit, words = (crossed or asked)[0]
    return terms.result(
        "slices",
        subject,
        f"{sentence}: {words}",
        holds=not crossed,
        measured=measured,
        limit=limit,
        details=details,
    )


def _details(one: _Slice, confidence: float) -> dict[str, Any]:
    found: dict[str, Any] = {"slice": dict(one.named), "rows": one.rows, "judged": one.judged}
    if np.isfinite(one.value):
        found["value"] = one.value
    if one.judged:
        low, high = resampling.percentiles(one.again, confidence)
        if np.isfinite(low):
            found |= {"low": low, "high": high}
    return found


def _sentence(metric: str, judged: Sequence[_Slice], values: Numbers) -> str:
    low, high = judged[int(values.argmin())], judged[int(values.argmax())]
    if low is high:
        return f"{metric} is {_number(low.value)} for each of {len(judged)} slices"
    return (
        f"{metric} is {_number(low.value)} for {_name(low.named)} and {_number(high.value)} for "
        f"{_name(high.named)}"
    )


def _too_small(
    gate: SlicesGate, metric: str, slices: Sequence[_Slice], judged: Sequence[_Slice]
) -> str:
    few = "no slice has" if not judged else f"only the slice {_name(judged[0].named)} has"
    if len(slices) == 1:
        return f"there is one slice only, {_name(slices[0].named)}"
    about = "" if all(one.made_of == one.rows for one in slices) else f" that {metric} is made of"
    return f"{few} {gate.min_rows} rows{about}, of {len(slices)}"


def _name(named: Mapping[str, str | None]) -> str:
    return ", ".join(
        f"{column} = {value}" if value is not None else f"{column} missing"
        for column, value in named.items()
    )


def _number(value: float) -> str:
    return f"{value:.4g}"


def _words(interval: resampling.Interval, gate: SlicesGate) -> str:
    low, high = _number(interval.low), _number(interval.high)
    return f"{_number(interval.value)} ({low} to {high} at {gate.confidence * 100:g}%)"


def _measure(scored: Scored, metric: str) -> _Measure:
    if metric in COUNTED:
        return _of_counts(scored, metric)
    if metric in REGRESSION:
        return _of_numbers(scored, metric)
    return _of_scores(scored, metric)


def _of_counts(scored: Scored, metric: str) -> _Measure:
    truth, found, labels = scored.labels
    if metric in ONLY_OF_TWO and len(labels) > 2:
        raise _of_two_only(metric, labels)

    def table(rows: Rows) -> Numbers:
        counts = table_of(truth[rows], found[rows], len(labels))
        return counts if len(labels) == 2 else _at_least_three(without_absent(counts))

    return _Measure(
        value=lambda rows: float(counted(metric, table(rows))),
        made_of=lambda rows: int(support(metric, table(rows))),
        again=lambda rows, dice: np.where(
            support(metric, again := resampling.counts_again(table(rows), dice)) > 0,
            counted(metric, again),
            np.nan,
        ),
    )


def _at_least_three(table: Numbers) -> Numbers:
    """A slice may have two of many labels, none of them the positive one: it stays one of many."""
    missing = max(0, 3 - len(table))
    return np.pad(table, (0, missing)) if missing else table


def _of_numbers(scored: Scored, metric: str) -> _Measure:
    truth, found = scored.numbers

    def again(rows: Rows, dice: np.random.Generator) -> Numbers:
        return from_sums(
            metric, *resampling.sums_again(sums_of(metric, truth[rows], found[rows]), dice)
        )

    return _Measure(
        value=lambda rows: regression(metric, truth[rows], found[rows]), made_of=len, again=again
    )


def _of_scores(scored: Scored, metric: str) -> _Measure:
    truth, _, labels = scored.labels
    if len(labels) > 2:
        raise _of_two_only(metric, labels)
    positive, scores = truth == 1, scored.scores
    if metric == "log_loss":
        scored.refuse_no_probabilities()
        losses = losses_of(positive, scores).astype(np.float64).reshape(-1, 1)
        return _Measure(
            value=lambda rows: log_loss(positive[rows], scores[rows]),
            made_of=len,
            again=lambda rows, dice: from_sums(
                "log_loss", *resampling.sums_again(losses[rows], dice)
            ),
        )
    ranked = scores.astype(np.float64)
    return _Measure(
        value=lambda rows: roc_auc(positive[rows], ranked[rows]),
        made_of=lambda rows: int(min(positive[rows].sum(), (~positive[rows]).sum())),
        again=lambda rows, dice: resampling.ranks_again(positive[rows], ranked[rows], dice),
    )


def _of_two_only(metric: str, labels: Sequence[str]) -> SpecError:
    return SpecError(
        f"{metric} is of two labels",
        file="mlproject.toml",
        key="gates",
        found=f"{len(labels)}: {', '.join(labels[:5])}",
        hint="of more labels there are accuracy, balanced_accuracy, precision, recall and f1",
    )
