"""Data sets that ship in scikit-learn's wheel, split cleanly; and leaks of each kind, planted.

    split = clean("wine", seed=0)        # train, test, and what the spec says of them
    leaky = PLANTED["rows"](split, rng)  # the same with one leak: which gate has to find it

A clean split has no row twice: copies that a data set has by itself are removed first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from sklearn import datasets

__all__ = ["CLEAN", "PLANTED", "Split", "clean", "generated", "write"]

_LOADERS: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "breast-cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
        "diabetes": datasets.load_diabetes,
        "digits": datasets.load_digits,
    }
)
CLEAN = (*_LOADERS, "generated-500", "generated-5000")


@dataclass(frozen=True, kw_only=True)
class Split:
    """`roles` are lines of [data.train] and [data.test]; `gates` lines of [gates]; `finds` is the
    gate that has to find what was planted, and about what."""

    train: pl.DataFrame
    test: pl.DataFrame
    roles: tuple[str, ...] = ('label = "label"', 'key = ["id"]')
    gates: tuple[str, ...] = field(default=())
    finds: str | None = None

    @property
    def features(self) -> list[str]:
        return [name for name in self.train.columns if name not in ("id", "label")]


def clean(name: str, seed: int) -> Split:
    """Three quarters to train on, the others to test, by chance."""
    rng = np.random.default_rng(seed)
    if name.startswith("generated-"):
        frame = generated(int(name.partition("-")[2]), rng)
    else:
        data = _LOADERS[name]()
        frame = pl.DataFrame(
            {f"x{place}": data.data[:, place] for place in range(data.data.shape[1])}
        )
        frame = frame.with_columns(pl.Series("label", data.target))
        # Pixels that no digit has say nothing: a finding of columns.constant, and a true one.
        frame = frame.select(name for name in frame.columns if frame[name].n_unique() > 8)
        frame = frame.with_columns(pl.Series("label", data.target))
    frame = frame.unique(maintain_order=True)
    frame = frame.with_columns(id=pl.Series([f"r{place}" for place in range(frame.height)]))
    frame = frame[rng.permutation(frame.height)]
    cut = frame.height * 3 // 4
    return Split(train=frame[:cut], test=frame[cut:])


def generated(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    """People: numbers, categories, holes, and a label that they explain in part."""
    age = rng.integers(18, 90, rows)
    income = np.exp(rng.normal(8, 1, rows)).round(2)
    town = rng.choice(["north", "south", "east", "west"], rows, p=[0.4, 0.3, 0.2, 0.1])
    risk = (
        0.03 * (age - 50) - 0.5 * (np.log(income) - 8) + (town == "north") + rng.normal(size=rows)
    )
    visits = [
        None if hole else int(n)
        for hole, n in zip(rng.random(rows) < 0.2, rng.poisson(3, rows), strict=True)
    ]
    return pl.DataFrame(
        {
            "age": age,
            "income": income,
            "town": town,
            "visits": visits,
            "label": np.where(risk > 0.5, "ill", "well"),
        }
    )


def write(split: Split, project: Path, ending: str = "csv") -> Path:
    """The split as files and a spec beside them."""
    (project / "data").mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        frame: pl.DataFrame = getattr(split, name)
        path = project / "data" / f"{name}.{ending}"
        if ending == "parquet":
            frame.write_parquet(path)
        else:
            frame.write_csv(path)
    roles = "\n".join(split.roles)
    gates = "\n".join(split.gates) or "[gates.leakage]\n[gates.columns]\n[gates.drift]"
    (project / "mlproject.toml").write_text(
        f"""\
[project]
name = "planted"

[environment]
python = "3.11"

[data.train]
source = "data/train.{ending}"
{roles}

[data.test]
source = "data/test.{ending}"
role = "test"
{roles}

