"""Tallies of parts, added in any cutting and merged in any order, are the tally of the whole."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.gates.alike import Form, as_compared, row_hashes
from mllock.gates.candidates import ALL, Candidates
from mllock.gates.hashes import Hashes, Hits, rows_in
from mllock.gates.tables import Batch
from mllock.gates.times import Times, TimesWatcher

numbers = st.lists(st.integers(0, 12), min_size=1, max_size=30)


def pieces(values: list[Any], dice: random.Random) -> list[tuple[int, list[Any]]]:
    """A cutting, and the order in which its parts come; with the place of each."""
    cuts = sorted(dice.sample(range(len(values) + 1), dice.randint(0, min(4, len(values)))))
    edges = [0, *cuts, len(values)]
    found = [(a, values[a:b]) for a, b in itertools.pairwise(edges) if b > a]
    dice.shuffle(found)
    return found


@given(left=numbers, right=numbers, dice=st.randoms(use_true_random=False))
def test_hashes_and_hits(left: list[int], right: list[int], dice: random.Random) -> None:
    held = Hashes()
    for _, some in pieces(left, dice):
        part = Hashes()
        part.add(np.array(some, np.uint64))
        held = held.merged(part) if dice.random() < 0.5 else part.merged(held)
    assert held.sorted.tolist() == sorted(left)
    assert held.unique.tolist() == sorted(set(left))
    hits = Hits(held.unique)
    for _, some in pieces(right, dice):
        part_of = Hits(held.unique)
        places = part_of.add(np.array(some, np.uint64))
        assert places.tolist() == [n for n, value in enumerate(some) if value in left]
        hits = hits.merged(part_of)
    assert hits.shared.tolist() == sorted(set(left) & set(right))
    assert hits.rows == sum(value in left for value in right)
    assert rows_in(held.sorted, hits.shared) == sum(value in right for value in left)


@given(
    values=st.lists(st.sampled_from(["a", "bb", "ccc", "d" * 200]), min_size=1, max_size=30),
    limit=st.sampled_from([200, 500, 10**6]),
    dice=st.randoms(use_true_random=False),
)
def test_candidates(values: list[str], limit: int, dice: random.Random) -> None:
    def added(first: int, some: list[str]) -> Candidates:
        found = Candidates(("v", "key"), 1, limit=limit)
        frame = pl.DataFrame({"v": some, "key": range(first, first + len(some))})
        hashes = row_hashes(frame, Form(mode="exact", names=("v",), types=(pl.String(),)))
        found.add(frame, hashes, np.arange(first, first + len(some), dtype=np.uint64))
        return found

    whole = added(0, values)
    parts = [added(first, some) for first, some in pieces(values, dice)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merged(part)
    assert merged.bound == whole.bound
    if whole.frame is None:
        assert merged.frame is None
        return
    assert merged.frame is not None
    assert merged.frame.rows() == whole.frame.rows()
    firsts = dict(zip(whole.frame["v0"], whole.frame["offset"], strict=True))
    assert all(values.index(value) == offset for value, offset in firsts.items())
    if limit == 10**6:
        assert whole.bound == ALL
        assert whole.frame["rows"].sum() == len(values)


@given(
    days=st.lists(st.sampled_from([None, 1, 2, 28]), min_size=1, max_size=30),
    dice=st.randoms(use_true_random=False),
)
def test_times(days: list[int | None], dice: random.Random) -> None:
    texts = [None if day is None else f"2024-01-{day:02}" for day in days]

    def seen(first: int, some: list[str | None]) -> Times:
        watcher = TimesWatcher("t", "t.csv")
        frame = pl.DataFrame({"t": some}, schema={"t": pl.String})
        watcher.add(Batch(file="", first=first + 1, offset=first, frame=frame))
        return watcher.times

    parts = [seen(first, some) for first, some in pieces(texts, dice)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merged(part)
    assert merged == seen(0, texts)
    present = [day for day in days if day is not None]
    assert (merged.missing, merged.rows) == (len(days) - len(present), len(days))
    if present:
        assert merged.first is not None
        assert merged.last is not None
        assert merged.first.offset == days.index(min(present))
        assert merged.last.offset == days.index(max(present))


SAME = [
    ("1", "1.0", "+1", "1e0", " 1", "\uff11", "1E+0"),
    ("Stra\u00dfe", "STRASSE", " strasse\u00a0"),
    ("a b", "A  B", "a\tb", "\na\u2003b"),
    ("9007199254740993",),
    ("9007199254740992", "9007199254740992.0"),
    ("1e16", "10000000000000000"),
    ("10000000000000001",),
    ("0", "-0", "0.0", ".0"),
    ("inf", "INF"),
    ("1_000",),
    ("1000",),
    (None,),
    ("null value",),
]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "row by row"])
def test_what_is_the_same_after_normalising(together: bool) -> None:
    form = Form(mode="normalised", names=("x",))
    flat = [(group, value) for group, values in enumerate(SAME) for value in values]
    frame = pl.DataFrame({"x": [value for _, value in flat]})
    frames = [frame] if together else list(frame.iter_slices(1))
    hashes = np.concatenate([row_hashes(some, form) for some in frames])
    compared = pl.concat([as_compared(some, form) for some in frames])
    groups = np.array([group for group, _ in flat])
    for one in range(len(flat)):
        assert ((hashes == hashes[one]) == (groups == groups[one])).all(), flat[one]
        same = [row == compared.row(one) for row in compared.iter_rows()]
        assert (np.array(same) == (groups == groups[one])).all(), flat[one]


def test_typed_values_are_what_they_are_in_text() -> None:
    import datetime as dt

    form = Form(mode="normalised", names=("x",))
    cases: list[tuple[pl.Series, list[str | None]]] = [
        (pl.Series([1, 9007199254740993, None]), ["1.0", "9007199254740993", None]),
        (pl.Series([0.1, 2.0], dtype=pl.Float32), ["0.1", "2"]),
        (pl.Series([1e16, 0.1 + 0.2]), ["10000000000000000", "0.30000000000000004"]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), ["18446744073709551615"]),
        (pl.Series([True, False, None]), ["True", "false", None]),
        (pl.Series([dt.date(2024, 1, 2)]), ["2024-01-02"]),
        (pl.Series([b"\xff", b"caf\xc3\xa9"]), ["FF", "CAF\u00c9"]),
        (pl.Series([None], dtype=pl.Null), [None]),
    ]
    for typed, texts in cases:
        left = row_hashes(typed.alias("x").to_frame(), form)
        right = row_hashes(pl.DataFrame({"x": texts}, schema={"x": pl.String}), form)
        assert left.tolist() == right.tolist(), typed
