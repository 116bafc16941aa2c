"""Slices: fairlearn's values, intervals that hold what they say, and what is too small to tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from support.evaluating import table
from support.slices import TERMS, Read, gate, judged, reader

from mllock.core.digest import sha256_of
from mllock.errors import MllockError
from mllock.gates.open import open_file
from mllock.gates.resampling import counts_again, difference, generator, ranks_again, ratio
from mllock.gates.scored import Scored
from mllock.gates.slices import judge_slices, value_of
from mllock.spec.gates import SLICE_METRICS
from mllock.spec.types import DataSource

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fairlearn imports what its dependencies deprecate
    import fairlearn.metrics as fair


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return reader(tmp_path)


def of_groups(groups: Mapping[str, tuple[int, int, int, int]]) -> tuple[str, str]:
    """Data and predictions: of each group true positives, false negatives, false positives, true
    negatives."""
    data = table(groups)
    found = ["prediction", *(line.rpartition(",")[2] for line in data.splitlines()[1:])]
    return data, "\n".join(found) + "\n"


def test_a_planted_difference_is_found(read: Read) -> None:
    scored = read(*of_groups({"f": (60, 40, 10, 90), "m": (95, 5, 10, 90)}))
    (result,) = judged(scored, gate())
    assert (result.gate, result.subject, result.verdict) == (
        "slices",
        "test: recall by sex",
        "failed",
    )
    assert result.summary == (
        "recall is 0.6 for sex = f and 0.95 for sex = m: a difference of 0.35 (0.245 to 0.455 at "
        "95%), at most 0.1"
    )
    assert (result.measured, result.limit) == (0.35, 0.1)
    details = result.details
    assert (details["metric"], details["by"]) == ("recall", ["sex"])
    assert [one["slice"] for one in details["slices"]] == [{"sex": "f"}, {"sex": "m"}]
    assert [one["rows"] for one in details["slices"]] == [200, 200]
    for one in details["slices"]:
        assert one["judged"]
        assert one["low"] < one["value"] < one["high"]
    # The same for everybody, whatever else is asked; another for other inputs.
    assert judged(scored, gate()) == [result]
    assert judged(scored, gate(by=("sex", "label"), intersections=False))[0] == result
    other = judge_slices(
        scored, gate(), TERMS, source="test", key="gates.slices", inputs={"data/test": INPUTS_2}
    )
    assert next(iter(other)).details["slices"] != details["slices"]


INPUTS_2 = sha256_of(b"another")


def test_the_interval_decides_and_not_the_value(read: Read) -> None:
    """A difference of 0.2 in a hundred rows may be chance, in a thousand it is none."""
    few = read(*of_groups({"f": (35, 15, 5, 45), "m": (45, 5, 5, 45)}))
    (result,) = judged(few, gate())
    assert (result.verdict, round(result.measured or 0, 3)) == ("passed", 0.2)
    many = read(*of_groups({"f": (700, 300, 5, 45), "m": (900, 100, 5, 45)}))
    (result,) = judged(many, gate())
    assert (result.verdict, round(result.measured or 0, 3)) == ("failed", 0.2)


def test_twelve_rows_are_no_verdict(read: Read) -> None:
    scored = read(*of_groups({"f": (100, 5, 5, 90), "m": (0, 12, 0, 0)}))
    (result,) = judged(scored, gate("accuracy"))
    assert (result.verdict, result.summary) == (
        "not judged",
        "only the slice sex = f has 30 rows, of 2",
    )
    assert [one["judged"] for one in result.details["slices"]] == [True, False]
    assert "difference" not in result.details
    # Rows enough, and a recall of 12 of them.
    scored = read(*of_groups({"f": (100, 5, 5, 90), "m": (0, 12, 0, 188)}))
    (result,) = judged(scored, gate())
    assert (result.verdict, result.summary) == (
        "not judged",
        "only the slice sex = f has 30 rows that recall is made of, of 2",
    )
    # One class only: there is no recall of it.
    scored = read(*of_groups({"f": (0, 0, 5, 90), "m": (0, 0, 9, 90)}))
    (result,) = judged(scored, gate())
    assert (result.verdict, result.summary) == (
        "not judged",
        "no slice has 30 rows that recall is made of, of 2",
    )
    scored = read(*of_groups({"f": (40, 5, 5, 90)}))
    (result,) = judged(scored, gate())
    assert result.summary == "there is one slice only, sex = f"


def test_intersections(read: Read) -> None:
    """Each column alone is fair, and both together are not."""
    rows = ["age,sex,label"]
    found = ["prediction"]
    for age in ("old", "young"):
        for sex in ("f", "m"):
            right = 190 if (age == "old") == (sex == "f") else 110
            rows += [f"{age},{sex},1"] * 200
            found += ["1"] * right + ["0"] * (200 - right)
    scored = read("\n".join(rows) + "\n", "\n".join(found) + "\n")
    results = judged(scored, gate(by=("sex", "age")))
    assert [(one.subject, one.verdict) for one in results] == [
        ("test: recall by sex", "passed"),
        ("test: recall by age", "passed"),
        ("test: recall by sex, age", "failed"),
    ]
    assert [one["slice"] for one in results[2].details["slices"]] == [
        {"sex": sex, "age": age} for sex in ("f", "m") for age in ("old", "young")
    ]
    assert len(judged(scored, gate(by=("sex", "age"), intersections=False))) == 2


def test_equalised_odds_is_two_results(read: Read) -> None:
    scored = read(*of_groups({"f": (90, 10, 60, 40), "m": (90, 10, 5, 95)}))
    results = judged(scored, gate("equalized_odds"))
    assert [(one.subject, one.verdict) for one in results] == [
        ("test: equalized_odds, true_positive_rate by sex", "passed"),
        ("test: equalized_odds, false_positive_rate by sex", "failed"),
    ]


def test_ratios(read: Read) -> None:
    scored = read(*of_groups({"f": (40, 0, 10, 150), "m": (40, 0, 60, 100)}))
    (result,) = judged(scored, gate("selection_rate", min_ratio=0.8))
    assert result.verdict == "failed"
    assert result.summary.startswith(
        "selection_rate is 0.25 for sex = f and 0.5 for sex = m: a ratio of 0.5 ("
    )
    (result,) = judged(scored, gate("selection_rate", min_ratio=0.5))
    assert result.verdict == "passed"
    # What fails is what is said.
    (result,) = judged(scored, gate("selection_rate", min_ratio=0.1, max_difference=0.05))
    assert (result.verdict, result.limit) == ("failed", 0.05)
    (result,) = judged(scored, gate("selection_rate", min_ratio=0.9, max_difference=0.9))
    assert (result.verdict, result.limit) == ("failed", 0.9)
    nothing = read(*of_groups({"f": (0, 50, 0, 50), "m": (0, 50, 0, 50)}))
    (result,) = judged(nothing, gate("selection_rate", min_ratio=0.9))
    assert (result.verdict, result.summary) == (
        "not judged",
        "selection_rate is 0 for each of 2 slices: there is no ratio where nothing is above 0",
    )


def test_slices_that_are_all_the_same(read: Read) -> None:
    (result,) = judged(read(*of_groups({"f": (40, 0, 0, 40), "m": (50, 0, 0, 50)})), gate())
    assert (result.verdict, result.summary) == (
        "passed",
        "recall is 1 for each of 2 slices: a difference of 0 (0 to 0 at 95%), at most 0.1",
    )


def test_a_missing_group_is_a_group(read: Read) -> None:
    data = "sex,label\n" + "f,1\n" * 50 + ",1\n" * 50
    scored = read(data, "prediction\n" + "1\n" * 50 + "0\n" * 25 + "1\n" * 25)
    (result,) = judged(scored, gate())
    assert [one["slice"] for one in result.details["slices"]] == [{"sex": None}, {"sex": "f"}]
    assert result.summary.startswith("recall is 0.5 for sex missing and 1 for sex = f:")


ORACLES: dict[str, Callable[..., float]] = {
    "accuracy": sk.accuracy_score,
    "recall": lambda true, found: sk.recall_score(true, found, labels=[0, 1]),
    "precision": lambda true, found: sk.precision_score(true, found, labels=[0, 1]),
    "selection_rate": fair.selection_rate,
    "false_negative_rate": fair.false_negative_rate,
    "false_positive_rate": fair.false_positive_rate,
    "true_positive_rate": fair.true_positive_rate,
}


@settings(max_examples=5)
@given(st.lists(st.tuples(*(st.integers(1, 40) for _ in range(4))), min_size=2, max_size=4))
def test_as_fairlearn(tmp_path_factory: Any, counts: list[tuple[int, int, int, int]]) -> None:
    folder = tmp_path_factory.mktemp("fair")
    data, found = of_groups({f"g{number}": count for number, count in enumerate(counts)})
    (folder / "t.csv").write_text(data)
    (folder / "p.csv").write_text(found)
    scored = Scored(
        open_file("test", folder / "t.csv", shown="t"),
        open_file("predictions", folder / "p.csv", shown="p"),
        DataSource(source="t.csv", label="label"),
        place="p",
    )
    rows = [line.split(",") for line in data.splitlines()[1:]]
    true = np.array([int(row[2]) for row in rows])
    predicted = np.array([int(row[3]) for row in rows])
    groups = np.array([row[1] for row in rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for metric, oracle in ORACLES.items():
            frame = fair.MetricFrame(
                metrics=oracle, y_true=true, y_pred=predicted, sensitive_features=groups
            )
            (result,) = judged(scored, gate(metric, min_rows=1))
            slices = result.details["slices"]
            assert [one["value"] for one in slices] == frame.by_group.tolist()
            assert result.details["difference"]["value"] == frame.difference()
            assert result.details["ratio"]["value"] == frame.ratio()
            assert value_of(scored, metric) == frame.overall
        both = {"y_true": true, "y_pred": predicted, "sensitive_features": groups}
        (parity,) = judged(scored, gate("demographic_parity", min_rows=1))
        assert parity.measured == fair.demographic_parity_difference(**both)
        assert parity.details["ratio"]["value"] == fair.demographic_parity_ratio(**both)
        odds = judged(scored, gate("equalized_odds", min_rows=1))
        assert max(one.measured or 0 for one in odds) == fair.equalized_odds_difference(**both)
        assert min(one.details["ratio"]["value"] for one in odds) == (
            fair.equalized_odds_ratio(**both)
        )
        (equal,) = judged(scored, gate("equal_opportunity", min_rows=1))
        assert equal.measured == fair.equal_opportunity_difference(**both)


def test_every_metric_of_slices_is_computed(read: Read) -> None:
    dice = np.random.default_rng(7)
    rows = 400
    label = (dice.random(rows) < 0.4).astype(int)
    score = np.clip(label * 0.3 + dice.random(rows) * 0.7, 0.01, 0.99)
    groups = dice.integers(0, 2, rows)
    data = "sex,label\n" + "".join(f"{g},{y}\n" for g, y in zip(groups, label, strict=True))
    found = "prediction,score\n" + "".join(f"{int(s > 0.5)},{s!r}\n" for s in score.tolist())
    scored = read(data, found)
    for metric in SLICE_METRICS:
        assert value_of(scored, metric) is not None
        (result,) = judged(scored, gate(metric, max_difference=10.0))
        assert result.verdict == "passed"
        assert 0 <= result.details["difference"]["low"] <= (result.measured or 0)
        for one in result.details["slices"]:
            assert one["low"] <= one["value"] <= one["high"]
    assert value_of(scored, "roc_auc") == sk.roc_auc_score(label, score)
    assert value_of(scored, "log_loss") == sk.log_loss(label, score)
    assert value_of(scored, "perplexity") is None


def test_of_more_labels(read: Read) -> None:
    """A slice may have two of the labels only: it stays one of many."""
    data = "sex,label\n" + "f,a\nf,b\nf,c\n" * 20 + "m,a\nm,b\n" * 20
    found = "prediction\n" + "a\nb\nb\n" * 20 + "a\na\n" * 20
    scored = read(data, found)
    for metric, oracle in (
        ("accuracy", sk.accuracy_score),
        ("balanced_accuracy", sk.balanced_accuracy_score),
        ("f1", lambda true, found: sk.f1_score(true, found, average="macro")),
    ):
        (result,) = judged(scored, gate(metric))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [
                float(oracle(["a", "b", "c"] * 20, ["a", "b", "b"] * 20)),
                float(oracle(["a", "b"] * 20, ["a", "a"] * 20)),
            ]
        assert [one["value"] for one in result.details["slices"]] == expected
    with pytest.raises(MllockError) as caught:
        judged(scored, gate("selection_rate"))
    assert str(caught.value) == (
        "mlproject.toml: gates: selection_rate is of two labels\nfound: 3: a, b, c\n"
        "hint: of more labels there are accuracy, balanced_accuracy, precision, recall and f1"
    )


def alarms(difference_of: float, slices: int, rows: int, tries: int) -> float:
    """How often a gate of max-difference 0 to 0.1 fails for recalls that differ by that much."""
    dice = np.random.default_rng(7)
    rates = np.full(slices, 0.8)
    rates[-1] -= difference_of
    failed = 0
    for number in range(tries):
        values, again = [], []
        for place, rate in enumerate(rates):
            hits = int(dice.binomial(rows, rate))
            counts = np.array([[0.0, 0.0], [float(rows - hits), float(hits)]])
            drawn = counts_again(counts, generator(number, place))
            values.append(hits / rows)
            again.append(drawn[:, 1, 1] / rows)
        found = difference(np.array(values), np.stack(again), 0.95)
        failed += found.low > 0
    return failed / tries


def test_no_alarm_without_a_difference() -> None:
    """However many slices are looked at: two of twenty are always far apart by chance."""
    for slices in (2, 20):
        assert alarms(0.0, slices, 60, 100) <= 0.1
    assert alarms(0.3, 5, 200, 30) >= 0.9


def test_intervals_of_areas_and_of_ratios() -> None:
    dice = np.random.default_rng(7)
    positive = dice.random(5000) < 0.3
    scores = np.where(positive, 0.2, 0.0) + dice.random(5000)
    exact = sk.roc_auc_score(positive, scores)
    again = ranks_again(positive, scores, generator("x"))
    assert abs(float(np.mean(again)) - exact) < 0.002
    # Hanley and McNeil 1982: the error of an area.
    assert 0.006 < float(np.std(again)) < 0.012
    found = ratio(np.array([0.4, 0.8]), np.array([[0.4, 0.42, 0.38], [0.8, 0.82, 0.78]]), 0.9)
    assert found is not None
    assert found.low < found.value == 0.5 < found.high


def cut(rows: int) -> Iterator[int]:
    """Where batches may end."""
    yield from (1, 3, rows)


def test_the_same_whatever_the_cutting(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    data, found = of_groups({"f": (60, 40, 10, 90), "m": (95, 5, 10, 90)})
    whole = judged(read(data, found), gate())
    from mllock.gates.parts import PartsTable

    batches = PartsTable.batches
    for size in cut(400):
        monkeypatch.setattr(
            PartsTable, "batches", lambda self, columns=None, s=size: batches(self, columns, rows=s)
        )
        assert judged(read(data, found), gate()) == whole
