"""Tables on disk for the tests of gates, and the gates of a small spec asked about them."""

from __future__ import annotations

import datetime as dt
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mllock.gates.leakage import leakage_results
from mllock.gates.open import open_table
from mllock.gates.tables import Table
from mllock.gates.terms import Terms
from mllock.gates.types import Result
from mllock.spec.types import Accepted, DataSource, Environment, LeakageGate, Project, Spec

__all__ = [
    "DAY",
    "DECLARED",
    "ask",
    "ask_leakage",
    "broken",
    "frame_of",
    "opened",
    "rows_of",
    "spec_of",
    "written",
]

DAY = dt.date(2026, 11, 1)


def opened(project: Path, path: str, content: bytes | None = None, **source: Any) -> Table:
    """The source at `path` as a table; with `content` it is written first."""
    if content is not None:
        place = project / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return open_table("train", DataSource(source=path, **source), project)


def rows_of(table: Table, *, rows: int = 7) -> list[tuple[Any, ...]]:
    """All rows; that positions are right is looked at on the way."""
    found: list[tuple[Any, ...]] = []
    before = ("", 0)
    for batch in table.batches(rows=rows):
        assert 0 < batch.frame.height <= rows
        assert batch.offset == len(found)
        first = before[1] + 1 if batch.file == before[0] else 1
        assert batch.first == first
        before = (batch.file, first + batch.frame.height - 1)
        found += batch.frame.rows()
    return found


def written(frame: pl.DataFrame, ending: str) -> bytes:
    """A frame as a file of this ending."""
    out = io.BytesIO()
    if ending in (".csv", ".csv.gz"):
        data = frame.write_csv().encode()
        return gzip.compress(data, 1) if ending == ".csv.gz" else data
    if ending == ".tsv":
        return frame.write_csv(separator="\t").encode()
    if ending in (".jsonl", ".ndjson"):
        return frame.write_ndjson().encode()
    if ending == ".parquet":
        frame.write_parquet(out, row_group_size=11)
    else:
        frame.write_ipc(out, record_batch_size=5)
    return out.getvalue()


def spec_of(sources: Mapping[str, DataSource]) -> Spec:
    return Spec(
        project=Project(name="gated"),
        environment=Environment(python="3.11"),
        data=dict(sources),
    )


def ask_leakage(
    project: Path,
    sources: Mapping[str, Mapping[str, Any]],
    gate: LeakageGate | None = None,
    accept: Sequence[Accepted] = (),
) -> dict[str, Result]:
    """The results by gate and subject, of sources named as their roles, in files there."""
    data = {
        name: DataSource(**{"role": name, **source})  # type: ignore[arg-type]
        for name, source in sources.items()
    }
    tables = {name: open_table(name, source, project) for name, source in data.items()}
    terms = Terms(severity="block", accept=tuple(accept), day=DAY)
    results = leakage_results(spec_of(data), tables, gate or LeakageGate(), terms)
    return {f"{result.gate}: {result.subject}": result for result in results}


def frame_of(first: int, count: int) -> pl.DataFrame:
    """Rows that no other ones are like."""
    numbers = range(first, first + count)
    return pl.DataFrame(
        {
            "id": numbers,
            "patient": [f"p{number // 2}" for number in numbers],
            "day": [
                (dt.datetime(2024, 1, 1) + dt.timedelta(hours=number)).isoformat()
                for number in numbers
            ],
            "age": [number / 8 for number in numbers],
            "city": [f"Town  {number}" for number in numbers],
        }
    )


def broken(result: Result) -> list[list[tuple[str, int]]]:
    return [[(row.source, row.row) for row in rows] for rows in result.broken]


def ask(
    project: Path, train: pl.DataFrame, test: pl.DataFrame, ending: str = ".csv", **source: Any
) -> dict[str, Result]:
    for name, frame in (("train", train), ("test", test)):
        (project / f"{name}{ending}").write_bytes(written(frame, ending))
    return ask_leakage(
        project,
        {name: {"source": f"{name}{ending}", **source} for name in ("train", "test")},
    )


DECLARED = {"key": ("id",), "group": ("patient",), "time": "day"}
