"""Data gates around a run: before it, beside its record, and asked again."""

from __future__ import annotations

import datetime as dt
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.reporter import Recorder
from support.training import SPEC, Typed, locked, no_layers, relock
from support.typed import typed_in

from mllock.attest.policy import load_policy
from mllock.errors import AnswerNoError, InputError, RunError, VoidRunError
from mllock.gates.config import config_of
from mllock.gates.signed import read_signed
from mllock.gates.types import Judgement
from mllock.spec.reader import load_spec
from mllock.train.runs import RunFolder, list_runs
from mllock.workflows.check import check_target
from mllock.workflows.context import Context
from mllock.workflows.gates import judge_run
from mllock.workflows.judged import judged as what_was_judged
from mllock.workflows.train import TrainResult, train

TEST = """
[data.test]
source = "data/test.csv"
role = "test"
key = ["id"]
"""
DATA = (
    SPEC.replace('source = "data/train.csv"\n', 'source = "data/train.csv"\nkey = ["id"]\n') + TEST
)
LEAKAGE = "[gates.leakage]\n"
HEAD = "id,age,town\n"
TRAIN = HEAD + "".join(f"t{place},{place},{place * 7}\n" for place in range(20))
CLEAN = HEAD + "".join(f"v{place},{place + 100},{place}\n" for place in range(10))
LEAKY = CLEAN + "w1,7,49\nw2,8,56\n"


def project(folder: Path, gates: str = LEAKAGE, test: str = LEAKY, train: str = TRAIN) -> Context:
    files = {"data/train.csv": train, "data/test.csv": test}
    return locked(folder, spec=f"{DATA}{gates}", files=files)


def go(ctx: Context, *, despite: bool = False) -> TrainResult:
    return train(ctx, despite_gates=despite, environment_of=no_layers)


def judged(ctx: Context, run: RunFolder) -> Judgement:
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    return read_signed(run, "data", run.record(), policy).judgement


def verdicts(judgement: Judgement) -> dict[str, str]:
    return {f"{one.gate}: {one.subject}": one.verdict for one in judgement.results}


def declare(ctx: Context, gates: str) -> None:
    (ctx.project / "mlproject.toml").write_text(f"{DATA}{gates}")


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return project(tmp_path)


@pytest.fixture
def typed(ctx: Context, monkeypatch, capfd) -> Typed:
    return typed_in(ctx, monkeypatch, capfd)


def test_a_gate_that_fails_stops_training_before_anything_is_built(ctx: Context, typed: Typed):
    before = sorted(ctx.cache.root.rglob("*"))
    code, out, err = typed("train")
    assert (code, out) == (1, "")
    assert err == (
        "runtime: host (this machine's Python, locked packages; not the image)\n"
        "verifying the data\n"
        "asking the gates about the data\n"
        "error: mlproject.toml:24: gates: a gate does not hold, and nothing was trained\n"
        "found: leakage.rows             train, test: 2 rows of test are in train\n"
        "                     row 11 of test (id = w1) and row 8 of train (id = t7)\n"
        "                     row 12 of test (id = w2) and row 9 of train (id = t8)\n"
        "hint: leakage.rows: remove these rows from one of the splits\n"
        "      or accept it until a day: [gates] "
        'accept = [{ gate = "leakage.rows", until = 2027-01-31, reason = "..." }]\n'
        '      or let it only warn: [gates.leakage] severity = "warn"\n'
        "      or train all the same, a run that is not released: mllock train --despite-gates\n"
    )
    assert list_runs(ctx.runs) == ()
    assert sorted(ctx.cache.root.rglob("*")) == before