{gates}
"""
    )
    return project


def _rows(split: Split, rng: np.random.Generator) -> Split:
    """Rows of the training split, under other keys, among those to test."""
    copies = split.train[rng.choice(split.train.height, 5, replace=False)]
    copies = copies.with_columns(id=pl.Series([f"c{place}" for place in range(5)]))
    return replace(split, test=pl.concat([split.test, copies]), finds="leakage.rows: train, test")


def _normalised(split: Split, rng: np.random.Generator) -> Split:
    """The same rows, written otherwise: numbers with an exponent, names in capitals."""
    copies = split.train[rng.choice(split.train.height, 5, replace=False)]
    copies = copies.with_columns(id=pl.Series([f"c{place}" for place in range(5)]))

    def other(value: object) -> str | None:
        if value is None:
            return None
        return f"{value!r}e0" if isinstance(value, int | float) else f"  {value}".upper()

    def text(value: object) -> str | None:
        return None if value is None else f"{value}"

    def texts(frame: pl.DataFrame, write: Callable[[object], str | None]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                name: pl.Series(
                    map(text if name == "id" else write, frame[name].to_list()), dtype=pl.String
                )
                for name in frame.columns
            }
        )

    test = pl.concat([texts(split.test, text), texts(copies, other)])
    return replace(split, test=test, finds="leakage.normalised-rows: train, test")


def _keys(split: Split, rng: np.random.Generator) -> Split:
    """Keys of the training split on other rows."""
    taken = split.train["id"].sample(5, seed=int(rng.integers(1000)))
    ids = pl.concat([taken, split.test["id"][5:]])
    return replace(split, test=split.test.with_columns(id=ids), finds="leakage.keys: train, test")


def _groups(split: Split, rng: np.random.Generator) -> Split:
    """One patient has rows in both."""
    frames = [
        frame.with_columns(
            patient=pl.Series([f"{name}{place // 3}" for place in range(frame.height)])
        )
        for name, frame in (("p", split.train), ("q", split.test))
    ]
    patient = frames[1]["patient"].to_list()
    patient[:3] = [frames[0]["patient"][7]] * 3
    return replace(
        split,
        train=frames[0],
        test=frames[1].with_columns(patient=pl.Series(patient)),
        roles=(*split.roles, 'group = ["patient"]'),
        finds="leakage.groups: train, test",
    )


def _time(split: Split, rng: np.random.Generator) -> Split:
    """Some rows to test on are from before the end of training."""
    days = pl.Series([f"2025-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(split.train.height)])
    later = [f"2026-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(split.test.height)]
    later[3] = "2025-06-30"
    return replace(
        split,
        train=split.train.with_columns(day=days),
        test=split.test.with_columns(day=pl.Series(later)),
        roles=(*split.roles, 'time = "day"'),
        gates=("[gates.leakage]",),
        finds="leakage.time: train, test",
    )


def _label(split: Split, rng: np.random.Generator) -> Split:
    """A column that is filled in when the label is known: the label in other words, with noise."""
    numeric = split.train["label"].dtype.is_numeric()

    def disguised(frame: pl.DataFrame) -> pl.Series:
        if numeric:
            label = frame["label"].to_numpy().astype(float)
            noise = 0.01 * label.std() * rng.normal(size=len(label))
            return pl.Series((7 - 3 * (label + noise)).round(4))
        return pl.Series([f"ward {value[0]}" for value in frame["label"]])

    return replace(
        split,
        train=split.train.with_columns(outcome=disguised(split.train)),
        test=split.test.with_columns(outcome=disguised(split.test)),
        finds="leakage.label: train",
    )


def _constant(split: Split, rng: np.random.Generator) -> Split:
    """A column with one value."""
    return replace(
        split,
        train=split.train.with_columns(site=pl.lit("clinic 1")),
        test=split.test.with_columns(
            site=pl.Series([f"clinic {n % 2}" for n in range(split.test.height)])
        ),
        gates=("[gates.columns]",),
        finds="columns.constant: train",
    )


def _missing(split: Split, rng: np.random.Generator) -> Split:
    """A column that is empty in the split to test on."""
    name = split.features[0]
    empty = pl.Series(name, [None] * split.test.height, dtype=split.test[name].dtype)
    return replace(
        split,
        test=split.test.with_columns(empty),
        gates=("[gates.columns]",),
        finds="columns.missing: test",
    )


def _drift_label(split: Split, rng: np.random.Generator) -> Split:
    """Sorted by the label before it was cut."""
    whole = pl.concat([split.train, split.test]).sort("label", "id")
    cut = split.train.height
    return replace(
        split,
        train=whole[:cut],
        test=whole[cut:],
        gates=("[gates.drift]",),
        finds="drift.label: train, test",
    )


def _drift_column(split: Split, rng: np.random.Generator) -> Split:
    """Another unit in the split to test on."""
    name = split.features[0]
    return replace(
        split,
        test=split.test.with_columns(pl.col(name) * 2.54 + 1),
        gates=("[gates.drift]", f'columns = ["{name}"]'),
        finds=f"drift.columns: train, test: {name}",
    )


def _drift_missing(split: Split, rng: np.random.Generator) -> Split:
    """A sensor that fails half of the time."""
    name = split.features[0]
    holes = pl.Series(rng.random(split.test.height) < 0.5)
    return replace(
        split,
        test=split.test.with_columns(pl.when(holes).then(None).otherwise(pl.col(name)).alias(name)),
        gates=("[gates.drift]",),
        finds="drift.missing: train, test",
    )


Plant = Callable[[Split, np.random.Generator], Split]
PLANTED: Mapping[str, Plant] = MappingProxyType(
    {
        "rows": _rows,
        "normalised rows": _normalised,
        "keys": _keys,
        "groups": _groups,
        "time": _time,
        "label": _label,
        "constant": _constant,
        "missing": _missing,
        "drift of the label": _drift_label,
        "drift of a column": _drift_column,
        "drift of missing": _drift_missing,
    }
)
