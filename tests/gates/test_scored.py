"""Predictions beside data: how they are matched, and one message for what does not fit."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.slices import Read, gate, judged, reader

from mllock.errors import MllockError
from mllock.gates.alike import fold
from mllock.gates.labels import _folded, text_of
from mllock.gates.slices import value_of


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return reader(tmp_path)


@pytest.mark.parametrize(
    ("data", "predictions", "options", "message"),
    [
        (
            "label\n1\n0\n",
            "label\n1\n0\n",
            {},
            "predictions.csv: the predictions have no column of that name\n"
            'expected: a column "prediction", and "score" for metrics of scores\nfound: label',
        ),
        (
            "label\n1\n0\n",
            "prediction\n1\n",
            {},
            "predictions.csv: predictions of another length than the data\n"
            "expected: 2 rows, in the order of test\nfound: 1 rows",
        ),
        (
            "label\n1\n0\n",
            "prediction\n1\nNaN\n",
            {},
            'predictions.csv: "prediction" is missing\nfound: row 2',
        ),
        (
            "sex,label\nf,1\nf,\nm,NA\n",
            "prediction\n1\n1\n1\n",
            {},
            'data.test: "label" is missing\nfound: row 2 and 1 more',
        ),
        (
            "label\n",
            "prediction\n",
            {},
            "data/test.csv: no rows\nhint: put rows there, or another source",
        ),
        (
            "label\n1\n",
            "prediction\n",
            {},
            "predictions.csv: no rows\nhint: put rows there, or another source",
        ),
        (
            "label\n1\n",
            "prediction\n1,2\n",
            {},
            "predictions.csv:2: row 1 has 2 values\nexpected: 1, as the header has\n"
            "hint: add what is missing; values with a separator in them need quotes",
        ),
        (
            "label\nyes\nno\n",
            "prediction\n1\n0\n",
            {},
            "predictions.csv: no prediction is a label of the data\nexpected: no, yes\nfound: 0, 1",
        ),
        (
            "label\nyes\nno\n",
            "prediction\nyes\nno\n",
            {},
            "mlproject.toml: evaluate.positive: which label is positive is not known\n"
            'expected: "no" or "yes", the labels of test\nfound: "1", the default',
        ),
        (
            "label\nyes\nno\n",
            "prediction\nyes\nno\n",
            {"label": None},
            "mlproject.toml: data.test: no label is declared\n"
            'hint: add label = "COLUMN" to [data.test]: what predictions are compared with',
        ),
        (
            "label\nyes\nno\n",
            "prediction\nyes\nno\n",
            {"label": "lable"},
            "mlproject.toml: data.test.label: test has no column 'lable'\n"
            'hint: did you mean "label"?',
        ),
        (
            "id,label\n1,1\n2,0\n",
            "id,prediction\n2,1\n3,1\n",
            {"key": ("id",)},
            "predictions.csv: a row of the data has no prediction\n"
            "expected: one for each of 2 rows of test\nfound: none for id 1",
        ),
        (
            "id,label\n1,1\n2,0\n",
            "id,prediction\n2,1\n1,1\n3,1\n4,1\n",
            {"key": ("id",)},
            "predictions.csv: a prediction is about no row of the data\nfound: id 3 and 1 more",
        ),
        (
            "id,label\n1,1\n2,0\n",
            "id,prediction\n2,1\n2,1\n",
            {"key": ("id",)},
            "predictions.csv: a key is there twice\nfound: id 2",
        ),
        (
            "id,label\n1,1\n1,0\n",
            "id,prediction\n2,1\n1,1\n",
            {"key": ("id",)},
            "data.test: a key is there twice\nfound: id 1",
        ),
    ],
    ids=[
        *(
            "no column",
            "another length",
            "NaN",
            "no label in a row",
            "no rows",
            "no predictions",
            "no CSV",
            "other labels",
        ),
        *(
            "which is positive",
            "no label",
            "a slip",
            "no row",
            "too many",
            "twice",
            "twice in data",
        ),
    ],
)
def test_what_does_not_fit(
    read: Read, data: str, predictions: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MllockError) as caught:
        read(data, predictions, **options).labels  # noqa: B018 - reading is what is tested
    assert str(caught.value) == message
    # The program failed, if it is its file.
    assert caught.value.exit_code == (1 if message.startswith("predictions.csv") else 2)


def test_numbers_that_are_none(read: Read) -> None:
    for predictions, message in (
        ("1\nx\n", '"prediction" is not a finite number\nfound: row 2: x'),
        ("1\ninf\n", '"prediction" is not a finite number\nfound: row 2: inf'),
        ('1\n""\n', '"prediction" is missing\nfound: row 2'),
    ):
        with pytest.raises(MllockError) as caught:
            value_of(read("label\n1\n0\n", f"prediction\n{predictions}"), "r2")
        assert str(caught.value) == f"predictions.csv: {message}"
    with pytest.raises(MllockError) as caught:
        value_of(read("label\n1\n0\n", "prediction,score\n1,2\n0,0\n"), "log_loss")
    assert str(caught.value) == (
        'predictions.csv: "score" is no probability\nexpected: 0 to 1\nfound: 0 to 2'
    )
    assert value_of(read("label\n1\n0\n", "prediction\n1\n0\n"), "roc_auc") is None
    with pytest.raises(MllockError) as caught:
        judged(read("sex,label\nf,1\nm,0\n", "prediction\n1\n0\n"), gate("roc_auc"))
    assert str(caught.value) == (
        "predictions.csv: the predictions have no column of that name\n"
        'expected: a column "score" with the score of the positive label\nfound: prediction'
    )


def test_too_many_slices(read: Read) -> None:
    data = "age,label\n" + "".join(f"{number},1\n" for number in range(1001))
    scored = read(data, "prediction\n" + "1\n" * 1001)
    with pytest.raises(MllockError) as caught:
        judged(scored, gate(by=("age",)))
    assert str(caught.value) == (
        'data.test: "age" has too many values to be slices\nexpected: at most 1000\nfound: 1001\n'
        "hint: slice by a column of groups: bins of a number, not the number"
    )


def test_by_key_in_any_order(read: Read) -> None:
    data = "id,part,sex,label\n1,a,f,1\n2,a,f,0\n1,b,m,1\n2,b,m,1\n"
    found = "part,id,prediction\nb,2.0,0\na,02,0\nb,1,1\na,+1,1\n"
    scored = read(data, found, key=("id", "part"))
    truth, predicted, labels = scored.labels
    assert labels == ("0", "1")
    assert truth.tolist() == [1, 0, 1, 1]
    assert predicted.tolist() == [1, 0, 1, 0]


def test_a_key_of_any_name(read: Read) -> None:
    data = "place,0,^a$,label\n1,x,2,1\n2,x,2,0\n"
    found = "prediction,^a$,place,0\n0,2,2,x\n1,2,1,x\n"
    scored = read(data, found, key=("place", "^a$", "0"))
    assert scored.labels[1].tolist() == [1, 0]
    with pytest.raises(MllockError) as caught:
        read(data, "place,0,^a$,prediction\n1,y,2,1\n2,x,2,1\n", key=("place", "0")).labels  # noqa: B018
    assert str(caught.value) == (
        "predictions.csv: a row of the data has no prediction\n"
        "expected: one for each of 2 rows of test\nfound: none for place 1, 0 x"
    )


def test_keys_that_are_no_numbers(read: Read) -> None:
    scored = read("id,label\n001,1\n1,0\n01,0\n", "id,prediction\n1,0\n01,0\n001,1\n", key=("id",))
    assert scored.labels[1].tolist() == [1, 0, 0]
    # One of the two has both.
    with pytest.raises(MllockError) as caught:
        read("id,label\n001,1\n2,0\n", "id,prediction\n001,1\n1,1\n2,0\n", key=("id",)).labels  # noqa: B018
    assert str(caught.value) == (
        "predictions.csv: a prediction is about no row of the data\nfound: id 1"
    )


def test_no_value_of_the_data_is_said(read: Read) -> None:
    with pytest.raises(MllockError) as caught:
        value_of(read("label\n1\n45000 a year\n", "prediction\n1\n2\n"), "r2")
    assert str(caught.value) == 'data.test: "label" is not a finite number\nfound: row 2'
    with pytest.raises(MllockError) as caught:
        value_of(read("label\n1\n2\n", "prediction\n1\nmany\n"), "r2")
    assert str(caught.value) == (
        'predictions.csv: "prediction" is not a finite number\nfound: row 2: many'
    )
    numbers = "".join(f"{number}\n" for number in range(100, 110))
    with pytest.raises(MllockError) as caught:
        value_of(read(f"label\n{numbers}", "prediction\n" + "7\n" * 10), "accuracy")
    assert str(caught.value) == (
        "predictions.csv: no prediction is a label of the data\n"
        "expected: one of 10 labels\nfound: 7"
    )


def test_one_label_alone(read: Read) -> None:
    with pytest.raises(MllockError) as caught:
        value_of(read("label\nyes\nyes\n", "prediction\nyes\nyes\n"), "recall")
    assert str(caught.value) == (
        "mlproject.toml: evaluate.positive: which label is positive is not known\n"
        'expected: "yes", the only label of test, or another one\nfound: "1", the default'
    )
    known = read("label\nyes\nyes\n", "prediction\nyes\nyes\n", positive="yes")
    assert value_of(known, "recall") == 1.0
    none = read("label\nyes\nyes\n", "prediction\nyes\nyes\n", positive="no")
    assert (none.labels[2], value_of(none, "recall")) == (("yes", "no"), 0.0)


@pytest.mark.parametrize(("label", "found"), [("1", "0"), ("0", "1")])
def test_every_prediction_is_wrong(read: Read, label: str, found: str) -> None:
    scored = read(f"label\n{label}\n{label}\n", f"prediction\n{found}\n{found}\n")
    assert (value_of(scored, "accuracy"), scored.labels[2]) == (0.0, ("0", "1"))
    # Of words it is known only if one of them is said to be positive.
    words = (f"label\na{label}\n", f"prediction\na{found}\n")
    assert value_of(read(*words, positive="a1"), "accuracy") == 0.0
    with pytest.raises(MllockError) as caught:
        value_of(read(*words), "accuracy")
    assert str(caught.value).startswith("predictions.csv: no prediction is a label of the data\n")


def test_scores_of_32_bits(tmp_path: Path) -> None:
    import polars as pl
    from sklearn.metrics import log_loss, roc_auc_score

    from mllock.gates.open import open_file
    from mllock.gates.scored import Scored
    from mllock.spec.types import DataSource

    dice = np.random.default_rng(7)
    truth = dice.integers(0, 2, 999)
    scores = dice.random(999).astype(np.float32)
    # Clipped at what is one step of this precision, not of another.
    scores[:4], truth[:4] = [0, 1, 0, 1], [1, 0, 0, 1]
    for kind in (np.float32, np.float64):
        written = scores.astype(kind)
        pl.DataFrame({"label": truth}).write_parquet(tmp_path / "data.parquet")
        pl.DataFrame({"prediction": truth, "score": written}).write_parquet(tmp_path / "p.parquet")
        scored = Scored(
            open_file("test", tmp_path / "data.parquet", shown="data.parquet"),
            open_file("predictions", tmp_path / "p.parquet", shown="p.parquet"),
            DataSource(source="data.parquet", label="label"),
            place="p.parquet",
        )
        assert scored.scores.dtype == kind
        assert value_of(scored, "log_loss") == log_loss(truth, written)
        assert value_of(scored, "roc_auc") == roc_auc_score(truth, written)


def test_labels_that_are_written_differently(read: Read) -> None:
    scored = read("label\n1\n0\n1.0\n", "prediction\n1.0\n0e0\n+1\n")
    assert value_of(scored, "accuracy") == 1.0
    scored = read("label\nTrue\nfalse\n", "prediction\ntrue\nFalse\n", positive=True)
    assert value_of(scored, "recall") == 1.0
    assert scored.labels[2] == ("false", "true")
    # The positive label is the second, whatever the alphabet says.
    assert read("label\na\nb\n", "prediction\na\nb\n", positive="a").labels[2] == ("b", "a")
    # One label alone is there, and it is not the positive one.
    assert read("label\n0\n0\n", "prediction\n0\n0\n").labels[2] == ("0", "1")
    assert read("label\n1\n1\n", "prediction\n1\n1\n").labels[2] == ("not 1", "1")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_one_however_it_is_written(number: float) -> None:
    text = text_of(number)
    assert text is not None
    assert text_of(text) == text
    assert float(text) == float(number)
    assert text_of(f" {number!r} ") == text
    assert text_of(float(number)) == text or isinstance(number, int)


@given(st.text())
def test_labels_are_one_if_they_are_after_normalising(text: str) -> None:
    assert _folded(text) == fold(pl.Series([text]))[0]
    found = text_of(text)
    assert found is None or text_of(found) == found
    if not any(letter.isdecimal() for letter in text):
        assert text_of(f"  {text}\t") == (_folded(text) or None)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("1_0", " 1_0 "), "1_0"),
        (("10", "10.", "1e1", "+10", "\uff11\uff10", 10, 10.0, decimal.Decimal("10.00")), "10"),
        (("Cat", "cat", "CAT "), "cat"),
        (("a  b", "A\u00a0b"), "a b"),
        (("\ufb01", "FI"), "fi"),
        (("TRUE", "True", True), "true"),
        (("sNaN", "snan"), "snan"),
        (("1e9999999",), "1e9999999"),
        (("7e91234567",), "7e91234567"),
        (("1e99999999999999999999999",), "1e99999999999999999999999"),
        (("inf", float("inf")), "inf"),
        ((b"A",), "41"),
        ((b"a",), "61"),
        (("", " ", None, float("nan")), None),
    ],
)
def test_text_of(values: tuple[object, ...], text: str | None) -> None:
    assert [text_of(value) for value in values] == [text] * len(values)


def test_labels_beyond_any_number_are_words(read: Read) -> None:
    scored = read("label\n7e91234567\nb\n1e5\n", "prediction\n7E91234567\nb\n100000\n")
    assert value_of(scored, "accuracy") == 1.0
    assert scored.labels[2] == ("100000", "7e91234567", "b")


def test_predictions_in_parquet_and_data_with_types(tmp_path: Path) -> None:
    from mllock.gates.open import open_file
    from mllock.gates.scored import Scored
    from mllock.spec.types import DataSource

    data = pl.DataFrame({"id": [1, 2, 3], "label": [True, False, True], "age": [1.0, None, 2.0]})
    data.write_parquet(tmp_path / "data.parquet")
    found = pl.DataFrame({"id": ["3", "2", "1"], "prediction": ["true", "False", "true"]})
    found.write_parquet(tmp_path / "predictions.parquet")
    scored = Scored(
        open_file("test", tmp_path / "data.parquet", shown="data.parquet"),
        open_file("predictions", tmp_path / "predictions.parquet", shown="predictions.parquet"),
        DataSource(source="data.parquet", label="label", key=("id",)),
        place="predictions.parquet",
        positive=True,
    )
    truth, predicted, labels = scored.labels
    assert (truth.tolist(), predicted.tolist(), labels) == ([1, 0, 1], [1, 0, 1], ("false", "true"))
    ages = scored.slices("age", key="gates.slices.by")
    assert (ages.codes.tolist(), ages.values) == ([0, -1, 1], ("1", "2"))