def test_a_run_despite_gates_says_so_in_a_signed_statement(ctx: Context):
    result = go(ctx, despite=True)
    assert result.data_gates == "failed"
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    assert what_was_judged(result.run, result.run.record(), policy).state == "failed"
    found = judged(ctx, result.run)
    assert verdicts(found) == {
        "leakage.rows: train, test": "failed",
        "leakage.normalised-rows: train, test": "passed",
        "leakage.keys: train, test": "passed",
    }
    record = result.run.record()
    assert found.inputs == {f"data/{name}": digest for name, digest in record.data.items()}
    assert found.config == config_of(load_spec(ctx.project / "mlproject.toml").spec, "data")
    assert [line for line in ctx.reporter.lines if "warn" in line] == [
        "warn: failed leakage.rows train, test: 2 rows of test are in train\n"
        "              row 11 of test (id = w1) and row 8 of train (id = t7)\n"
        "              row 12 of test (id = w2) and row 9 of train (id = t8)"
    ]
    # To a check, the files beside the record are neither missing nor too many.
    target = f"path:{result.run.model_path()}"
    with_files = check_target(ctx, target, run=result.run.id).findings
    for path in result.run.path.glob("data-gates*"):
        path.unlink()
    assert check_target(ctx, target, run=result.run.id).findings == with_files


def test_a_run_whose_gates_hold(tmp_path: Path):
    ctx = project(tmp_path, test=CLEAN)
    result = go(ctx)
    assert result.data_gates == "passed"
    assert set(verdicts(judged(ctx, result.run)).values()) == {"passed"}
    assert {"data-gates.json", "data-gates.sigstore.json"} <= {
        path.name for path in result.run.path.iterdir()
    }


def test_without_data_gates_there_is_no_statement(tmp_path: Path):
    ctx = project(tmp_path, gates="")
    result = go(ctx)
    assert result.data_gates is None
    assert not any("gates" in path.name for path in result.run.path.iterdir())
    assert "step: asking the gates about the data" not in ctx.reporter.lines


def test_severity_and_exceptions(tmp_path: Path):
    ctx = project(tmp_path, gates='[gates.leakage]\nseverity = "warn"\n')
    assert go(ctx).data_gates == "warned"
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    accept = '[[gates.accept]]\ngate = "leakage"\nuntil = {}\nreason = "known since May"\n'
    declare(ctx, LEAKAGE + accept.format(tomorrow))
    result = go(ctx)
    assert result.data_gates == "warned"
    assert verdicts(judged(ctx, result.run))["leakage.rows: train, test"] == "accepted"
    assert (
        ctx.reporter.lines.count(
            "warn: accepted leakage.rows train, test: 2 rows of test are in train\n"
            "              row 11 of test (id = w1) and row 8 of train (id = t7)\n"
            "              row 12 of test (id = w2) and row 9 of train (id = t8)\n"
            f"              accepted until {tomorrow}: known since May"
        )
        == 1
    )
    declare(ctx, LEAKAGE + accept.format(tomorrow - dt.timedelta(days=2)))
    with pytest.raises(AnswerNoError) as caught:
        go(ctx)
    assert caught.value.message == "a gate does not hold, and nothing was trained"
    # Over by a day: the run that was accepted is judged by today.
    assert [one.gate for one in judge_run(ctx, result.run.id).failed] == ["leakage.rows"]
    assert verdicts(judged(ctx, result.run))["leakage.rows: train, test"] == "failed"


def test_what_is_not_installed_is_said_first(ctx: Context, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    (ctx.project / "mlproject.lock").unlink()
    with pytest.raises(InputError) as caught:
        go(ctx)
    assert str(caught.value) == (
        'gates need polars, which is not installed\nhint: pip install "mllock[gates]"'
    )
    declare(ctx, "")
    with pytest.raises(InputError, match=r"mlproject\.lock"):
        go(ctx)


def test_a_run_is_judged_again_by_the_gates_of_today(ctx: Context, typed: Typed):
    run = go(ctx, despite=True).run
    first = judged(ctx, run)
    declare(ctx, '[gates.leakage]\nmax-shared = 0.5\n[gates.columns]\nseverity = "block"\n')
    code, out, err = typed("gates", run.id)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["passed", "leakage.rows"],
        ["row", "11"],
        ["row", "12"],
        ["passed", "leakage.normalised-rows"],
        ["passed", "leakage.keys"],
        *[["passed", "columns.constant"]] * 2,
        *[["passed", "columns.missing"]] * 2,
    ]
    assert err.splitlines()[:3] == [
        f"verifying the data of {run.id}",
        "asking the gates about the data",
        "7 declared gates hold",
    ]
    assert err.splitlines()[3].startswith("signed   SHA256:")
    second = judged(ctx, run)
    assert second.config != first.config
    assert set(verdicts(second).values()) == {"passed"}
    declare(ctx, LEAKAGE)
    assert typed("gates", run.id, "-q")[0] == 1
    assert replace(judged(ctx, run), day=first.day) == first


