"""Metrics are scikit-learn's and fairlearn's, to the last digit; also where they divide by zero."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as sk

from mllock.gates.counts import (
    COUNTED,
    ONLY_OF_TWO,
    counted,
    support,
    table_of,
    without_absent,
)
from mllock.gates.numbers import (
    REGRESSION,
    from_sums,
    log_loss,
    regression,
    roc_auc,
    sums_of,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fairlearn imports what its dependencies deprecate
    from fairlearn import metrics as fair

Oracle = Callable[[Any, Any], float]

OF_TWO: dict[str, Oracle] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": lambda true, found: sk.precision_score(true, found, labels=[0, 1]),
    "recall": lambda true, found: sk.recall_score(true, found, labels=[0, 1]),
    "f1": lambda true, found: sk.f1_score(true, found, labels=[0, 1]),
    "specificity": fair.true_negative_rate,
    "true_positive_rate": fair.true_positive_rate,
    "true_negative_rate": fair.true_negative_rate,
    "false_positive_rate": fair.false_positive_rate,
    "false_negative_rate": fair.false_negative_rate,
    "selection_rate": fair.selection_rate,
}
OF_MORE: dict[str, Oracle] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": lambda true, found: sk.precision_score(true, found, average="macro"),
    "recall": lambda true, found: sk.recall_score(true, found, average="macro"),
    "f1": lambda true, found: sk.f1_score(true, found, average="macro"),
}
OF_NUMBERS: dict[str, Oracle] = {
    "mean_absolute_error": sk.mean_absolute_error,
    "mean_squared_error": sk.mean_squared_error,
    "root_mean_squared_error": sk.root_mean_squared_error,
    "mean_absolute_percentage_error": sk.mean_absolute_percentage_error,
    "r2": sk.r2_score,
    "mean_prediction": fair.mean_prediction,
}


def quietly(oracle: Oracle, true: Any, found: Any) -> float:
    """What it answers: it warns where it divides by zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(oracle(true, found))


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


def labelled(labels: int) -> st.SearchStrategy[tuple[Any, Any]]:
    codes = st.lists(
        st.tuples(st.integers(0, labels - 1), st.integers(0, labels - 1)), min_size=1, max_size=60
    )
    return codes.map(lambda pairs: tuple(np.array(pairs, dtype=np.int32).T))


def test_every_metric_has_its_oracle() -> None:
    assert OF_TWO.keys() == COUNTED.keys()
    assert OF_MORE.keys() == COUNTED.keys() - ONLY_OF_TWO
    assert OF_NUMBERS.keys() == REGRESSION.keys()


@pytest.mark.parametrize("metric", OF_TWO)
@settings(max_examples=30)
@given(labelled(2))
@example((np.zeros(3, np.int32), np.zeros(3, np.int32)))
@example((np.ones(3, np.int32), np.ones(3, np.int32)))
@example((np.zeros(3, np.int32), np.ones(3, np.int32)))
@example((np.ones(1, np.int32), np.zeros(1, np.int32)))
def test_of_two_labels(metric: str, rows: tuple[Any, Any]) -> None:
    true, found = rows
    assert float(counted(metric, table_of(true, found, 2))) == quietly(OF_TWO[metric], true, found)


@pytest.mark.parametrize("metric", OF_MORE)
@settings(max_examples=30)
@given(labelled(12))
def test_of_more_labels(metric: str, rows: tuple[Any, Any]) -> None:
    true, found = rows
    table = without_absent(table_of(true, found, 12))
    if len(table) > 2:
        assert float(counted(metric, table)) == quietly(OF_MORE[metric], true, found)


@pytest.mark.parametrize("metric", COUNTED)
@settings(max_examples=30)
@given(st.lists(labelled(2), min_size=1, max_size=4))
def test_many_tables_at_once(metric: str, several: list[tuple[Any, Any]]) -> None:
    tables = [table_of(true, found, 2) for true, found in several]
    together = counted(metric, np.stack(tables))
    assert together.tolist() == [float(counted(metric, table)) for table in tables]
    supports = support(metric, np.stack(tables))
    assert supports.tolist() == [float(support(metric, table)) for table in tables]


