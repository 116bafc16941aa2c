"""`mllock evaluate`, with real programs in real processes: what is run, taken, signed, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.evaluating import files, judged_project, policy_of, project, rejudge
from support.reporter import Recorder

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.keys import load_or_create_key
from mllock.attest.test_result import make_test_result, read_test_result
from mllock.core.digest import sha256_of
from mllock.data.scan import scan
from mllock.errors import (
    RunError,
    SpecError,
)
from mllock.gates.evaluation import read_evaluation
from mllock.gates.signed import read_signed
from mllock.train.runs import list_runs
from mllock.workflows.evaluate import evaluate

LOOK = """\
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
seen = {
    "files": sorted(str(p) for p in pathlib.Path(".").rglob("*") if p.is_file()),
    "variables": sorted(os.environ),
    "params": json.loads(pathlib.Path(os.environ["MLLOCK_PARAMS"]).read_text()),
    "data": json.loads(pathlib.Path(os.environ["MLLOCK_DATA"]).read_text()),
    "stdin": sys.stdin.read(),
}
print(json.dumps(seen))
"""


def test_what_is_run_and_what_is_kept(tmp_path: Path) -> None:
    ctx, run, result = judged_project(tmp_path, program=LOOK)
    log = (run.path / "evaluation/test/log.txt").read_text().splitlines()
    assert json.loads(log[0]) == {
        # The model, the code, one test source: no other data, and no metrics of the training.
        "files": [
            ".mllock/data.json",
            ".mllock/params.json",
            "data/test.csv",
            "judge.py",
            "out/model/rule.txt",
            "train.py",
        ],
        "variables": [
            *("CUDA_VISIBLE_DEVICES", "HOME", "LANG", "MLLOCK_DATA", "MLLOCK_PARAMS"),
            *("OMP_NUM_THREADS", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "TZ"),
        ],
        "params": {"alpha": 0.5},
        "data": {"name": "test", "path": "data/test.csv"},
        "stdin": "",
    }
    assert log[1] == "judged by test"
    assert sorted(files(run)) == [
        "evaluation.sigstore.json",
        "evaluation/test/log.txt",
        "evaluation/test/metrics.json",
        "evaluation/test/predictions.csv",
    ]
    assert dict(result.sources["test"].metrics) == {"accuracy": 0.875}
    assert result.judgement is None
    assert result.runtime == "host"
    record = run.record()
    statement = read_test_result(read_bundle(files(run)["evaluation.sigstore.json"]).payload)
    assert statement.model == record.model
    assert (statement.passed, statement.result) == (("evaluate: test",), "PASSED")
    folder = run.path / "evaluation/test"
    assert statement.configuration == {
        "record": record.digest,
        "code": record.code,
        "data/test": scan(ctx.project / "data/test.csv", name="x").digest,
        "metrics/test": sha256_of((folder / "metrics.json").read_bytes()),
        "predictions/test": sha256_of((folder / "predictions.csv").read_bytes()),
    }
    found = read_evaluation(run, record, policy_of(ctx))
    assert found is not None
    assert found.code == record.code
    assert found.sources == result.sources
    assert run.is_good
    # Code may change after the training; the statement says which ran.
    (ctx.project / "judge.py").write_text((ctx.project / "judge.py").read_text() + "# more\n")
    evaluate(ctx)
    again = read_evaluation(run, record, policy_of(ctx))
    assert again is not None
    assert again.code not in (record.code, found.code)


def test_with_params_of_the_run(tmp_path: Path) -> None:
    from support.training import no_layers

    from mllock.workflows.train import train

    ctx = project(tmp_path, program=LOOK)
    first = list_runs(ctx.runs)[0]
    second = train(ctx, overrides=["alpha=0.7"], environment_of=no_layers).run
    assert evaluate(ctx).run == second
    assert evaluate(ctx, run=first.id).run == first
    params = [
        json.loads((run.path / "evaluation/test/log.txt").read_text().splitlines()[0])["params"]
        for run in (first, second)
    ]
    assert params == [{"alpha": 0.5}, {"alpha": 0.7}]


def test_two_test_sources(tmp_path: Path) -> None:
    data = '[data.hard]\nsource = "data/hard.csv"\nrole = "test"\nlabel = "label"\n'
    gates = (
        '[gates]\nmetrics = [{ that = "accuracy >= 0.9", source = "hard" }, "accuracy >= 0.5", '
        '{ that = "recall > 1", source = "test", severity = "warn" }]'
    )
    hard = "label,x\n1,1\n1,0\n0,0\n0,1\n"
    _, run, result = judged_project(tmp_path, data=data, gates=gates, files={"data/hard.csv": hard})
    assert {name: dict(one.metrics) for name, one in result.sources.items()} == {
        "test": {"accuracy": 0.875},
        "hard": {"accuracy": 0.5},
    }
    assert sorted(path.name for path in (run.path / "evaluation").iterdir()) == ["hard", "test"]
    assert result.judgement is not None
    assert result.judgement.blocks
    assert [(one.subject, one.verdict, one.summary) for one in result.judgement.results] == [
        ("hard: accuracy >= 0.9", "failed", "accuracy is 0.5"),
        ("test: accuracy >= 0.5", "passed", "accuracy is 0.875"),
        ("hard: accuracy >= 0.5", "passed", "accuracy is 0.5"),
        # Nobody wrote it: it is computed from the predictions.
        ("test: recall > 1", "warned", "recall is 0.85"),
    ]


def test_the_newest_replaces_what_was_there(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path, gates='[gates]\nmetrics = ["accuracy > 0.9"]')
    before = files(run)
    (run.path / "evaluation/test/old").write_text("left")
    judged = read_signed(run, "model", run.record(), policy_of(ctx))
    assert judged.judgement.blocks
    result = rejudge(ctx, "> 0.9", "> 0.8")
    after = files(run)
    assert after.keys() == before.keys()
    assert result.judgement is not None
    assert not result.judgement.blocks
    judged = read_signed(run, "model", run.record(), policy_of(ctx))
    assert judged.judgement == result.judgement
    # Without gates there is no judgement, and none of before is left.
    rejudge(ctx, '[gates]\nmetrics = ["accuracy > 0.8"]', "")
    assert sorted(set(before) - set(files(run))) == [
        "model-gates.json",
        "model-gates.sigstore.json",
    ]


def test_nothing_to_evaluate(tmp_path: Path) -> None:
    from support.training import locked

    ctx = locked(tmp_path)
    with pytest.raises(SpecError) as caught:
        evaluate(ctx)
    assert str(caught.value) == (
        "mlproject.toml: there is nothing to evaluate\n"
        "hint: add an [evaluate] table with command and metrics, or conditions in [gates]"
    )


def test_no_run_and_a_run_of_another_lock(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path)
    with pytest.raises(RunError) as caught:
        evaluate(ctx, run="nothing")
    assert caught.value.message == 'no run "nothing"'
    spec = ctx.project / "mlproject.toml"
    spec.write_text(spec.read_text().replace('OMP_NUM_THREADS = "1"', 'OMP_NUM_THREADS = "2"'))
    from support.training import relock

    relock(ctx)
    with pytest.raises(RunError) as caught:
        evaluate(ctx, run=run.id)
    assert caught.value.message == "the run was trained from another lock"
    with pytest.raises(RunError) as caught:
        evaluate(ctx)
    assert str(caught.value) == (
        'no run of this lock: there is no model to evaluate\nhint: make one with "mllock train"'
    )


def test_an_evaluation_is_believed_by_its_bytes(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path)
    record, policy = run.record(), policy_of(ctx)

    def broken() -> str:
        with pytest.raises(RunError) as caught:
            read_evaluation(run, record, policy)
        return caught.value.message

    metrics = run.path / "evaluation/test/metrics.json"
    good = metrics.read_bytes()
    metrics.write_bytes(b'{"accuracy": 1.0}')
    assert broken() == "not the bytes that the statement names"
    metrics.unlink()
    assert broken() == "no such file in the run"
    metrics.write_bytes(good)
    predictions = metrics.with_name("predictions.csv")
    kept = predictions.read_bytes()
    predictions.write_bytes(kept.replace(b"0", b"1", 1))
    assert broken() == "not the bytes that the statement names"
    predictions.unlink()
    assert broken() == "not a statement about an evaluation"
    predictions.write_bytes(kept)
    assert read_evaluation(run, record, policy) is not None
    # A statement about more, or another thing, than an evaluation.
    path = run.path / "evaluation.sigstore.json"
    value = read_test_result(read_bundle(path.read_bytes()).payload)
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    for other in (
        replace(value, passed=("evaluate: ../../model",)),
        replace(value, failed=("evaluate: other",)),
        replace(value, configuration={**value.configuration, "data/x": value.model}),
        replace(value, configuration={"record": record.digest}),
    ):
        path.write_bytes(sign_statement(make_test_result(other), key))
        with pytest.raises(RunError):
            read_evaluation(run, record, policy)
    path.unlink()
    assert read_evaluation(run, record, policy) is None


def test_without_evaluate_the_training_is_judged(tmp_path: Path) -> None:
    ctx = project(tmp_path)
    spec = ctx.project / "mlproject.toml"
    text = spec.read_text()
    start = text.index("[evaluate]")
    spec.write_text(text[:start] + '[gates]\nmetrics = ["accuracy >= 0.7", "accuracy >= 0.8"]\n')
    result = evaluate(ctx)
    assert result.sources == {}
    assert result.judgement is not None
    assert [(one.subject, one.verdict) for one in result.judgement.results] == [
        ("accuracy >= 0.7", "passed"),
        ("accuracy >= 0.8", "failed"),
    ]
    run = result.run
    found = read_signed(run, "model", run.record(), policy_of(ctx))
    assert found.judgement == result.judgement
    assert sorted(found.statement.configuration) == [
        *("config", "data/test", "data/train", "metrics", "record", "results")
    ]


def test_predictions_are_not_asked_for(tmp_path: Path) -> None:
    _, run, result = judged_project(tmp_path, evaluate="")
    assert result.sources["test"].predictions is None
    assert sorted(files(run)) == [
        "evaluation.sigstore.json",
        "evaluation/test/log.txt",
        "evaluation/test/metrics.json",
    ]


def test_what_is_said(tmp_path: Path) -> None:
    ctx, run, _ = judged_project(tmp_path)
    assert isinstance(ctx.reporter, Recorder)
    said = ctx.reporter.lines
    at = said.index(f"note: model of run {run.id}")
    assert said[at - 1 : at + 4][0].startswith("note: runtime: host")
    assert said[at + 1] == "step: verifying the data: test"
    assert "step: running: python judge.py" in said[at:]
