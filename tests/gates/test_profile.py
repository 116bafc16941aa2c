"""A table looked at once: the same answer for any cutting into batches and any order of merging."""

from __future__ import annotations

import datetime as dt
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.frames import FrameTable, as_text

from mllock.gates import profile as profiles
from mllock.gates.profile import Column, Profile, empty, mixed, numbers_of, profile
from mllock.gates.tables import Batch

VALUES = st.one_of(st.none(), st.sampled_from(["1", "1.0", " 2", "x", "", "1e3", "é"]))
ROWS = st.lists(st.tuples(VALUES, VALUES, st.none()), min_size=1, max_size=60)
SCHEMA = {"a": pl.String, "b": pl.String, "c": pl.String}


def same(one: Profile, other: Profile) -> None:
    assert (one.rows, one.size, one.columns) == (other.rows, other.size, other.columns)
    assert one.positions.tolist() == other.positions.tolist()
    assert_frame_equal(one.sample, other.sample)


@given(rows=ROWS, size=st.integers(1, 70), cut=st.integers(1, 61), seed=st.integers(0, 9))
def test_any_cutting_and_any_order_of_merging_is_the_same(rows, size, cut, seed):
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    batches = list(FrameTable.of("t", frame, text=True, cut=cut).batches())
    whole = empty(frame.columns, text=True, size=size).plus(
        Batch(file="", first=1, offset=0, frame=frame)
    )
    one_by_one = empty(frame.columns, text=True, size=size)
    for batch in batches:
        one_by_one = one_by_one.plus(batch)
    same(one_by_one, whole)
    parts = [empty(frame.columns, text=True, size=size).plus(batch) for batch in batches]
    random.Random(seed).shuffle(parts)
    while len(parts) > 1:
        parts.append(parts.pop(0).merged(parts.pop(0)))
    same(parts[0], whole)
    assert len(whole.positions) == min(size, len(rows))
    assert_frame_equal(whole.sample, frame[whole.positions.tolist()])


def test_the_sample_is_drawn_by_position_alone():
    frame = pl.DataFrame({"a": range(1000)})
    found = empty(["a"], text=False, size=100).plus(Batch(file="", first=1, offset=0, frame=frame))
    numbers = mixed(np.arange(1000, dtype=np.uint64))
    assert found.sample["a"].to_list() == sorted(np.argsort(numbers)[:100].tolist())
    # The reference implementation's first numbers, from the seed 0.
    assert [int(n) for n in mixed(np.arange(2, dtype=np.uint64))] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
    ]


def test_with_very_many_columns_the_sample_is_smaller():
    assert empty(["a"], text=False).size == 100_000
    assert empty([f"c{i}" for i in range(1000)], text=False).size == 16_000
    assert empty([f"c{i}" for i in range(100_000)], text=False).size == 5_000


def test_what_is_said_of_columns():
    frame = pl.DataFrame(
        {
            "one": ["a"] * 3,
            "number": ["1", " 2.5e3", "-inf"],
            "missing": [None] * 3,
            "hole": ["a", None, "a"],
            "text": ["1", "2", "3 "],
            "mixed": ["1", "2", "three"],
        },
        schema_overrides={"missing": pl.String},
    )
    assert profile(FrameTable.of("t", frame, text=True)).columns == {
        "one": Column(value="a", numeric=False),
        "number": Column(constant=False),
        "missing": Column(missing=3),
        "hole": Column(missing=1, value="a", numeric=False),
        "text": Column(constant=False),
        "mixed": Column(constant=False, numeric=False),
    }


def test_typed_columns_keep_their_type():
    frame = pl.DataFrame(
        {
            "digits": ["1", "2"],
            "flag": [True, True],
            "real": [1.0, float("nan")],
            "none": [None, None],
            "day": [dt.date(2026, 1, 1), dt.date(2026, 1, 2)],
            "class": pl.Series(["a", "a"], dtype=pl.Categorical),
            "list": [[1], [1]],
            "whole": [7, 7],
        }
    )
    assert profile(FrameTable.of("t", frame)).columns == {
        "digits": Column(constant=False, numeric=False),
        "flag": Column(value=True, numeric=False),
        "real": Column(missing=1, value=1.0),
        "none": Column(missing=2),
        "day": Column(constant=False),
        "class": Column(value="a", numeric=False),
        "list": Column(constant=False, numeric=False),
        "whole": Column(value=7),
    }


@pytest.mark.parametrize(
    "value", ["", "x", "1,5", "1_000", "0x10", "--1", "1 2", "१", "true", "1e", "."]
)
def test_what_is_no_number(value):
    assert numbers_of(pl.Series([value, "1"]), text=True) is None


def test_numbers_of_text_only_where_the_format_has_text_only():
    series = pl.Series(["1", None, "+2.50 "])
    assert numbers_of(series, text=True).to_list() == [1.0, None, 2.5]
    assert numbers_of(series, text=False) is None


def test_long_texts_are_cut_and_still_told_apart():
    long = ["x" * 5000, "x" * 4999 + "y", "x" * 5000, "short"]
    frame = as_text(pl.DataFrame({"a": long}))
    sample = profile(FrameTable.of("t", frame, text=True)).sample["a"]
    assert max(map(len, sample)) < 100
    assert sample[0] == sample[2] != sample[1]
    assert sample[3] == "short"
    assert profiles.LONG == 256
