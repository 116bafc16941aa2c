"""Predictions beside data, from texts of CSV, and gates of slices that are asked about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mllock.core.digest import sha256_of
from mllock.gates.open import open_file
from mllock.gates.scored import Scored, blamed
from mllock.gates.slices import judge_slices
from mllock.gates.terms import Terms
from mllock.gates.types import Result
from mllock.spec.types import DataSource, Scalar, SlicesGate

__all__ = ["INPUTS", "TERMS", "Read", "gate", "judged", "reader"]

TERMS = Terms(severity="block", accept=(), day=dt.date(2026, 11, 26))
INPUTS = {"data/test": sha256_of(b"test")}
Read = Callable[..., Scored]


def reader(folder: Path) -> Read:
    """`reader(folder)(data, predictions)`: one test source that was judged."""

    def read(
        data: str,
        predictions: str,
        *,
        label: str | None = "label",
        key: tuple[str, ...] = (),
        positive: Scalar | None = None,
    ) -> Scored:
        (folder / "test.csv").write_text(data)
        (folder / "predictions.csv").write_text(predictions)
        with blamed():
            found = open_file("predictions", folder / "predictions.csv", shown="predictions.csv")
        return Scored(
            open_file("test", folder / "test.csv", shown="data/test.csv"),
            found,
            DataSource(source="data/test.csv", label=label, key=key),
            place="predictions.csv",
            positive=positive,
        )

    return read


def gate(metric: str = "recall", by: Sequence[str] = ("sex",), **more: Any) -> SlicesGate:
    limit = {} if "min_ratio" in more else {"max_difference": 0.1}
    return SlicesGate(by=tuple(by), metric=metric, **{**limit, **more})


def judged(scored: Scored, asked: SlicesGate, terms: Terms = TERMS) -> list[Result]:
    return list(
        judge_slices(scored, asked, terms, source="test", key="gates.slices", inputs=INPUTS)
    )
