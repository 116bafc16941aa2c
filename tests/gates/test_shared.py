"""What tables share, whatever is read at once: laws, and what is read how often."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllock.gates import alike, shared
from mllock.gates.leakage import leakage_results
from mllock.gates.open import open_table
from mllock.gates.pairs import Pair, rows_of
from mllock.gates.shared import share
from mllock.gates.tables import Table
from mllock.gates.terms import Terms
from mllock.spec.types import DataSource, LeakageGate
from tests.support.tables import DECLARED, ask, broken, frame_of, opened, spec_of, written

cells = st.sampled_from([None, "1", "1.0", "2", "a", "A", " a", "ü", "Ü"])
rows_ = st.lists(st.tuples(cells, cells), min_size=1, max_size=12)


def brute(train: list[Any], test: list[Any]) -> tuple[int, int]:
    """Rows of test that are in train exactly, and only after normalising."""

    def normal(value: str | None) -> object:
        if value is None:
            return None
        try:
            return float(value)
        except ValueError:
            return value.strip().casefold()

    known = {tuple(map(normal, row)) for row in train}
    exact = sum(row in train for row in test)
    return exact, sum(tuple(map(normal, row)) in known for row in test) - exact


@settings(max_examples=60)
@given(
    train=rows_,
    test=rows_,
    size=st.sampled_from([1, 3, 100]),
    limit=st.sampled_from([0, 300, 10**9]),
    swap=st.booleans(),
)
def test_any_cutting_and_any_room_give_what_comparing_all_gives(
    tmp_path_factory: pytest.TempPathFactory,
    train: list[Any],
    test: list[Any],
    size: int,
    limit: int,
    swap: bool,
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    tables: dict[str, Table] = {}
    for name, rows in (("train", train), ("test", test)):
        frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
        tables[name] = opened(folder, f"{name}.parquet", written(frame, ".parquet"))
    if swap:
        # The other one is held in memory, and this one is streamed.
        tables["train"], tables["test"] = tables["test"], tables["train"]
        train, test = test, train
    pair = Pair(
        earlier=tables["train"],
        later=tables["test"],
        sources=(DataSource(source="a"), DataSource(source="b")),
    )
    question = rows_of(pair, LeakageGate())
    assert question is not None
    named = {"train": tables["train"], "test": tables["test"]}
    # As if both were called what they are here.
    question = dataclasses.replace(question, earlier="train", later="test")
    answer = share(named, [question], rows=size, limit=limit)[0]
    if limit == 0:
        assert answer.exact == sum(brute(train, test))
        return
    assert (answer.exact, answer.other) == brute(train, test)
    assert answer.rows == len(test)
    for match in answer.exact_matches:
        assert train[match.earlier.row - 1] == test[match.later.row - 1]
        assert match.earlier.row - 1 == train.index(train[match.earlier.row - 1])


def test_a_hash_that_two_rows_have_is_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def colliding(frame: pl.DataFrame, form: alike.Form) -> Any:
        return alike.row_hashes(frame, form) % np.uint64(2)

    monkeypatch.setattr(shared, "row_hashes", colliding)
    train, test = frame_of(0, 30), pl.concat([frame_of(100, 30), frame_of(5, 1)])
    found = ask(tmp_path, train, test, **DECLARED)
    assert broken(found["leakage.rows: train, test"]) == [[("test", 31), ("train", 6)]]
    assert found["leakage.normalised-rows: train, test"].rows == 0
    assert broken(found["leakage.keys: train, test"]) == [[("test", 31), ("train", 6)]]


def test_one_reading_of_each_table_if_nothing_is_shared(tmp_path: Path) -> None:
    for name, start in (("train", 0), ("test", 100)):
        (tmp_path / f"{name}.csv").write_bytes(written(frame_of(start, 30), ".csv"))
    sources = {
        name: DataSource(source=f"{name}.csv", role=name, **DECLARED) for name in ("train", "test")
    }  # type: ignore[arg-type]

    read: list[str] = []

    class Counting:
        def __init__(self, table: Table) -> None:
            self._table = table

        def __getattr__(self, name: str) -> Any:
            return getattr(self._table, name)

        def batches(self, *args: Any, **more: Any) -> Any:
            read.append(self._table.name)
            return self._table.batches(*args, **more)

    seen: list[int] = []

    class Watching:
        columns = ("city",)

        def add(self, batch: Any) -> None:
            seen.append(batch.frame["city"].len())

    tables: Mapping[str, Any] = {
        name: Counting(open_table(name, source, tmp_path)) for name, source in sources.items()
    }
    leakage_results(
        spec_of(sources),
        tables,
        LeakageGate(),
        Terms(severity="block", accept=(), day=dt.date(2026, 1, 1)),
        watchers={"train": [Watching()]},
    )
    assert sorted(read) == ["test", "train"]
    assert seen == [30]
