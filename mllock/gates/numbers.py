"""Metrics that are made of numbers: of values that were predicted, and of scores.

Written in scikit-learn's order of operations, so that sums of floating point come out the same to
the last digit. Regression and log loss are made of a few sums over rows (`sums_of`, `from_sums`):
those are what is resampled. The area under the ROC curve is made of ranks. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "REGRESSION",
    "Numbers",
    "Scores",
    "from_sums",
    "log_loss",
    "losses_of",
    "regression",
    "roc_auc",
    "sums_of",
]

Numbers = NDArray[np.float64]
Scores = NDArray[np.float64] | NDArray[np.float32]
Flags = NDArray[np.bool_]


def regression(metric: str, truth: Numbers, predicted: Numbers) -> float:
    """`metric` is one of REGRESSION; NaN for r2 of fewer than two rows."""
    # A column, as scikit-learn has it: sums over it are added up in the same order.
    return REGRESSION[metric](truth.reshape(-1, 1), predicted.reshape(-1, 1))


def _mean_absolute_error(truth: Numbers, predicted: Numbers) -> float:
    return _mean(np.average(np.abs(predicted - truth), axis=0))


def _mean_squared_error(truth: Numbers, predicted: Numbers) -> float:
    return _mean(np.average((truth - predicted) ** 2, axis=0))


def _root_mean_squared_error(truth: Numbers, predicted: Numbers) -> float:
    return _mean(np.sqrt(np.average((truth - predicted) ** 2, axis=0)))


def _mean_absolute_percentage_error(truth: Numbers, predicted: Numbers) -> float:
    least = np.finfo(np.float64).eps
    return _mean(np.average(np.abs(predicted - truth) / np.maximum(np.abs(truth), least), axis=0))


def _r2(truth: Numbers, predicted: Numbers) -> float:
    if len(truth) < 2:
        return float("nan")
    above = float(np.sum((truth - predicted) ** 2, axis=0)[0])
    below = float(np.sum((truth - np.average(truth, axis=0)) ** 2, axis=0)[0])
    return _explained(above, below)


def _explained(above: float, below: float) -> float:
    if above == 0:
        return 1.0
    return 0.0 if below == 0 else 1 - above / below


def _mean_prediction(_truth: Numbers, predicted: Numbers) -> float:
    values = predicted[:, 0]
    ones = np.ones(len(values))
    return float(np.dot(values, ones) / ones.sum())


def _mean(values: Numbers) -> float:
    return float(np.average(values))


REGRESSION: Mapping[str, Callable[[Numbers, Numbers], float]] = MappingProxyType(
    {
        "mean_absolute_error": _mean_absolute_error,
        "mean_squared_error": _mean_squared_error,
        "root_mean_squared_error": _root_mean_squared_error,
        "mean_absolute_percentage_error": _mean_absolute_percentage_error,
        "r2": _r2,
        "mean_prediction": _mean_prediction,
    }
)


def sums_of(metric: str, truth: Numbers, predicted: Numbers) -> Numbers:
    """What each row adds to the sums that the metric is made of: rows x sums."""
    match metric:
        case "mean_absolute_error":
            return np.abs(predicted - truth).reshape(-1, 1)
        case "mean_absolute_percentage_error":
            least = np.maximum(np.abs(truth), np.finfo(np.float64).eps)
            return (np.abs(predicted - truth) / least).reshape(-1, 1)
        case "mean_prediction":
            return predicted.reshape(-1, 1)
        case "r2":
            # Around one middle, so that squares of large values cancel nothing.
            around = truth - np.mean(truth) if len(truth) else truth
            return np.stack(((truth - predicted) ** 2, around, around**2), axis=1)
    return ((truth - predicted) ** 2).reshape(-1, 1)


def from_sums(metric: str, sums: Numbers, rows: Numbers) -> Numbers:
    """The metric of each resample: `sums` are resamples x sums, `rows` how many rows each has."""
    if metric == "r2":
        below = sums[:, 2] - sums[:, 1] ** 2 / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(below > 0, 1 - sums[:, 0] / below, np.nan)
    value = sums[:, 0] / rows
    return np.sqrt(value) if metric == "root_mean_squared_error" else value


def roc_auc(positive: Flags, scores: Numbers) -> float:
    """Area under the ROC curve; NaN if only one label is there."""
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], positive[order].astype(np.float64)
    ends = np.concatenate([np.nonzero(np.diff(scores))[0], [len(scores) - 1]])
    true = np.cumsum(hits)[ends]
    false = 1 + ends.astype(np.float64) - true
    if len(false) > 2:
        # Points on a line between others: without them, as scikit-learn adds up.
        corners = np.logical_or(np.diff(false, 2), np.diff(true, 2))
        kept = np.nonzero(np.concatenate([[True], corners, [True]]))[0]
        true, false = true[kept], false[kept]
    true, false = np.concatenate([[0.0], true]), np.concatenate([[0.0], false])
    return float(np.trapezoid(true / true[-1], false / false[-1]))


def losses_of(positive: Flags, scores: Scores) -> Scores:
    """The log loss of each row, of the probabilities of the positive label; in their precision, by
    which scikit-learn clips."""
    both = np.stack((1 - scores, scores), axis=1)
    least = np.spacing(both.dtype.type(1))
    both = np.clip(both, least, 1 - least)
    labels = np.stack((~positive, positive), axis=1).astype(both.dtype)
    return np.asarray(-np.sum(np.where(labels == 0, 0.0, labels * np.log(both)), axis=1))


def log_loss(positive: Flags, scores: Scores) -> float:
    return float(np.average(losses_of(positive, scores)))
