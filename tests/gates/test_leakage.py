"""Rows of one split in another: what is planted is found and named, what is clean is silent, and
neither the size of batches nor the room for candidates changes the answer."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest

from mllock.errors import DataError, SpecError
from mllock.spec.types import Accepted, LeakageGate
from tests.support.tables import DECLARED, ask, ask_leakage, broken, frame_of, written

TYPED = (".parquet", ".arrow", ".jsonl")


@pytest.mark.parametrize("ending", (".csv", *TYPED))
def test_clean_splits_are_silent(tmp_path: Path, ending: str) -> None:
    found = ask(tmp_path, frame_of(0, 60), frame_of(100, 30), ending, **DECLARED)
    assert {name: (r.verdict, r.summary, r.rows) for name, r in found.items()} == {
        "leakage.rows: train, test": ("passed", "no row of test is in train", 0),
        "leakage.normalised-rows: train, test": (
            "passed",
            "no row of test is in train, whatever the case, spaces and the form of numbers",
            0,
        ),
        "leakage.keys: train, test": ("passed", "no key of test is in train", 0),
        "leakage.groups: train, test": ("passed", "no group of test is in train", 0),
        "leakage.time: train, test": (
            "passed",
            "every row of test is after every row of train",
            0,
        ),
    }


@pytest.mark.parametrize("ending", (".csv", *TYPED))
def test_rows_that_are_in_both(tmp_path: Path, ending: str) -> None:
    train = frame_of(0, 60)
    again = train[[7, 3, 7]].with_columns(id=pl.Series([900, 901, 902]))
    found = ask(tmp_path, train, pl.concat([frame_of(100, 4), again]), ending, key=("id",))
    result = found["leakage.rows: train, test"]
    assert (result.verdict, result.summary) == ("failed", "3 rows of test are in train")
    assert (result.rows, result.measured, result.limit) == (3, 3 / 7, 0.0)
    # Different ones, each once, the first in each table.
    assert broken(result) == [[("test", 5), ("train", 8)], [("test", 6), ("train", 4)]]
    assert dict(result.broken[0][0].key) == {"id": "900"}
    assert result.details == {
        "columns": ["age", "city", "day", "patient"],
        "repeated": {"test": 1},
    }
    assert found["leakage.normalised-rows: train, test"].verdict == "passed"
    # Keys are their own question.
    assert found["leakage.keys: train, test"].verdict == "passed"


def test_rows_that_are_written_differently(tmp_path: Path) -> None:
    train = b"a,b\n1,Foo Bar\n2,x\n3.50,\xef\xac\x81n\n,NA\n"
    test = b'a,b\n+1.0, foo  BAR \n2,x\n"35e-1",FIN\n4,x\n'
    (tmp_path / "train.csv").write_bytes(train)
    (tmp_path / "test.csv").write_bytes(test)
    found = ask_leakage(tmp_path, {n: {"source": f"{n}.csv"} for n in ("train", "test")})
    assert broken(found["leakage.rows: train, test"]) == [[("test", 2), ("train", 2)]]
    result = found["leakage.normalised-rows: train, test"]
    assert (result.verdict, result.summary) == (
        "failed",
        "2 more rows of test are in train but for case, spaces and the form of numbers",
    )
    assert broken(result) == [[("test", 1), ("train", 1)], [("test", 3), ("train", 3)]]


def test_numbers_that_are_nearly_the_same_are_not(tmp_path: Path) -> None:
    train = "a,b\n9007199254740993,0.1\n1,0.30000000000000004\n"
    test = "a,b\n9007199254740992,0.1\n1,0.3\n"
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "test.csv").write_text(test)
    found = ask_leakage(tmp_path, {n: {"source": f"{n}.csv"} for n in ("train", "test")})
    assert {result.verdict for result in found.values()} == {"passed"}


def test_text_and_types_are_compared_by_what_they_mean(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "n": [1, 2, 3],
            "x": pl.Series([0.1, 2.0, None], dtype=pl.Float32),
            "d": [dt.date(2024, 1, day) for day in (1, 2, 3)],
            "t": ["Foo", "Bar", "baz"],
            "b": [True, False, None],
        }
    )
    (tmp_path / "train.parquet").write_bytes(written(frame, ".parquet"))
    (tmp_path / "test.csv").write_text(
        "t,n,x,d,b\nFoo,1.0,0.1,2024-01-01,true\nBar,2,2,2024-01-02,False\nbaz,3,0,2024-01-03,\n"
    )
    found = ask_leakage(
        tmp_path,
        {
            "train": {"source": "train.parquet", "key": ("n",)},
            "test": {"source": "test.csv", "key": ("n",)},
        },
    )
    assert broken(found["leakage.rows: train, test"]) == [[("test", 1), ("train", 1)]]
    # As Python writes it, False is no "false" before normalising.
    assert broken(found["leakage.normalised-rows: train, test"]) == [[("test", 2), ("train", 2)]]
    assert found["leakage.keys: train, test"].rows == 3


def test_keys_and_groups(tmp_path: Path) -> None:
    train, test = frame_of(0, 20), frame_of(100, 6)
    ids = pl.Series([100, 7, 102, 7, 104, 3])
    patients = pl.Series(["p50", "p0", None, "p51", "p0", "p52"])
    test = test.with_columns(id=ids, patient=patients)
    train = train.with_columns(patient=pl.when(pl.col("id") == 4).then(None).otherwise("patient"))
    found = ask(tmp_path, train, test, **DECLARED)
    keys = found["leakage.keys: train, test"]
    assert keys.summary == '3 rows of test have a key ("id") that train has as well'
    assert (keys.verdict, keys.rows, keys.measured, keys.limit) == ("failed", 3, 0.5, 0.0)
    assert broken(keys) == [[("test", 2), ("train", 8)], [("test", 6), ("train", 4)]]
    assert [dict(rows[0].key) for rows in keys.broken] == [{"id": "7"}, {"id": "3"}]
    groups = found["leakage.groups: train, test"]
    # A row without a group shares none.
    assert groups.summary == '2 rows of test have a group ("patient") that train has as well'
    assert broken(groups) == [[("test", 2), ("train", 1)]]


def test_keys_of_several_columns_and_other_names(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("site,nr,x\na,1,1\na,2,2\nb,1,3\n")
    (tmp_path / "test.csv").write_text("hospital,number,x\nb,2,4\na,2,5\n")
    found = ask_leakage(
        tmp_path,
        {
            "train": {"source": "train.csv", "key": ("site", "nr")},
            "test": {"source": "test.csv", "key": ("hospital", "number")},
        },
    )
    assert broken(found["leakage.keys: train, test"]) == [[("test", 2), ("train", 2)]]
    found = ask_leakage(
        tmp_path,
        {
            "train": {"source": "train.csv", "key": ("site", "nr")},
            "test": {"source": "test.csv", "key": ("number",)},
        },
    )
    result = found["leakage.keys: train, test"]
    assert (result.verdict, result.summary) == (
        "not judged",
        'the key of train is "site" and "nr", that of test is "number": they cannot be compared',
    )


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (["2024-01-01", "2024-03-01"], ["2024-03-02", "2024-03-01T00:00:01Z"], []),
        (["2024-01-01", "2024-03-01"], ["2024-03-01", "2024-04-01", "", "2023-01-01"], [1, 4]),
        (["2024-03-01T12:00:00+02:00"], ["2024-03-01 10:00", "2024-03-01T10:00:00.000001"], [1]),
        (["1", "20"], ["21", "1e9", "19.5"], [3]),
    ],
)
def test_time(tmp_path: Path, train: list[str], test: list[str], expected: list[int]) -> None:
    for name, times in (("train", train), ("test", test)):
        frame = pl.DataFrame({"t": times, "x": [f"{name}{n}" for n in range(len(times))]})
        (tmp_path / f"{name}.csv").write_bytes(written(frame, ".csv"))
    sources = {name: {"source": f"{name}.csv", "time": "t"} for name in ("train", "test")}
    result = ask_leakage(tmp_path, sources)["leakage.time: train, test"]
    assert broken(result) == [[("test", row)] for row in expected]
    assert result.rows == len(expected)
    assert result.verdict == ("failed" if expected else "passed")
    if expected:
        which = "1 row of test is" if len(expected) == 1 else f"{len(expected)} rows of test are"
        assert result.summary == f"{which} not after the last row of train"


@pytest.mark.parametrize(
    ("values", "row", "expected"),
    [
        (["2024-01-01", "yesterday"], 2, "an ISO date or time, as in the rows before"),
        (
            ["1/2/2024"],
            1,
            "an ISO date or time, e.g. 2026-11-01 or 2026-11-01T08:00:00Z, or a number",
        ),
        (["5", "", "2024-01-01"], 3, "a number, as in the rows before"),
        (
            ["2024-13-01"],
            1,
            "an ISO date or time, e.g. 2026-11-01 or 2026-11-01T08:00:00Z, or a number",
        ),
    ],
)
def test_times_that_are_none(tmp_path: Path, values: list[str], row: int, expected: str) -> None:
    frame = pl.DataFrame({"t": values, "x": range(len(values))})
    (tmp_path / "train.csv").write_bytes(written(frame, ".csv"))
    (tmp_path / "test.csv").write_text("t,x\n2030-01-01,7\n")
    sources = {name: {"source": f"{name}.csv", "time": "t"} for name in ("train", "test")}
    with pytest.raises(DataError) as caught:
        ask_leakage(tmp_path, sources)
    assert str(caught.value) == (
        f"train.csv: row {row}: 't' is no point in time that can be compared\n"
        f"expected: {expected}\nhint: write all of them in one way, or declare no time"
    )


def test_times_of_two_kinds(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("t\n2024-01-01\n")
    (tmp_path / "test.csv").write_text("t\n7\n")
    sources = {name: {"source": f"{name}.csv", "time": "t"} for name in ("train", "test")}
    with pytest.raises(DataError) as caught:
        ask_leakage(tmp_path, sources)
    assert str(caught.value) == (
        "mlproject.toml: data.test.time: train and test cannot be compared by time\n"
        "expected: times, as train has\nfound: numbers\nhint: write all of them in one way"
    )


def test_files_by_content(tmp_path: Path) -> None:
    for path in ("train/cats/1.png", "train/dogs/2.png", "test/cats/9.png", "test/dogs/2.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    clean = ask_leakage(tmp_path, {n: {"source": n} for n in ("train", "test")})
    assert {result.verdict for result in clean.values()} == {"passed"}
    (tmp_path / "test/cats/9.png").write_bytes(b"train/dogs/2.png")
    found = ask_leakage(tmp_path, {n: {"source": n, "key": ("path",)} for n in ("train", "test")})
    result = found["leakage.rows: train, test"]
    assert (result.verdict, result.rows) == ("failed", 1)
    assert [dict(row.key) for row in result.broken[0]] == [
        {"path": "cats/9.png"},
        {"path": "dogs/2.png"},
    ]
    assert result.details == {"columns": ["sha256"]}
    assert found["leakage.keys: train, test"].rows == 1


def test_what_cannot_be_compared_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/a.txt").write_bytes(b"x")
    (tmp_path / "test.csv").write_text("sha256\nx\n")
    (tmp_path / "validation.csv").write_text("a\n1\n")
    sources = {
        "train": {"source": "train"},
        "validation": {"source": "validation.csv"},
        "test": {"source": "test.csv"},
    }
    found = ask_leakage(tmp_path, sources)
    assert [(name, r.verdict, r.summary) for name, r in found.items()][:3] == [
        (
            "leakage.rows: train, validation",
            "not judged",
            "train and validation cannot be compared: one is a table and the other is not",
        ),
        (
            "leakage.rows: train, test",
            "not judged",
            "train and test cannot be compared: one is a table and the other is not",
        ),
        (
            "leakage.rows: validation, test",
            "not judged",
            "validation and test cannot be compared: they have no column in common",
        ),
    ]


def test_three_splits_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("a\n1\n2\n3\n4\n5\n6\n")
    (tmp_path / "train.csv").write_text("a\n7\n2\n")
    (tmp_path / "validation.csv").write_text("a\n6\n7\n8\n")
    order = ("test", "validation", "train")
    found = ask_leakage(tmp_path, {name: {"source": f"{name}.csv"} for name in order})
    rows = {n: broken(r) for n, r in found.items() if n.startswith("leakage.rows")}
    assert rows == {
        "leakage.rows: train, validation": [[("validation", 2), ("train", 1)]],
        "leakage.rows: train, test": [[("test", 2), ("train", 2)]],
        "leakage.rows: validation, test": [[("test", 6), ("validation", 1)]],
    }


def test_what_the_gate_says(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("n,a,b\n1,1,x\n2,2,x\n")
    (tmp_path / "test.csv").write_text("n,a,b\n3,1,x\n4,2,x\n5,3,x\n")
    sources = {name: {"source": f"{name}.csv"} for name in ("train", "test")}
    name = "leakage.rows: train, test"
    assert ask_leakage(tmp_path, sources)[name].verdict == "passed"
    ignoring = LeakageGate(ignore=("n",))
    assert ask_leakage(tmp_path, sources, ignoring)[name].verdict == "failed"
    most = LeakageGate(ignore=("n",), max_shared=2 / 3)
    assert ask_leakage(tmp_path, sources, most)[name].verdict == "passed"
    less = LeakageGate(ignore=("n",), max_shared=0.66)
    assert ask_leakage(tmp_path, sources, less)[name].verdict == "failed"
    accept = Accepted(gate="leakage", until=dt.date(2027, 1, 1), reason="known")
    result = ask_leakage(tmp_path, sources, ignoring, [accept])[name]
    assert (result.verdict, result.accepted) == ("accepted", accept)
    with pytest.raises(SpecError) as caught:
        ask_leakage(tmp_path, sources, LeakageGate(ignore=("b", "m")))
    assert str(caught.value) == (
        "mlproject.toml: gates.leakage.ignore[1]: train has no column 'm'\n"
        "hint: it has 'n', 'a', 'b'"
    )
    with pytest.raises(SpecError) as caught:
        ask_leakage(tmp_path, {n: {**s, "key": ("N",)} for n, s in sources.items()})
    assert str(caught.value) == (
        "mlproject.toml: data.train.key: train has no column 'N'\nhint: did you mean \"n\"?"
    )


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_key_that_is_missing(tmp_path: Path, ending: str) -> None:
    train = pl.DataFrame({"id": [1.0, float("nan")], "x": [1, 2]})
    with pytest.raises(DataError) as caught:
        ask(tmp_path, train, train.head(1), ending, key=("id",))
    assert str(caught.value) == (
        f"train{ending}: row 2: the key 'id' is missing\n"
        "hint: give every row a key, or declare none"
    )


def test_results_tell_no_value_but_keys(tmp_path: Path) -> None:
    train = frame_of(0, 10).with_columns(city=pl.lit("SECRET"), day=pl.lit("2024-01-01"))
    test = pl.concat([train.head(3), frame_of(50, 3)]).with_columns(day=pl.lit("2024-01-01"))
    found = ask(tmp_path, train, test, **DECLARED)
    assert {result.verdict for result in found.values()} == {"failed", "passed"}
    text = json.dumps([str(result) for result in found.values()])
    assert "SECRET" not in text
    assert "2024" not in text


def test_real_data_clean_and_with_a_leak(tmp_path: Path) -> None:
    from sklearn.datasets import load_breast_cancer, load_iris

    cancer = pl.DataFrame(load_breast_cancer().data, orient="row")
    found = ask(tmp_path, cancer[:400], cancer[400:])
    assert {result.verdict for result in found.values()} == {"passed"}
    found = ask(tmp_path, cancer[:400], pl.concat([cancer[400:], cancer[[17, 3]]]))
    assert broken(found["leakage.rows: train, test"]) == [
        [("test", 170), ("train", 18)],
        [("test", 171), ("train", 4)],
    ]
    # The one pair of rows that Fisher's irises have twice is in both splits of this one.
    iris = pl.DataFrame(load_iris().data, orient="row")
    found = ask(tmp_path, iris[:120], iris[120:])
    assert broken(found["leakage.rows: train, test"]) == [[("test", 23), ("train", 102)]]


def test_of_a_key_that_is_no_name_the_beginning_is_told(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["k" * 5000], "t": ["2024-01-01"]})
    found = ask(tmp_path, frame, frame, key=("id",), time="t")
    for name in ("leakage.keys: train, test", "leakage.time: train, test"):
        for rows in found[name].broken:
            assert dict(rows[0].key) == {"id": "k" * 200 + "\u2026"}
