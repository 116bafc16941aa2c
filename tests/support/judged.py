"""Judgements as gates make them, and runs that have one beside their record."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from mllock.attest.bundle import sign_statement
from mllock.attest.keys import SigningKey
from mllock.attest.test_result import make_test_result
from mllock.core.digest import Digest, sha256_of
from mllock.gates.config import config_of
from mllock.gates.evaluation import (
    EVALUATION_BUNDLE,
    EVALUATION_FOLDER,
    Evaluated,
    evaluation_statement,
)
from mllock.gates.signed import keep_judgement
from mllock.gates.types import Judgement, Kind, Result, Row, Verdict
from mllock.spec.reader import load_spec
from mllock.spec.types import Accepted
from mllock.train.runs import RunFolder
from support.world import RUN, World

DAY = dt.date(2026, 11, 25)

RESULTS = (
    Result(
        gate="leakage.rows",
        subject="train, test",
        verdict="failed",
        severity="block",
        summary="2 rows of test are in train",
        measured=0.5,
        limit=0.0,
        rows=2,
        broken=(
            (
                Row(source="test", file="", row=1, key={"id": "7"}),
                Row(source="train", file="part/1.csv", row=3),
            ),
            (Row(source="test", file="", row=2),),
        ),
    ),
    Result(
        gate="drift.label",
        subject="train, test",
        verdict="accepted",
        severity="warn",
        summary="the label is distributed otherwise",
        details={"column": "quality", "psi": 0.5, "bins": [{"name": "1", "expected": 0.25}]},
        accepted=Accepted(gate="drift", until=dt.date(2027, 1, 1), reason="a small test set"),
    ),
    Result(
        gate="columns.missing",
        subject="train",
        verdict="not judged",
        severity="block",
        summary="there are no rows",
    ),
    Result(
        gate="leakage.keys",
        subject="train, test",
        verdict="passed",
        severity="block",
        summary="no key is in both",
        measured=0.0,
        limit=0.0,
    ),
)
JUDGEMENT = Judgement(
    kind="data",
    config=sha256_of(b"config"),
    inputs={"data/test": sha256_of(b"test"), "data/train": sha256_of(b"train")},
    day=DAY,
    results=RESULTS,
)


def result_of(verdict: Verdict = "passed", **changes: Any) -> Result:
    result = Result(
        gate="metrics",
        subject="test: accuracy >= 0.9",
        verdict=verdict,
        severity="block",
        summary="accuracy is 0.95",
        measured=0.95,
        limit=0.9,
    )
    return replace(result, **changes)


def put_judgement(
    world: World,
    kind: Kind = "model",
    verdict: Verdict = "passed",
    *,
    run: str = RUN,
    key: SigningKey | None = None,
    **changes: Any,
) -> Digest:
    """Judge a run of the world by the gates of its spec, with one result; signed, beside it."""
    folder = RunFolder(world.project / ".mllock" / "runs" / run)
    record = folder.record()
    judgement = Judgement(
        kind=kind,
        config=config_of(load_spec(world.project / "mlproject.toml").spec, kind),
        inputs={f"data/{name}": digest for name, digest in record.data.items()},
        day=DAY,
        results=(result_of(verdict),),
    )
    return keep_judgement(folder.path, replace(judgement, **changes), record, key or world.key)


def put_evaluation(world: World, run: str = RUN, *, source: str = "train") -> None:
    """What `mllock evaluate` would leave about a source, were it a test source."""
    folder = RunFolder(world.project / ".mllock" / "runs" / run)
    record = folder.record()
    place = folder.path / EVALUATION_FOLDER / source
    place.mkdir(parents=True)
    metrics, predictions = b'{"accuracy": 0.95}', b"prediction\n1\n0\n"
    (place / "metrics.json").write_bytes(metrics)
    (place / "predictions.csv").write_bytes(predictions)
    (place / "log.txt").write_bytes(b"judged\n")
    evaluated = Evaluated(
        data=record.data[source],
        metrics={"accuracy": 0.95},
        metrics_digest=sha256_of(metrics),
        predictions=place / "predictions.csv",
        predictions_digest=sha256_of(predictions),
    )
    statement = evaluation_statement(record, record.code, {source: evaluated})
    bundle = sign_statement(make_test_result(statement), world.key)
    (folder.path / EVALUATION_BUNDLE).write_bytes(bundle)
