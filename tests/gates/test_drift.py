"""What is the same, however it is written, has not drifted; numbers beside a frequent one have."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.tables import written

from mllock.gates.ask import ask
from mllock.gates.open import open_table
from mllock.gates.types import Result
from mllock.spec.reader import load_spec

DAY = dt.date(2026, 11, 26)
ROWS = 600
SPEC = """[project]
name = "t"
version = "1"
[environment]
python = "3.11"
[data.train]
source = "train.{ending}"
label = "y"
[data.test]
source = "test.{ending}"
role = "test"
label = "y"
[gates.drift]
columns = ["x"]
"""
RNG = np.random.default_rng(5)
COIN = RNG.integers(0, 2, ROWS)
YES = [bool(n) for n in COIN]
WRITTEN = {
    "integers and floats": ("csv", [f"{n}" for n in COIN], [f"{n}.0" for n in COIN]),
    "True and true": ("csv", [f"{yes}" for yes in YES], [f"{yes}".lower() for yes in YES]),
    "TRUE and booleans": ("parquet", [f"{yes}".upper() for yes in YES], YES),
    "booleans and integers": ("parquet", YES, COIN),
    "floats and booleans": ("parquet", COIN * 1.0, YES),
}
MOMENTS = pl.Series([dt.datetime(2024, 1, 1) + dt.timedelta(days=n) for n in range(ROWS)])
UNITS = {
    "milliseconds": MOMENTS.cast(pl.Datetime("ms")),
    "nanoseconds": MOMENTS.cast(pl.Datetime("ns")),
    "dates": MOMENTS.cast(pl.Date),
    "an offset": MOMENTS.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
}


def drift(
    folder: Path, column: str, train: object, test: object, ending: str = "parquet"
) -> Result:
    """The result about `column`, x or the label y."""
    for name, values in (("train", train), ("test", test)):
        other = {"y": COIN} if column == "x" else {"x": COIN}
        frame = pl.DataFrame({column: values, **other})
        (folder / f"{name}.{ending}").write_bytes(written(frame, f".{ending}"))
    (folder / "mlproject.toml").write_text(SPEC.format(ending=ending))
    spec = load_spec(folder / "mlproject.toml").spec
    answers = ask(spec, lambda name: open_table(name, spec.data[name], folder), DAY, advise=False)
    gate = "drift.columns" if column == "x" else "drift.label"
    return next(one for one in answers.declared if one.gate == gate)


@pytest.mark.parametrize("column", ["x", "y"])
@pytest.mark.parametrize("name", WRITTEN)
def test_however_it_is_written(tmp_path: Path, name: str, column: str) -> None:
    ending, train, test = WRITTEN[name]
    found = drift(tmp_path, column, train, test, ending)
    assert (found.verdict, found.measured, found.rows) == ("passed", 0.0, 0)


def test_labels_are_one_after_normalising_and_values_are_not(tmp_path: Path) -> None:
    train = ["Cat" if yes else "\ufb01sh" for yes in YES]
    test = [" cat" if yes else "FISH" for yes in YES]
    assert drift(tmp_path, "y", train, test).verdict == "passed"
    found = drift(tmp_path, "x", train, test)
    assert (found.verdict, found.measured) == ("warned", pytest.approx(12.8, abs=0.1))
    found = drift(tmp_path, "y", train, ["Cat" if yes else "DOG" for yes in YES])
    assert found.summary.startswith(
        f'"dog" is a label that train does not have, of {YES.count(False)} rows; '
    )
    assert [row[0].row for row in found.broken[:3]] == [
        place + 1 for place, yes in enumerate(YES) if not yes
    ][:3]


@pytest.mark.parametrize("unit", UNITS)
def test_times_of_any_unit(tmp_path: Path, unit: str) -> None:
    moments = UNITS[unit]
    assert drift(tmp_path, "x", MOMENTS, moments).measured == 0
    assert drift(tmp_path, "x", moments, MOMENTS).measured == 0
    later = (MOMENTS + dt.timedelta(days=ROWS // 2)).cast(moments.dtype)
    assert drift(tmp_path, "x", MOMENTS, later).verdict == "warned"


@pytest.mark.parametrize("column", ["x", "y"])
def test_a_number_that_most_rows_have_hides_nothing(tmp_path: Path, column: str) -> None:
    rare = RNG.random(ROWS) < 0.07
    train = np.where(rare, RNG.uniform(0, 1000, ROWS), 0.0)
    found = drift(tmp_path, column, train, RNG.uniform(500, 501, ROWS))
    assert found.verdict == "warned"
    assert found.summary.startswith(f'"{column}" is distributed otherwise than in train: PSI ')
    assert drift(tmp_path, column, train, RNG.permutation(train)).measured == 0


def test_texts_that_are_all_different_are_not_judged(tmp_path: Path) -> None:
    found = drift(tmp_path, "x", [f"a{n}" for n in range(ROWS)], [f"b{n}" for n in range(ROWS)])
    assert (found.verdict, found.summary) == (
        "not judged",
        '"x" has no value that is frequent enough to compare',
    )


@pytest.mark.parametrize("name", ["*", "^x$", "^.*$"])
def test_names_that_look_like_patterns(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({name: ["a" * 300 + f"{n}" for n in COIN], "x": COIN, "y": COIN})
    for split in ("train", "test"):
        frame.write_parquet(tmp_path / f"{split}.parquet")
    gates = f"[gates.columns]\n[gates.drift]\ncolumns = ['{name}']"
    text = SPEC.format(ending="parquet").partition("[gates.drift]")[0] + gates
    (tmp_path / "mlproject.toml").write_text(text)
    spec = load_spec(tmp_path / "mlproject.toml").spec
    answers = ask(spec, lambda each: open_table(each, spec.data[each], tmp_path), DAY, advise=False)
    found = next(one for one in answers.declared if one.gate == "drift.columns")
    assert (found.verdict, found.measured) == ("passed", 0.0)
    assert found.details["bins"][0]["name"].startswith("a" * 40 + "… ")
