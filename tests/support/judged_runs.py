"""Gates and evaluations of a run as any judge could sign them, put where they are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mllock.attest.bundle import sign_statement
from mllock.attest.keys import SigningKey
from mllock.attest.test_result import TestResult, make_test_result
from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.gates.document import write_judgement
from mllock.gates.types import Judgement, Result, Row
from mllock.spec.types import Accepted
from mllock.train.runs import RunFolder

DAY = dt.date(2026, 11, 26)

DRIFT = {
    "column": "quality",
    "bins": [
        {"name": "3", "expected": 0.1, "found": 0.4},
        {"name": "4", "expected": 0.6, "found": 0.5},
        {"name": "5", "expected": 0.3, "found": 0.1},
    ],
    "psi": 0.6,
    "jensen-shannon": 0.09,
    "chance": 0.02,
}
SLICES = {
    "metric": "recall",
    "by": ["sex", "region"],
    "slices": [
        {
            "slice": {"sex": "f", "region": "north"},
            "rows": 120,
            "value": 0.71,
            "low": 0.64,
            "high": 0.78,
            "judged": True,
        },
        {
            "slice": {"sex": "m", "region": "north"},
            "rows": 140,
            "value": 0.91,
            "low": 0.87,
            "high": 0.95,
            "judged": True,
        },
        {
            "slice": {"sex": "f", "region": "south"},
            "rows": 12,
            "value": 0.5,
            "low": 0.2,
            "high": 0.8,
            "judged": False,
        },
    ],
    "difference": {"value": 0.2, "low": 0.11, "high": 0.29},
    "ratio": {"value": 0.78, "low": 0.7, "high": 0.88},
}

# One of each kind that a report draws.
DATA_RESULTS = (
    Result(
        gate="leakage.rows",
        subject="train, test",
        verdict="failed",
        severity="block",
        summary="2 rows of test are in train",
        measured=0.02,
        limit=0.0,
        rows=2,
        broken=(
            (
                Row(source="train", file="", row=3, key={"id": "p-17"}),
                Row(source="test", file="", row=1, key={"id": "p-93"}),
            ),
            (Row(source="train", file="", row=8), Row(source="test", file="", row=2)),
        ),
    ),
    Result(
        gate="leakage.label",
        subject="train",
        verdict="accepted",
        severity="block",
        summary='"grade" alone predicts the label',
        measured=0.99,
        limit=0.98,
        details={"features": [{"name": "grade", "power": 0.99}, {"name": "age", "power": 0.2}]},
        accepted=Accepted(
            gate="leakage", until=dt.date(2027, 1, 1), reason="known before the decision"
        ),
    ),
    Result(
        gate="columns.constant",
        subject="train",
        verdict="passed",
        severity="warn",
        summary="no column is constant",
    ),
    Result(
        gate="drift.label",
        subject="train, test",
        verdict="warned",
        severity="warn",
        summary="quality is distributed otherwise in test",
        measured=0.6,
        limit=0.25,
        details=DRIFT,
    ),
    Result(
        gate="drift.missing",
        subject="train, test",
        verdict="warned",
        severity="warn",
        summary="age is missing in more rows of test",
        measured=0.3,
        limit=0.1,
        details={"columns": [{"name": "age", "expected": 0.0, "found": 0.3}]},
    ),
)
MODEL_RESULTS = (
    Result(
        gate="metrics",
        subject="test: accuracy >= 0.9",
        verdict="passed",
        severity="block",
        summary="accuracy is 0.93",
        measured=0.93,
        limit=0.9,
        details={"source": "test", "metric": "accuracy"},
    ),
    Result(
        gate="slices",
        subject="test: recall by sex, region",
        verdict="warned",
        severity="warn",
        summary="recall differs by 0.2 between slices",
        measured=0.2,
        limit=0.1,
        details=SLICES,
    ),
    Result(
        gate="slices",
        subject="test: recall by age",
        verdict="not judged",
        severity="warn",
        summary="no slice has 30 rows",
    ),
)


def judgement(
    kind: str, results: Sequence[Result], inputs: Mapping[str, Digest] | None = None
) -> Judgement:
    return Judgement(
        kind=kind,
        config=sha256_of(b"config"),
        inputs=inputs or {"data/train": sha256_of(b"train")},
        day=DAY,
        results=tuple(results),
    )


def put_gates(run: Path, kind: str, results: Sequence[Result], key: SigningKey) -> None:
    """`KIND-gates.json` and the statement about it, as `mllock gates` and `evaluate` leave them."""
    data_of = RunFolder(run).record().data
    made = judgement(kind, results, {f"data/{name}": tree for name, tree in data_of.items()})
    data = write_judgement(made)
    names = {
        verdicts: tuple(f"{r.gate}: {r.subject}" for r in results if r.verdict in verdicts)
        for verdicts in (("passed",), ("warned", "accepted", "not judged"), ("failed",))
    }
    passed, warned, failed = names.values()
    (run / f"{kind}-gates.json").write_bytes(data)
    put_statement(
        run,
        f"{kind}-gates",
        key,
        {"results": sha256_of(data), "config": made.config, **made.inputs},
        passed=passed,
        warned=warned,
        failed=failed,
    )


def put_evaluation(run: Path, metrics: Mapping[str, Mapping[str, float]], key: SigningKey) -> None:
    """`evaluation/NAME/metrics.json` of each source, and the statement about all of them."""
    configuration = {}
    for source, values in metrics.items():
        folder = run / "evaluation" / source
        folder.mkdir(parents=True, exist_ok=True)
        data = canonical.dumps(dict(values))
        (folder / "metrics.json").write_bytes(data)
        configuration[f"metrics/{source}"] = sha256_of(data)
    put_statement(
        run, "evaluation", key, configuration, passed=tuple(f"evaluate: {s}" for s in metrics)
    )


def put_statement(
    run: Path, name: str, key: SigningKey, configuration: Mapping[str, Any], **tests: Any
) -> None:
    record = RunFolder(run).record()
    value = TestResult(
        model=record.model, configuration={"record": record.digest, **configuration}, **tests
    )
    (run / f"{name}.sigstore.json").write_bytes(sign_statement(make_test_result(value), key))


def put_all(run: Path, key: SigningKey) -> None:
    put_gates(run, "data", DATA_RESULTS, key)
    put_gates(run, "model", MODEL_RESULTS, key)
    put_evaluation(run, {"test": {"accuracy": 0.93, "recall": 0.85}}, key)
