"""`mllock evaluate` as it is typed: what is printed, the exit codes, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.evaluating import project
from support.training import Typed

from mllock.cli.main import run as mllock
from mllock.train.runs import list_runs
from mllock.workflows.context import Context

GATES = """\
[gates]
metrics = ["accuracy >= 0.8", "accuracy >= 0.9"]
[gates.slices]
by = ["sex"]
metric = "recall"
max-difference = 0.5
"""


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return project(tmp_path, gates=GATES)


@pytest.fixture
def typed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Typed:
    for name, value in ctx.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLLOCK_CACHE", str(ctx.cache.root))
    monkeypatch.delenv("MLLOCK_KEY", raising=False)

    def type_(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = mllock(["--project", str(ctx.project), *words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return type_


def test_a_gate_fails(ctx: Context, typed: Typed) -> None:
    code, out, err = typed("evaluate")
    (run,) = list_runs(ctx.runs)
    assert code == 1
    assert out.splitlines()[:-1] == [
        f"run      {run.id}",
        "metric   test: accuracy = 0.875",
        "passed      metrics                  test: accuracy >= 0.8: accuracy is 0.875",
        "failed      metrics                  test: accuracy >= 0.9: accuracy is 0.875",
        "passed      slices                   test: recall by sex: recall is 0.8 for sex = f and "
        f"0.9 for sex = m: {slices(ctx)}",
        "gates    2 passed, 1 failed",
    ]
    assert err.endswith("warning: a gate failed: the run is kept, and cannot be released\n")
    assert "judged by test\n" in err
    # What the program prints is not asked for, and the answer is.
    code, out, err = typed("evaluate", run.id[:12], "-q")
    assert (code, out.splitlines()[0]) == (1, f"run      {run.id}")
    assert "judged by" not in err


def slices(ctx: Context) -> str:
    """The words of the interval, which the resamples decide."""
    (run,) = list_runs(ctx.runs)
    value = json.loads((run.path / "model-gates.json").read_bytes())
    return str(value["results"][2]["summary"]).partition("sex = m: ")[2]


def test_json(ctx: Context, typed: Typed) -> None:
    path = ctx.project / "mlproject.toml"
    path.write_text(path.read_text().replace(', "accuracy >= 0.9"', ""))
    code, out, _ = typed("evaluate", "--json", "--runtime", "host")
    (run,) = list_runs(ctx.runs)
    assert code == 0
    value = json.loads(out)
    results = value["gates"].pop("results")
    assert value == {
        "run": run.id,
        "path": str(run.path),
        "runtime": "host",
        "sources": {
            "test": {
                "metrics": {"accuracy": 0.875},
                "predictions": str(run.path / "evaluation/test/predictions.csv"),
            }
        },
        "gates": {"failed": False},
        "signed-by": run.bundle().claimed_fingerprint,
    }
    kept = json.loads((run.path / "model-gates.json").read_bytes())["results"]
    assert json.loads(json.dumps(results)) == kept


def test_a_mistake(ctx: Context, typed: Typed) -> None:
    code, out, err = typed("evaluate", "20200101")
    assert (code, out) == (2, "")
    assert err == 'error: no run "20200101"\nhint: see "mllock runs"\n'
    (ctx.project / "judge.py").write_text("raise SystemExit('no luck')")
    code, out, err = typed("evaluate", "--json")
    assert code == 1
    assert json.loads(out)["error"]["message"] == "the evaluation program failed with exit code 1"
