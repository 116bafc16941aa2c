"""Metrics that are made of counts: what was predicted for what, in a table of labels.

A table is an array whose last two axes are the true and the predicted label, so that a thousand
resampled tables are judged at once. Of two labels the second is the positive one. Names, values and
what a division by zero gives are scikit-learn's and fairlearn's, to the last digit; of more labels
the macro average, where scikit-learn has one. `support` is how many rows a value is a part of: a
recall of 1 in three rows is made of three. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["COUNTED", "ONLY_OF_TWO", "Table", "counted", "support", "table_of", "without_absent"]

Table = NDArray[np.float64]
Codes = NDArray[np.int32]


def table_of(truth: Codes, predicted: Codes, labels: int) -> Table:
    """The table of rows whose labels are these numbers, below `labels`."""
    cells = np.bincount(truth.astype(np.int64) * labels + predicted, minlength=labels * labels)
    return cells.reshape(labels, labels).astype(np.float64)


def without_absent(table: Table) -> Table:
    """One table without labels that no row has: what an average over labels is of."""
    there = (table.sum(axis=0) + table.sum(axis=1)) > 0
    return table[np.ix_(there, there)]


def counted(metric: str, table: Table) -> Table:
    """The metric of each table. `metric` is one of COUNTED, and of ONLY_OF_TWO for two labels
    only."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value: Table = COUNTED[metric](table)
    return value


def support(metric: str, table: Table) -> Table:
    """How many rows the metric of each table is about."""
    if table.shape[-1] != 2:
        return _rows(table)
    negative, positive = table[..., 0, :].sum(axis=-1), table[..., 1, :].sum(axis=-1)
    match metric:
        case "recall" | "true_positive_rate" | "false_negative_rate":
            return np.asarray(positive)
        case "specificity" | "true_negative_rate" | "false_positive_rate":
            return np.asarray(negative)
        case "balanced_accuracy":
            return np.asarray(np.minimum(negative, positive))
        case "precision":
            return np.asarray(table[..., :, 1].sum(axis=-1))
        case "f1":
            return _rows(table) - table[..., 0, 0]
    return _rows(table)


def _rows(table: Table) -> Table:
    value: Table = table.sum(axis=(-2, -1))
    return value


def _accuracy(table: Table) -> Table:
    value: Table = np.trace(table, axis1=-2, axis2=-1) / _rows(table)
    return value


def _balanced_accuracy(table: Table) -> Table:
    """The mean of the recalls of labels that are in the data."""
    recall = _diagonal(table) / table.sum(axis=-1)
    if table.ndim == 2:
        # As scikit-learn adds them, which is not how zeros between them would.
        return np.asarray(np.mean(recall[~np.isnan(recall)]))
    value: Table = np.nansum(recall, axis=-1) / (~np.isnan(recall)).sum(axis=-1)
    return value


def _precision(table: Table) -> Table:
    return _average(table, _diagonal(table), table.sum(axis=-2))


def _recall(table: Table) -> Table:
    return _average(table, _diagonal(table), table.sum(axis=-1))


def _f1(table: Table) -> Table:
    both = table.sum(axis=-1) + table.sum(axis=-2)
    return _average(table, 2.0 * _diagonal(table), both)


def _average(table: Table, above: Table, below: Table) -> Table:
    """Of two labels the value of the positive one, else the mean over labels that are there.
    A division by zero gives 0, as scikit-learn's."""
    value = np.where(below == 0, 0.0, above / below)
    if table.shape[-1] == 2:
        return np.asarray(value[..., 1])
    there = (table.sum(axis=-1) + table.sum(axis=-2)) > 0
    if table.ndim == 2:
        return np.asarray(np.mean(value[there]))
    mean: Table = np.where(there, value, 0.0).sum(axis=-1) / there.sum(axis=-1)
    return mean


def _rate(true: int, predicted: int) -> Callable[[Table], Table]:
    def rate(table: Table) -> Table:
        value = table[..., true, predicted] / table[..., true, :].sum(axis=-1)
        return np.asarray(np.nan_to_num(value))

    return rate


def _selection_rate(table: Table) -> Table:
    value: Table = table[..., :, 1].sum(axis=-1) / _rows(table)
    return value


def _diagonal(table: Table) -> Table:
    return np.diagonal(table, axis1=-2, axis2=-1)


COUNTED: Mapping[str, Callable[[Table], Table]] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "precision": _precision,
        "recall": _recall,
        "f1": _f1,
        "specificity": _rate(0, 0),
        "true_positive_rate": _rate(1, 1),
        "true_negative_rate": _rate(0, 0),
        "false_positive_rate": _rate(0, 1),
        "false_negative_rate": _rate(1, 0),
        "selection_rate": _selection_rate,
    }
)
ONLY_OF_TWO = frozenset(
    (
        "specificity",
        "true_positive_rate",
        "true_negative_rate",
        "false_positive_rate",
        "false_negative_rate",
        "selection_rate",
    )
)
