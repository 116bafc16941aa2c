"""Every planted leak is found by its gate and by no other; clean splits give no alarm."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from support.planted import CLEAN, PLANTED, Split, clean, write

from mllock.gates.ask import ask
from mllock.gates.open import open_table
from mllock.gates.types import Result
from mllock.spec.reader import load_spec

DAY = dt.date(2026, 11, 26)


def alarms(split: Split, folder: Path, ending: str = "csv") -> dict[str, Result]:
    """Of declared gates and of the others: what a person is shown."""
    spec = load_spec(write(split, folder, ending) / "mlproject.toml").spec
    answers = ask(spec, lambda name: open_table(name, spec.data[name], folder), DAY, advise=True)
    assert not answers.unread
    return {
        f"{one.gate}: {one.subject}": one
        for one in (*answers.declared, *answers.advice)
        if one.verdict not in ("passed", "not judged")
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_split_gives_no_alarm(name: str, seed: int, tmp_path: Path) -> None:
    split = clean(name, seed)
    features = ", ".join(f'"{each}"' for each in split.features)
    gates = f"[gates.leakage]\n[gates.columns]\n[gates.drift]\ncolumns = [{features}]"
    split = Split(train=split.train, test=split.test, gates=(gates,))
    assert alarms(split, tmp_path, "parquet" if seed % 2 else "csv") == {}


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_leak_is_found(kind: str, name: str, tmp_path: Path) -> None:
    split = PLANTED[kind](clean(name, 0), np.random.default_rng(2))
    found = alarms(split, tmp_path)
    assert split.finds in found
    others = {
        # What was planted is seen by these as well, and truly so.
        "missing": {"drift.missing: train, test"},
        "constant": {"drift.columns: train, test: site"},
        "drift of the label": {
            key for key in found if key.startswith(("drift.columns", "columns.constant"))
        },
        "time": {"drift.columns: train, test: day"},
    }.get(kind, set())
    assert set(found) - others == {split.finds}


def test_rows_that_broke_a_gate_are_named_by_position_and_key(tmp_path: Path) -> None:
    split = PLANTED["rows"](clean("wine", 3), np.random.default_rng(3))
    found = alarms(split, tmp_path)["leakage.rows: train, test"]
    assert found.rows == len(found.broken) == 5
    for later, earlier in found.broken:
        one, other = split.test[later.row - 1], split.train[earlier.row - 1]
        assert (dict(later.key), dict(earlier.key)) == (
            {"id": one["id"][0]},
            {"id": other["id"][0]},
        )
        assert one.drop("id").equals(other.drop("id"))
