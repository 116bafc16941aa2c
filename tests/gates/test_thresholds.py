"""Conditions on metrics and the run that is the measure: what holds, what is worse, what nobody
can tell."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.evaluating import judged_project, project, rejudge
from support.training import no_layers

from mllock.core.digest import sha256_of
from mllock.errors import InputError, RunError
from mllock.gates.terms import Terms
from mllock.gates.thresholds import Measured, Released, judge_conditions, judge_no_worse
from mllock.gates.types import Result
from mllock.spec.gates import SLICE_METRICS, higher_is_better
from mllock.spec.types import Accepted, Gates, MetricGate, NoWorseGate, Severity
from mllock.train.runs import list_runs
from mllock.workflows.context import Context
from mllock.workflows.evaluate import evaluate
from mllock.workflows.release import release_run
from mllock.workflows.train import train

DAY = dt.date(2026, 11, 26)
DATA = sha256_of(b"test")


def terms(gates: Gates) -> Any:
    def of(severity: Severity) -> Terms:
        return Terms(severity=severity, accept=gates.accept, day=DAY)

    return of


def measured(source: str = "test", **written: float) -> dict[str, Measured]:
    return {source: Measured(source=source, written=written, data=DATA)}


def conditions(gates: Gates, sources: dict[str, Measured]) -> list[tuple[str, str, str]]:
    return [
        (one.subject, one.verdict, one.summary)
        for one in judge_conditions(gates, sources, terms(gates))
    ]


def test_conditions() -> None:
    gates = Gates(
        metrics=(
            "accuracy >= 0.9",
            "loss < 0.5",
            MetricGate(that="recall == 1", severity="warn"),
            MetricGate(that="accuracy > 0.99", source="hard"),
        ),
        accept=(Accepted(gate="metrics", until=DAY, reason="known"),),
    )
    assert conditions(gates, measured(accuracy=0.9, loss=0.5, recall=0.999)) == [
        ("test: accuracy >= 0.9", "passed", "accuracy is 0.9"),
        ("test: loss < 0.5", "accepted", "loss is 0.5"),
        ("test: recall == 1", "accepted", "recall is 0.999"),
    ]
    strict = Gates(metrics=gates.metrics)
    assert conditions(strict, measured(accuracy=0.9, loss=0.5, recall=0.999))[1:] == [
        ("test: loss < 0.5", "failed", "loss is 0.5"),
        ("test: recall == 1", "warned", "recall is 0.999"),
    ]
    # What is not there holds nothing, not even what is to be small.
    assert conditions(strict, measured("", acuracy=0.9))[:2] == [
        ("accuracy >= 0.9", "failed", 'there is no metric "accuracy": did you mean "acuracy"?'),
        ("loss < 0.5", "failed", 'there is no metric "loss"'),
    ]


def test_what_the_program_wrote_comes_first() -> None:
    source = Measured(source="test", written={"accuracy": 0.5}, computed=lambda _: 0.9)
    assert (source.metric("accuracy"), source.metric("recall")) == (0.5, 0.9)


def test_which_way_is_worse() -> None:
    """Of all that slices can compare; what a condition says of it counts more than its name."""
    less = {metric for metric in SLICE_METRICS if not higher_is_better(metric)}
    assert less == {
        "false_positive_rate",
        "false_negative_rate",
        "log_loss",
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
        "mean_absolute_percentage_error",
    }


def compared(gates: Gates, value: float, old: float, **more: Any) -> Result:
    metric = more.pop("metric", "accuracy")
    released = Released(
        run="20261123-081501-k3f9",
        name='release 3 of stage "production"',
        sources=measured(**{metric: old}),
        **more,
    )
    (result,) = judge_no_worse(gates, measured(**{metric: value}), released, terms(gates))
    return result


def test_no_worse() -> None:
    gates = Gates(metrics=("accuracy >= 0.5",), no_worse_than="released")
    result = compared(gates, 0.91, 0.92)
    assert (result.verdict, result.summary) == (
        "failed",
        'accuracy is 0.91, and 0.92 in release 3 of stage "production"',
    )
    assert (result.measured, result.limit) == (0.91, 0.92)
    assert result.details == {
        "metric": "accuracy",
        "source": "test",
        "released": "20261123-081501-k3f9",
    }
    assert compared(gates, 0.92, 0.92).verdict == "passed"
    loss = Gates(metrics=("loss <= 5",), no_worse_than="released")
    assert compared(loss, 0.4, 0.5, metric="loss").verdict == "passed"
    assert compared(loss, 0.6, 0.5, metric="loss").verdict == "failed"
    within = Gates(no_worse_than=NoWorseGate(metrics=("rmse",), tolerance=0.2, severity="warn"))
    assert compared(within, 0.6, 0.5, metric="rmse").verdict == "passed"
    assert compared(within, 0.8, 0.5, metric="rmse").verdict == "warned"
    # A condition turns it round.
    turned = Gates(metrics=("gain <= 5",), no_worse_than="released")
    assert compared(turned, 0.6, 0.5, metric="gain").verdict == "failed"
    assert compared(gates, 0.1, 0.9, is_this=True).summary == (
        'this is release 3 of stage "production"'
    )


def test_what_cannot_be_compared() -> None:
    gates = Gates(metrics=("accuracy >= 0.5",), no_worse_than="released")

    def said(before: dict[str, Measured], now: dict[str, Measured]) -> tuple[str, str]:
        released = Released(run="R", name="release 3", sources=before)
        (result,) = judge_no_worse(gates, now, released, terms(gates))
        return result.verdict, result.summary

    now = measured(accuracy=0.9)
    assert said({}, now) == (
        "not judged",
        "run R was not evaluated by test: mllock evaluate R, which is release 3",
    )
    other = {"test": Measured(source="test", written={"accuracy": 1}, data=sha256_of(b"x"))}
    assert said(other, now) == (
        "not judged",
        "run R was evaluated by other data, which is release 3",
    )
    assert said(measured(recall=1), now) == (
        "not judged",
        'run R has no metric "accuracy", which is release 3',
    )
    assert said(measured(accuracy=1), measured(recall=1)) == (
        "failed",
        'there is no metric "accuracy"',
    )
    (nothing,) = judge_no_worse(gates, now, None, terms(gates))
    assert (nothing.verdict, nothing.summary) == ("passed", "nothing is released yet")


GATES = '[gates]\nmetrics = ["accuracy >= 0.5"]\nno-worse-than = "released"\n'


def results(ctx: Context) -> list[tuple[str, str, str]]:
    judgement = evaluate(ctx).judgement
    assert judgement is not None
    return [
        (one.subject, one.verdict, one.summary)
        for one in judgement.results
        if one.gate == "no-worse-than"
    ]


def worse(ctx: Context) -> None:
    path = ctx.project / "judge.py"
    path.write_text(path.read_text().replace("sum(right) / len(right)", "0.7"))


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A project whose first run is released, and whose second one is worse."""
    monkeypatch.setattr("mllock.workflows.release._checked", lambda _, run: run.record())
    ctx, run, result = judged_project(tmp_path, gates=GATES)
    assert result.judgement is not None
    assert result.judgement.results[1].summary == "nothing is released yet"
    release_run(ctx, run.id, "production")
    assert results(ctx) == [("test: accuracy", "passed", 'this is release 1 of stage "production"')]
    train(ctx, environment_of=no_layers)
    worse(ctx)
    return ctx


