"""How well one feature alone predicts the label: leaks do, honest features do not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.metrics import balanced_accuracy_score, r2_score

from mllock.gates import power
from mllock.gates.power import Label, label_of, power_of
from mllock.gates.profile import mixed

LIMIT = 0.98
REAL = {
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
}


def label(values, positions=None) -> Label:
    series = pl.Series("y", values)
    places = np.arange(len(series)) if positions is None else positions
    found = label_of(series, places.astype(np.uint64), text=False)
    assert isinstance(found, Label), found
    return found


def power_with(values, of: Label) -> float:
    series = pl.Series("x", values)
    return power_of(series, of)


@pytest.mark.parametrize("name", REAL)
def test_no_feature_of_real_data_is_an_alarm_and_the_label_is(name):
    data = REAL[name]()
    y = label(data.target)
    rng = np.random.default_rng(0)
    powers = [power_with(data.data[:, place], y) for place in range(data.data.shape[1])]
    assert max(powers) < 0.95
    assert all(0 <= found <= 1 for found in powers)
    noise = rng.normal(size=len(data.target))
    assert power_with(noise, y) < 0.2
    assert power_with(data.target, y) > 0.99
    # As text, where a class is met in both halves.
    named = power_with([f"class {value}" for value in data.target], y)
    assert named == 1.0 if y.ranks is None else named > 0.5
    # In disguise: other units, a little noise, the other way round.
    disguised = 1000 - 3.7 * (data.target + 0.01 * data.target.std() * noise)
    assert power_with(disguised, y) > LIMIT


def test_what_differs_in_each_row_says_nothing():
    rng = np.random.default_rng(1)
    for target in (rng.integers(0, 2, 2000), rng.normal(size=2000)):
        y = label(target)
        assert power_with([f"patient-{place}" for place in range(2000)], y) == 0.0
        assert power_with(rng.permutation(2000), y) < 0.1


def test_a_row_number_of_sorted_data_does_predict():
    """It is a leak: a model that is given it learns the order of the file."""
    assert power_with(range(300), label([0] * 150 + [1] * 150)) > LIMIT


def test_that_a_value_is_missing_predicts_as_a_value_does():
    rng = np.random.default_rng(2)
    target = rng.integers(0, 2, 500)
    assert (
        power_with(
            [None if y else 7.0 + x for y, x in zip(target, rng.random(500), strict=True)],
            label(target),
        )
        == 1.0
    )
    assert power_with([None if y else "home" for y in target], label(target)) == 1.0


def test_numbers_that_are_names_predict_by_value():
    """A code is a number, and near numbers have nothing in common."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 200, 20_000)
    of_code = rng.integers(0, 2, 200)
    assert power_with(codes, label(of_code[codes])) == 1.0


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    rng = np.random.default_rng(4)
    target = (rng.random(20_000) < 0.002).astype(int)
    y = label(target)
    assert power_with(target + 0.1 * rng.random(20_000), y) == 1.0
    assert power_with(np.zeros(20_000), y) == 0.0
    # It finds half of the rare ones: the power is a half, though nearly all rows are right.
    half = target * (rng.random(20_000) < 0.5)
    assert 0.3 < power_with(half, y) < 0.7


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1] * 50, "the label has one value in all rows"),
        ([None] * 50, "the label is missing"),
        (["a", "b"] * 15, "too few rows: fewer than two labels have 20 rows or more"),
        (
            [f"name {place}" for place in range(100)],
            "too few rows: fewer than two labels have 20 rows or more",
        ),
        ([0.5 * place for place in range(40)], "40 rows are too few to tell"),
    ],
)
def test_not_told(values, reason):
    series = pl.Series("y", values)
    assert label_of(series, np.arange(len(values), dtype=np.uint64), text=False) == reason