def test_a_run_is_judged_by_its_own_data_alone(ctx: Context):
    run = go(ctx, despite=True).run
    kept = (run.path / "data-gates.json").read_bytes()
    (ctx.project / "data/test.csv").write_text(CLEAN)
    relock(ctx)
    with pytest.raises(RunError) as caught:
        judge_run(ctx, run.id)
    assert str(caught.value).splitlines()[0] == (
        f"{run.id}: data.test: the data is not what the run was trained on: "
        "'data/test.csv' has 102 bytes now, 118 locked"
    )
    assert caught.value.hint == "bring that data back, or train again and judge that run"
    assert (run.path / "data-gates.json").read_bytes() == kept
    (ctx.project / "data/test.csv").write_text(LEAKY)
    (ctx.project / "data/more.csv").write_text(CLEAN)
    declare(ctx, '[data.more]\nsource = "data/more.csv"\nrole = "reference"\n' + LEAKAGE)
    with pytest.raises(RunError) as caught:
        judge_run(ctx, run.id)
    assert str(caught.value) == (
        f"{run.id}: data.more: the run was trained without this data source\n"
        "hint: train again, and judge that run"
    )


def test_no_gates_no_judgement(ctx: Context):
    run = go(ctx, despite=True).run
    declare(ctx, "[gates]\n")
    with pytest.raises(InputError) as caught:
        judge_run(ctx, run.id)
    assert str(caught.value) == (
        "mlproject.toml: no gate of data is declared: there is nothing to judge the run by\n"
        'hint: declare one, e.g. [gates.leakage], or see what "mllock gates" says'
    )
    with pytest.raises(RunError, match='no run "2020"'):
        judge_run(ctx, "2020")


def test_a_failed_run_has_no_model_to_judge(tmp_path: Path):
    ctx = project(tmp_path, test=CLEAN)
    (ctx.project / "train.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(AnswerNoError):
        go(ctx)
    (run,) = list_runs(ctx.runs)
    assert not (run.path / "data-gates.json").exists()
    with pytest.raises(RunError) as caught:
        judge_run(ctx, run.id)
    assert str(caught.value) == (
        f'{run.id}: the run failed, and there is no model to judge\nhint: see "mllock runs"'
    )


def test_data_that_changes_while_the_gates_read_it(ctx: Context):
    run = go(ctx, despite=True).run
    kept = (run.path / "data-gates.json").read_bytes()

    class Meddling(Recorder):
        def step(self, text: str) -> None:
            if text == "asking the gates about the data":
                (ctx.project / "data/test.csv").write_text(CLEAN)

    with pytest.raises(VoidRunError) as caught:
        judge_run(replace(ctx, reporter=Meddling()), run.id)
    assert str(caught.value) == (
        "data/test.csv: data.test: data changed while the gates read it\n"
        "hint: nothing may write to declared data meanwhile; ask again"
    )
    assert (run.path / "data-gates.json").read_bytes() == kept


def test_data_that_changes_while_the_gates_read_it_for_training(ctx: Context):
    place = ctx.project / "data/test.csv"

    class Meddling(Recorder):
        def step(self, text: str) -> None:
            if text == "asking the gates about the data":
                place.write_text(CLEAN)

    with pytest.raises(VoidRunError) as caught:
        go(replace(ctx, reporter=Meddling()))
    assert str(caught.value) == (
        "data/test.csv: data.test: data changed while the gates read it\n"
        "hint: nothing may write to declared data meanwhile; ask again"
    )
    assert list_runs(ctx.runs) == ()


def test_a_document_that_was_changed_is_found(ctx: Context):
    run = go(ctx, despite=True).run
    path = run.path / "data-gates.json"
    document = json.loads(path.read_bytes())
    assert document["results"][0]["verdict"] == "failed"
    path.write_bytes(path.read_bytes().replace(b'"verdict":"failed"', b'"verdict":"warned"'))
    with pytest.raises(RunError):
        judged(ctx, run)
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    assert what_was_judged(run, run.record(), policy).state == "damaged"