def test_against_the_released_run(released: Context) -> None:
    ctx = released
    new, old = list_runs(ctx.runs)
    assert results(ctx) == [
        (
            "test: accuracy",
            "failed",
            'accuracy is 0.7, and 0.875 in release 1 of stage "production"',
        )
    ]
    # Named by its stage; a stage without a release is none yet.
    rejudge(ctx, '"released"', '"production"')
    assert [verdict for _, verdict, _ in results(ctx)] == ["failed"]
    rejudge(ctx, '"production"', '"staging"')
    assert results(ctx) == [("test: accuracy", "passed", "nothing is released yet")]
    # Computed from predictions, of both.
    spec = '[gates]\nno-worse-than = { than = "production", metrics = ["recall"] }\n'
    path = ctx.project / "mlproject.toml"
    path.write_text(path.read_text().partition("[gates]")[0] + spec)
    assert results(ctx) == [
        ("test: recall", "passed", 'recall is 0.85, and 0.85 in release 1 of stage "production"')
    ]
    # What the released run wrote counts as it was signed only.
    metrics = old.path / "evaluation/test/metrics.json"
    metrics.write_text('{"accuracy": 0.1}')
    with pytest.raises(RunError) as caught:
        evaluate(ctx)
    assert str(caught.value).startswith(
        f"{old.id}/evaluation/test/metrics.json: not the bytes that the statement names"
    )
    shutil.rmtree(old.path)
    with pytest.raises(RunError) as caught:
        evaluate(ctx, run=new.id)
    assert str(caught.value) == (
        f"{old.id}: gates.no-worse-than: the run that is the measure is not here\n"
        'expected: the run of release 1 of stage "production"\n'
        'hint: bring it with "mllock pull"'
    )


def test_more_than_one_stage(released: Context) -> None:
    ctx = released
    _, old = list_runs(ctx.runs)
    release_run(ctx, old.id, "staging")
    with pytest.raises(InputError) as caught:
        evaluate(ctx)
    assert str(caught.value) == (
        "mlproject.toml: gates.no-worse-than: there is more than one stage with a release\n"
        'expected: "production", "staging"\nfound: "released"\n'
        'hint: say which one is the measure, e.g. no-worse-than = "production"'
    )


def test_training_is_judged_by_its_own_metrics(tmp_path: Path) -> None:
    ctx = project(tmp_path)
    path = ctx.project / "mlproject.toml"
    start = path.read_text().partition("[evaluate]")[0]
    path.write_text(start + '[gates]\nmetrics = ["accuracy >= 0.7", "accuracy >= 0.8"]\n')
    result = train(ctx, environment_of=no_layers)
    assert result.model_gates is not None
    assert [one.verdict for one in result.model_gates.results] == ["passed", "failed"]
    assert result.run.is_good
    assert (result.run.path / "model-gates.sigstore.json").is_file()
    # With test sources to evaluate, that is to come.
    path.write_text(
        start + '[evaluate]\ncommand = ["x"]\nmetrics = "m"\n[gates]\nmetrics = ["accuracy > 1"]\n'
    )
    assert train(ctx, environment_of=no_layers).model_gates is None


def test_what_cannot_be_judged_costs_no_training(tmp_path: Path) -> None:
    ctx = project(tmp_path)
    path = ctx.project / "mlproject.toml"
    path.write_text(path.read_text().partition("[evaluate]")[0] + GATES)
    (ctx.releases / "production").mkdir(parents=True)
    shutil.rmtree(ctx.releases)
    ctx.releases.write_text("no folder")
    result = train(ctx, environment_of=no_layers)
    assert result.model_gates is None
    assert result.run.is_good
    said = [line for line in ctx.reporter.lines if "not judged" in line]  # type: ignore[attr-defined]
    assert said[0].startswith("warn: the run is not judged by its gates: ")
    assert f"note: then: mllock evaluate {result.run.id}" in ctx.reporter.lines  # type: ignore[attr-defined]