def test_chance_is_no_alarm_however_few_rows_there_are():
    rng = np.random.default_rng(5)
    highest = 0.0
    for rows in (40, 50, 60, 100):
        for part in (0.5, 0.3):
            for _ in range(10):
                target = (rng.random(rows) < part).astype(int)
                found = label_of(pl.Series(target), np.arange(rows, dtype=np.uint64), text=False)
                if isinstance(found, Label):
                    powers = [power_with(rng.normal(size=rows), found) for _ in range(30)]
                    highest = max(highest, *powers)
    assert 0.3 < highest < 0.9


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.integers(100, 300))
def test_power_of_classes_is_what_scikit_learn_says(seed, size):
    """Balanced accuracy, adjusted for chance, of the table that was learned."""
    rng = np.random.default_rng(seed)
    x = rng.choice(list("abcd"), size).tolist()
    y = [of if rng.random() < 0.5 else rng.choice(list("xyz")).item() for of in x]
    pairs = list(zip(x, y, strict=True))
    found = label_of(pl.Series(y), np.arange(len(y), dtype=np.uint64), text=False)
    if isinstance(found, str):
        return
    rows = [pairs[row] for row in found.rows]
    learned = [pair for pair, learn in zip(rows, found.learn, strict=True) if learn]
    judged = [pair for pair, learn in zip(rows, found.learn, strict=True) if not learn]
    size = {of: sum(pair[1] == of for pair in learned) for of in {pair[1] for pair in learned}}
    frequent = max(sorted(size), key=lambda of: size[of])

    def says(value: str) -> str:
        parts = {of: sum(pair == (value, of) for pair in learned) / size[of] for of in sorted(size)}
        best = max(parts, key=lambda of: parts[of])
        return best if parts[best] else frequent

    expected = balanced_accuracy_score(
        [pair[1] for pair in judged], [says(pair[0]) for pair in judged], adjusted=True
    )
    assert power_of(pl.Series(x), found) == pytest.approx(max(0.0, expected), abs=1e-6)


def test_power_of_numbers_is_the_r2_of_their_ranks():
    rng = np.random.default_rng(6)
    x = rng.integers(0, 5, 1000)
    y = np.exp(x + rng.normal(size=1000))
    found = label(y)
    ranks = np.argsort(np.argsort(y))
    means = np.array([ranks[found.learn & (x == value)].mean() for value in range(5)])
    judged = ~found.learn
    wrong = np.square(ranks[judged] - means[x[judged]]).sum()
    expected = 1 - wrong / np.square(ranks[judged] - ranks[found.learn].mean()).sum()
    assert power_with([f"{value}" for value in x], found) == pytest.approx(expected, abs=1e-6)
    # Of halves as alike as these, that is as good as R2 itself.
    assert expected == pytest.approx(r2_score(ranks[judged], means[x[judged]]), abs=0.01)


def test_halves_are_of_positions_alone():
    values = [place % 3 for place in range(600)]
    found = label(values)
    assert found.learn.tolist() == [
        bool(int(n) & 1) for n in mixed(np.arange(600, dtype=np.uint64))
    ]
    assert 0.4 < found.learn.mean() < 0.6


def test_a_label_of_few_numbers_is_of_classes():
    assert label([place % power.CLASSES for place in range(2000)]).ranks is None
    assert label([place % (power.CLASSES + 1) for place in range(2000)]).classes is None


@pytest.mark.parametrize("word", ["?", "-", "unknown", " ", "1,5", "NaT"])
def test_a_word_among_numbers_hides_nothing(word):
    rng = np.random.default_rng(8)
    x = rng.normal(size=400)
    one = [repr(value) for value in x.tolist()]
    one[7] = word
    places = np.arange(400, dtype=np.uint64)
    assert power_of(pl.Series(one), label(x)) > LIMIT
    noisy = [repr(value) for value in ((x > 0) + 0.01 * rng.normal(size=400)).tolist()]
    noisy[5] = word
    assert power_of(pl.Series(noisy), label(x > 0)) > LIMIT
    # Nor one in a label of numbers; its row does not count.
    found = label_of(pl.Series(one), places, text=True)
    assert found.ranks is not None
    assert 7 not in found.rows
    assert power_of(pl.Series(x), found) > LIMIT
    # Where most are words, numbers are words.
    words = [value if place % 3 == 0 else f"w{place}" for place, value in enumerate(one)]
    assert power_of(pl.Series(words), label(x)) < 0.5


def test_each_word_among_numbers_says_what_it_says():
    rng = np.random.default_rng(9)
    y = rng.integers(0, 4, 800)
    x = [("n/k", "?", None)[of - 1] if of else str(rng.random()) for of in y.tolist()]
    x = [
        str(rng.random()) if of == 0 or rng.random() < 0.02 else was
        for of, was in zip(y, x, strict=True)
    ]
    assert power_of(pl.Series(x + ["0.5"] * 2000), label([*y.tolist()] + [None] * 2000)) > 0.9
