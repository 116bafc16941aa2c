"""The same rows, keys and groups in two formats, and in two ways of writing: they are found, and
what only looks alike is not."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.gates import one_form
from mllock.gates.alike import Form, Reading, as_compared, row_hashes
from mllock.gates.types import Result
from tests.gates.test_arrays import npy
from tests.support.tables import ask_leakage, written

FLOATS = [0.1, 0.30000001192092896, -1.17, 1e-7, 65000.0, 3.0]
MIDNIGHTS = [dt.datetime(2020, 1, day) for day in (1, 2, 3)]
UTC = [moment.replace(tzinfo=dt.UTC) for moment in MIDNIGHTS]


def compared(folder: Path, train: tuple[str, bytes], test: tuple[str, bytes], **more: Any) -> Any:
    for name, (ending, content) in (("train", train), ("test", test)):
        (folder / f"{name}{ending}").write_bytes(content)
    sources = {
        name: {"source": f"{name}{ending}", **more}
        for name, (ending, _) in (("train", train), ("test", test))
    }
    return ask_leakage(folder, sources)


def shared_rows(found: dict[str, Result]) -> tuple[int, int]:
    """Exactly, and after normalising only."""
    return (
        found["leakage.rows: train, test"].rows,
        found["leakage.normalised-rows: train, test"].rows,
    )


def parquet(**columns: Any) -> tuple[str, bytes]:
    return ".parquet", written(pl.DataFrame(columns), ".parquet")


def csv(text: str) -> tuple[str, bytes]:
    return ".csv", text.encode()


def lines(*rows: Any) -> tuple[str, bytes]:
    return ".jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("size", ["f2", "f4", ">f4", "f8"])
def test_floats_of_numpy_are_what_csv_says(tmp_path: Path, size: str) -> None:
    array = np.array(FLOATS[2:], size)
    text = "value\n" + "".join(f"{value}\n" for value in array.tolist()[:1])
    text += "".join(f"{value!s}\n" for value in array[1:])
    shortest = "value\n" + "".join(f"{value!s}\n" for value in array)
    assert shared_rows(compared(tmp_path, (".npy", npy(array)), csv(shortest))) == (4, 0)
    # As a 64-bit float has the first, which is more than 16 bits say.
    assert shared_rows(compared(tmp_path, csv(text), (".npy", npy(array)))) == (
        3 if size == "f2" else 4,
        0,
    )


def test_floats_of_32_bits_and_of_64(tmp_path: Path) -> None:
    wide = np.array(FLOATS)
    single = wide.astype("f4")
    for left, right in (
        ((".npy", npy(single)), parquet(value=wide)),
        ((".npy", npy(wide)), parquet(value=single)),
        # Made of those of 32 bits, as a program does that computes with them.
        ((".npy", npy(single)), parquet(value=single.astype("f8"))),
    ):
        assert shared_rows(compared(tmp_path, left, right)) == (0, 6)
    # Half of a unit in the last place away from it is another number.
    other = np.nextafter(single, np.float32(9e9))
    assert shared_rows(compared(tmp_path, (".npy", npy(single)), parquet(value=other))) == (0, 0)
    text = "value,n\n" + "".join(f"{v},{v}\n" for v in other.tolist())
    table = parquet(value=single, n=single)
    assert shared_rows(compared(tmp_path, table, csv(text))) == (0, 0)
    text = "value,n\n" + "".join(f"{v!r},x\n" for v in single.tolist())
    table = parquet(value=single, n=["x"] * 6)
    assert shared_rows(compared(tmp_path, table, csv(text + "word,x\n"))) == (6, 0)


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        # What pandas writes of midnights.
        (parquet(t=MIDNIGHTS), csv("t\n2020-01-01\n2020-01-02\n2020-01-04\n"), (2, 0)),
        (parquet(t=MIDNIGHTS), csv("t\n2020-01-01 00:00:00\n2020-01-02T00:00\n"), (2, 0)),
        (parquet(t=UTC), csv("t\n2020-01-01T00:00:00Z\n2020-01-02T02:00:00.000+02:00\n"), (2, 0)),
        (parquet(t=UTC), csv("t\n2020-01-01 00:00:01+00:00\n2020-01-02T02:00:00Z\n"), (0, 0)),
        (parquet(t=MIDNIGHTS), parquet(t=[m.date() for m in MIDNIGHTS]), (0, 3)),
        (parquet(t=MIDNIGHTS), lines({"t": "2020-01-03T00:00:00.000"}), (0, 1)),
        (csv("t\n2020-01-01T00:00:00Z\n"), csv("t\n 2020-01-01\n2020-01-01 01:00\n"), (0, 1)),
        (
            parquet(t=[dt.datetime(2020, 1, 1, 1, 2, 3, 250_000)]),
            csv("t\n2020-01-01 01:02:03.25\n2020-01-01 01:02:03.250000000Z\n2020-01-01 01:02:03\n"),
            (2, 0),
        ),
        # No days.
        (csv("t\n2020-13-01\n2020-02-30\n"), csv("t\n2020-13-01T00:00\n2020-02-30Z\n"), (0, 0)),
        (parquet(b=[b"ab", b"\xff"]), parquet(b=["ab", "ff"]), (0, 2)),
        (parquet(b=[b"ab", b"\xff"]), csv("b\nab\nff\nx\n"), (2, 0)),
        (parquet(b=[True, False]), parquet(b=[1, 0]), (0, 2)),
        (parquet(b=[True, False]), csv("b\nTrue\n0\n2\n"), (0, 2)),
        (parquet(v=[[1, 2], [3, 4]]), lines({"v": [1, 2]}, {"v": [3.0, 4]}), (0, 2)),
        (parquet(v=[[1, 2], [3, 4]]), csv('v\n"[1, 2]"\n"[3,5]"\n'), (1, 0)),
        (lines({"o": {"x": 1, "y": [2]}}), lines({"o": {"y": [2.0], "x": 1}}), (0, 1)),
        (lines({"o": {"x": 1, "y": 2}}), lines({"o": {"y": 1, "x": 2}}), (0, 0)),
        (csv('o\n"[""\\u0041A""]"\n'), parquet(o=[["AA"]]), (1, 0)),
    ],
)
def test_one_value_in_two_ways(
    tmp_path: Path, train: tuple[str, bytes], test: tuple[str, bytes], expected: tuple[int, int]
) -> None:
    assert shared_rows(compared(tmp_path, train, test)) == expected


def groups(found: dict[str, Result]) -> tuple[str, int, str]:
    result = found["leakage.groups: train, test"]
    return result.verdict, result.rows, result.summary


@pytest.mark.parametrize(
    ("train", "test", "rows"),
    [
        # pandas writes whole numbers so, if the column has a missing value.
        (csv("g\n12\n13\n"), csv("g,x\n12.0,1\n,2\n14.0,3\n"), 1),
        (csv("g\n 12\nb\n"), csv("g\n12 \nb \n"), 2),
        (csv("g\n001\n1e5\n12.5\n"), csv("g\n1\n01\n100000\n12.50\n0x1\n"), 0),
        (csv("g\n98765432109876543210\n"), csv("g\n98765432109876543211\n"), 0),
        (csv("g\n98765432109876543210\n"), csv("g\n98765432109876543210.0\n"), 1),
        (parquet(g=["001", "12"]), parquet(g=["1", "12.0"]), 1),
        (parquet(g=["001", "12 "]), csv("g\n1\n12\n"), 1),
        (parquet(g=[12, 13]), parquet(g=[12.0, float("nan")]), 1),
        (parquet(g=[12, 13]), csv("g\n 12.0\n14\n"), 1),
        (parquet(g=[True]), csv("g\ntrue\n1\n"), 1),
        (parquet(g=MIDNIGHTS), csv("g\n2020-01-02\n"), 1),
    ],
)
def test_groups_that_are_written_differently(
    tmp_path: Path, train: tuple[str, bytes], test: tuple[str, bytes], rows: int
) -> None:
    verdict, found, _ = groups(compared(tmp_path, train, test, group=("g",)))
    assert (verdict, found) == ("failed" if rows else "passed", rows)
    keys = compared(tmp_path, train, train, key=("g",))["leakage.keys: train, test"]
    assert keys.verdict == "failed"


def test_groups_that_differ_by_case(tmp_path: Path) -> None:
    train = csv("g\nP1\nP2\nP3\n")
    found = compared(tmp_path, train, csv("g\np1\np9\np2\n"), group=("g",))
    assert groups(found) == (
        "not judged",
        0,
        '2 rows of test have a group ("g") that train has but for case and spaces: whether it is '
        "the same cannot be told",
    )
    result = found["leakage.groups: train, test"]
    assert result.details == {"but-for-case": 2}
    assert [[row.row for row in rows] for rows in result.broken] == [[1, 1], [3, 2]]
    found = compared(tmp_path, train, csv("g\np1\nP3\n"), group=("g",))
    assert groups(found) == (
        "failed",
        1,
        '1 row of test has a group ("g") that train has as well',
    )
    assert found["leakage.groups: train, test"].details == {"but-for-case": 1}


VALUES = st.sampled_from(
    [
        None,
        "1",
        "1.0",
        " 1",
        "001",
        "true",
        "True",
        "a",
        "A ",
        "2020-01-01",
        "2020-01-01t00:00z",
        "2020-01-01T00:00:00+00:00",
        "[1, 2]",
        " [1,2.0]",
        '["A\\u0041"]',
        '["AA"]',
        "[",
        "\xa0a",
        "1e400",
        "9007199254740993",
        "0.1",
        "0.10000000149011612",
        "+1",
        "12.0",
        "12",
        "\u0662",
    ]
)
READINGS: list[Reading] = ["plain", "single", "name", "number"]


@given(values=st.lists(VALUES, min_size=1, max_size=8), reading=st.sampled_from(READINGS))
def test_laws_of_what_is_the_same(values: list[str | None], reading: Reading) -> None:
    """Alike is alike after normalising, what is the same has one hash, and a row depends on
    nothing but itself."""
    frame = pl.DataFrame({"a": pl.Series(values, dtype=pl.String)})
    alike = Form(mode="alike", names=("a",), readings=(reading,))
    normalised = Form(mode="normalised", names=("a",), readings=(reading,))
    by_value = {form: as_compared(frame, form).rows() for form in (alike, normalised)}
    hashes = {form: row_hashes(frame, form).tolist() for form in (alike, normalised)}
    for form in (alike, normalised):
        alone = [row_hashes(frame[place], form).tolist()[0] for place in range(frame.height)]
        assert hashes[form] == alone
        for one in range(frame.height):
            for other in range(one):
                same = by_value[form][one] == by_value[form][other]
                assert same == (hashes[form][one] == hashes[form][other])
                if form == alike and same:
                    assert by_value[normalised][one] == by_value[normalised][other]


def test_done_twice_it_does_nothing_more() -> None:
    texts = pl.Series(
        [
            "2020-01-01",
            "2019-12-31t20:00:00.000-0400",
            "2020-01-01 00:00:00 +00",
            "2020-02-30",
            None,
        ]
    )
    moments = one_form.moments(texts)
    midnight = "2020-01-01 00:00:00"
    assert moments.to_list() == [midnight, midnight, midnight, "2020-02-30", None]
    assert one_form.moments(moments).to_list() == moments.to_list()
    documents = one_form.documents(pl.Series(['{"b": 1.0, "a": [null]}', "[" * 2000, "{x", None]))
    assert documents.to_list() == ['{"a":[null],"b":1}', "[" * 2000, "{x", None]
    assert one_form.documents(documents).to_list() == documents.to_list()


def test_columns_that_rows_are_not_known_by(tmp_path: Path) -> None:
    train, test = csv("a,b,label,g\n1,2,x,p\n3,4,y,q\n"), csv("A,B,label,g\n9,9,x,r\n8,8,y,s\n")
    found = compared(tmp_path, train, test, label="label", group=("g",))
    for name in ("leakage.rows: train, test", "leakage.normalised-rows: train, test"):
        assert (found[name].verdict, found[name].summary) == (
            "not judged",
            'train and test cannot be compared: they have no column in common but "g" and "label", '
            'which is not what a row is known by; is "a" of train meant to be "A" of test?',
        )
    test = csv("a,label,g\n1,x,r\n8,y,s\n")
    found = compared(tmp_path, train, test, label="label", group=("g",))
    assert found["leakage.rows: train, test"].details["columns"] == ["a", "g", "label"]


def test_files_that_say_nothing(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name / "cats").mkdir(parents=True)
        for path in (".gitkeep", "cats/.DS_Store", "cats/Thumbs.db", "desktop.ini", "cats/._1.png"):
            (tmp_path / name / path).write_bytes(b"the same of all")
        (tmp_path / name / "cats/empty.txt").write_bytes(b"")
        (tmp_path / name / "cats/_1.png").write_bytes(name.encode())
    sources = {name: {"source": name} for name in ("train", "test")}
    result = ask_leakage(tmp_path, sources)["leakage.rows: train, test"]
    assert (result.verdict, result.rows, result.measured) == ("passed", 0, 0.0)
    (tmp_path / "test/cats/_2.png").write_bytes(b"train")
    result = ask_leakage(tmp_path, sources)["leakage.rows: train, test"]
    # An empty file is a row, and one with a name that begins with "_" as well.
    assert (result.verdict, result.rows, result.measured) == ("failed", 1, 1 / 3)


def test_a_key_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    table = parquet(id=[b"\xff\x00", b"ab"], x=["1", "2"])
    result = compared(tmp_path, table, table, key=("id",))["leakage.keys: train, test"]
    assert result.rows == 2
    assert [dict(rows[0].key) for rows in result.broken] == [{"id": "ff00"}, {"id": "ab"}]