@pytest.mark.parametrize("metric", OF_MORE)
@settings(max_examples=30)
@given(st.lists(labelled(4), min_size=2, max_size=4))
def test_many_tables_of_more_labels(metric: str, several: list[tuple[Any, Any]]) -> None:
    """Labels that one of them has not do not count in it. Sums may differ in their last digit."""
    tables = [table_of(true, found, 4) for true, found in several]
    for table, value in zip(tables, counted(metric, np.stack(tables)).tolist(), strict=True):
        alone = without_absent(table)
        if len(alone) != 2:
            assert value == pytest.approx(float(counted(metric, alone)), rel=1e-12)


def test_what_a_value_is_made_of() -> None:
    table = np.array([[50.0, 10.0], [3.0, 7.0]])
    found = {metric: int(support(metric, table)) for metric in COUNTED}
    assert found == {
        "accuracy": 70,
        "balanced_accuracy": 10,
        "precision": 17,
        "recall": 10,
        "f1": 20,
        "specificity": 60,
        "true_positive_rate": 10,
        "true_negative_rate": 60,
        "false_positive_rate": 60,
        "false_negative_rate": 10,
        "selection_rate": 70,
    }
    assert int(support("recall", np.ones((3, 3)))) == 9


numbers = st.integers(1, 300).flatmap(
    lambda rows: st.tuples(
        *(
            arrays.arrays(np.float64, rows, elements=st.floats(-1e6, 1e6, width=32))
            for _ in range(2)
        )
    )
)


@pytest.mark.parametrize("metric", OF_NUMBERS)
@settings(max_examples=30)
@given(numbers)
@example((np.array([1.0]), np.array([2.0])))
@example((np.array([1.0, 1.0]), np.array([1.0, 1.0])))
@example((np.array([1.0, 1.0]), np.array([1.0, 2.0])))
@example((np.zeros(5), np.arange(5.0)))
def test_of_numbers(metric: str, rows: tuple[Any, Any]) -> None:
    true, found = rows
    assert same(regression(metric, true, found), quietly(OF_NUMBERS[metric], true, found))


@pytest.mark.parametrize("metric", OF_NUMBERS)
@settings(max_examples=30)
@given(numbers)
def test_sums_make_the_metric(metric: str, rows: tuple[Any, Any]) -> None:
    true, found = rows
    sums = sums_of(metric, true, found).sum(axis=0, keepdims=True)
    (value,) = from_sums(metric, sums, np.array([float(len(true))]))
    expected = regression(metric, true, found)
    if metric == "r2" and (np.ptp(true) == 0 or len(true) < 2):
        return  # no spread: an agreement, not a quotient
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)


scored = st.integers(1, 300).flatmap(
    lambda rows: st.tuples(
        arrays.arrays(np.bool_, rows),
        arrays.arrays(
            np.float64, rows, elements=st.sampled_from((0.0, 0.25, 0.5, 1.0)) | st.floats(0, 1)
        ),
    )
)


@settings(max_examples=30)
@given(scored)
@example((np.array([True, False]), np.array([0.5, 0.5])))
def test_area_under_the_curve(rows: tuple[Any, Any]) -> None:
    positive, scores = rows
    assert same(roc_auc(positive, scores), quietly(sk.roc_auc_score, positive, scores))


@settings(max_examples=30)
@given(scored)
@example((np.array([True, False]), np.array([0.0, 1.0])))
def test_log_loss(rows: tuple[Any, Any]) -> None:
    positive, scores = rows
    oracle = quietly(
        lambda true, found: sk.log_loss(true, found, labels=[False, True]), positive, scores
    )
    assert log_loss(positive, scores) == oracle


def test_with_a_million_rows() -> None:
    """Where the order of a sum is seen."""
    dice = np.random.default_rng(7)
    true, found = dice.normal(size=10**6) * 1e3, dice.normal(size=10**6)
    for metric, oracle in OF_NUMBERS.items():
        assert regression(metric, true, found) == float(oracle(true, found))
    positive, scores = dice.random(10**6) < 0.3, dice.random(10**6)
    assert roc_auc(positive, scores) == sk.roc_auc_score(positive, scores)
    assert log_loss(positive, scores) == sk.log_loss(positive, scores)
