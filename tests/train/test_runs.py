"""Run folders, and the commands that train and show them, as users type them."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import pytest
from support.training import PROGRAM, SPEC, Typed, context, no_layers

from mllock.attest.keys import load_or_create_key
from mllock.errors import RunError
from mllock.train.runs import RunFolder, list_runs, new_run_id, newest_good, open_run
from mllock.workflows.context import Context
from mllock.workflows.train import train


def go(ctx: Context) -> RunFolder:
    return train(ctx, environment_of=no_layers).run


def test_ids_sort_as_runs_started() -> None:
    first = dt.datetime(2026, 11, 23, 9, 15, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    ids = [new_run_id(first + dt.timedelta(seconds=seconds)) for seconds in range(3)]
    assert ids == sorted(ids)
    assert ids[0].startswith("20261123-081501-")


def test_ids_of_one_second_sort_as_well() -> None:
    first = dt.datetime(2026, 11, 23, 8, 15, 1, tzinfo=dt.UTC)
    for micros in (0, 1, 359, 360, 129_599, 500_000, 999_980):
        ids = [new_run_id(first + dt.timedelta(microseconds=micros + more)) for more in (0, 10)]
        assert ids == sorted(ids)
        assert ids[0] != ids[1]
    last = first + dt.timedelta(microseconds=999_999)
    following = first + dt.timedelta(seconds=1)
    assert max(new_run_id(last) for _ in range(100)) < min(new_run_id(following) for _ in range(9))
    assert {len(new_run_id(last)) for _ in range(9)} == {len("20261123-081501-k3f9")}


def test_one_order_for_all_commands(ctx: Context, typed: Typed) -> None:
    """Two runs of one second: whatever the letters are, all mean the same by newest."""
    first, second = go(ctx), go(ctx)
    ids = [line.split()[0] for line in typed("runs")[1].splitlines()[1:]]
    assert ids == [second.id, first.id]
    assert typed("show")[1].splitlines()[0] == f"run          {second.id}"
    assert newest_good(ctx.runs, second.record().lock_content) == second
    out = json.loads(typed("check", "--json", str(ctx.project / "data"))[1])
    assert out["run"] == second.id


def test_finding_runs(tmp_path: Path) -> None:
    for name in ("20261123-081501-aaaa", "20261123-081502-bbbb", "20261124-000000-cccc"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "20261125-000000-dddd").write_text("not a folder")
    names = [run.id for run in list_runs(tmp_path)]
    assert names == ["20261124-000000-cccc", "20261123-081502-bbbb", "20261123-081501-aaaa"]
    assert open_run(tmp_path, "20261124").id == "20261124-000000-cccc"
    assert open_run(tmp_path, "20261123-081502-bbbb").id == "20261123-081502-bbbb"
    with pytest.raises(RunError) as caught:
        open_run(tmp_path, "20261123")
    assert str(caught.value) == (
        'more than one run starts with "20261123"\n'
        "found: 20261123-081502-bbbb, 20261123-081501-aaaa"
    )
    with pytest.raises(RunError) as caught:
        open_run(tmp_path, "20261123-081501-aaab")
    assert str(caught.value) == (
        'no run "20261123-081501-aaab"\nhint: did you mean "20261123-081501-aaaa"?'
    )
    with pytest.raises(RunError) as caught:
        open_run(tmp_path, "../../etc")
    assert str(caught.value) == 'no run "../../etc"\nhint: see "mllock runs"'
    with pytest.raises(RunError) as caught:
        open_run(tmp_path / "none", "x")
    assert str(caught.value) == 'no run "x"\nhint: make one with "mllock train"'
    assert newest_good(tmp_path / "none", None) is None


def test_a_run_under_another_name_is_not_good(ctx: Context) -> None:
    run = go(ctx)
    copy = run.path.with_name("20300101-000000-zzzz")
    shutil.copytree(run.path, copy)
    with pytest.raises(RunError) as caught:
        RunFolder(copy).record()
    assert str(caught.value) == (
        "20300101-000000-zzzz/record.json: the record of another run\n"
        f"expected: 20300101-000000-zzzz\nfound: {run.id}"
    )
    with pytest.raises(RunError) as caught:
        newest_good(ctx.runs, None)
    assert caught.value.message == (
        "the run is damaged, and no older one stands in for it: the record of another run"
    )


def test_train_prints_what_to_know(ctx: Context, typed: Typed) -> None:
    code, out, err = typed("train", "--set", "alpha=0.7")
    assert code == 0
    (run,) = list_runs(ctx.runs)
    record = run.record()
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    assert out == (
        f"run      {run.id}\n"
        "metric   rows = 3\n"
        "metric   score = 0.25\n"
        f"model    {record.model}\n"
        f"signed   {key.fingerprint}\n"
    )
    assert "runtime: host (this machine's Python, locked packages; not the image)\n" in err
    assert "running: python train.py --alpha 0.7\n" in err
    assert "trained on 3 rows\n" in err
    assert err.endswith(
        "next:\n"
        "  mllock show             what went in, what came out\n"
        "  mllock build serve      an image that serves this model\n"
        f"  mllock check {os.path.relpath(run.path / 'model')}\n"
    )


def test_quiet_says_nothing_but_the_result(typed: Typed) -> None:
    code, out, err = typed("-q", "train")
    assert (code, err) == (0, "")
    assert out.startswith("run      ")


def test_train_json(ctx: Context, typed: Typed) -> None:
    code, out, _ = typed("train", "--json")
    assert code == 0
    (run,) = list_runs(ctx.runs)
    assert json.loads(out) == {
        "run": run.id,
        "path": str(run.path),
        "runtime": "host",
        "model": run.record().model,
        "metrics": {"rows": 3, "score": 0.25},
        "signed-by": run.bundle().claimed_fingerprint,
        "probes": 0,
        "data-gates": None,
        "model-gates": None,
    }


def test_a_program_that_fails_is_exit_code_1(ctx: Context, typed: Typed) -> None:
    (ctx.project / "train.py").write_text("print('no luck')\nraise SystemExit(3)")
    code, out, err = typed("train")
    assert (code, out) == (1, "")
    (run,) = list_runs(ctx.runs)
    assert err.endswith(
        f"error: .mllock/runs/{run.id}/log.txt: the training program failed with exit code 3\n"
        "found: \n    no luck\n"
    )
    code, out, _ = typed("runs")
    assert out.splitlines()[1].split(maxsplit=7) == [
        *(run.id, "failed", "-", "-", "0.5", "42", "-"),
        "the training program failed with exit code 3",
    ]
    code, out, _ = typed("show")
    assert code == 0
    assert out == (
        f"run          {run.id}\n"
        "status       failed: the training program failed with exit code 3\n"
        f"log          {run.log}\n"
    )


def test_runs(ctx: Context, typed: Typed) -> None:
    code, out, err = typed("runs")
    assert (code, out) == (0, "")
    assert err == 'there are no runs yet\nhint: make one with "mllock train"\n'
    run = go(ctx)
    model = run.record().model
    code, out, _ = typed("runs")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["RUN", "STATUS", "GATES", "RELEASED", "rows", "score", "alpha", "seed", "MODEL"],
        [run.id, "good", "-", "-", "3", "0.25", "0.5", "42", model[7:19]],
    ]
    code, out, _ = typed("runs", "--json")
    assert json.loads(out) == [
        {
            "run": run.id,
            "status": "good",
            "model": model,
            "metrics": {"rows": 3, "score": 0.25},
            "params": {"alpha": 0.5, "seed": 42},
            "problem": None,
            "gates": "not judged",
            "released": [],
            "revoked": False,
        }
    ]


def test_show(ctx: Context, typed: Typed) -> None:
    run = go(ctx)
    record = run.record()
    for words in ((), (run.id,), (run.id[:12],)):
        code, out, _ = typed("show", *words)
        assert code == 0
        lines = out.splitlines()
        assert lines[0] == f"run          {run.id}"
        assert lines[2] == "signature    own key: signed by this machine's own key"
        assert f"data train   {record.data['train']}" in lines
        assert f"             model/weights.txt {record.model_files['model/weights.txt']}" in lines
        assert "wheels       1 of 1 equal by hash" in lines
    code, out, _ = typed("show", "--json")
    shown = json.loads(out)
    assert shown["signature"]["trusted"] is True
    assert shown["files"] == dict(record.model_files)


def test_show_verifies_the_signature(ctx: Context, typed: Typed, tmp_path: Path) -> None:
    other = load_or_create_key(tmp_path / "other", {})
    text = (tmp_path / "other" / "keys" / "default.key").read_text()
    run = go(context(ctx.project, {"MLLOCK_KEY": text}))
    load_or_create_key(ctx.config_dir, ctx.environ)
    code, out, _ = typed("show")
    assert code == 3
    assert "signature    unknown: signed by a key that nothing here trusts;" in out
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[[trust]]\nproject = "tiny"\npublic-key = """{other.public_pem}"""\n')
    code, out, _ = typed("show", "--policy", str(policy))
    assert code == 0
    assert f'signature    trusted: trusted by {policy} for project "tiny"' in out
    policy.write_text(f'[[trust]]\nproject = "else"\npublic-key = """{other.public_pem}"""\n')
    code, out, _ = typed("show", "--policy", str(policy), run.id)
    assert code == 1
    assert "signature    unknown: " in out


def test_show_escapes_what_could_move_a_terminal(ctx: Context, typed: Typed) -> None:
    (ctx.project / "mlproject.toml").write_text(
        SPEC.replace('"{params.alpha}"', '"\\u001b[2J{params.alpha}"')
    )
    (ctx.project / "train.py").write_text(PROGRAM)
    code, _, err = typed("train")
    assert code == 0, err
    _, out, _ = typed("show")
    assert "\x1b" not in out
    assert "\\x1b[2J0.5" in out


def test_no_runs_to_show(typed: Typed) -> None:
    code, out, err = typed("show")
    assert (code, out) == (2, "")
    assert err == 'error: there are no runs yet\nhint: make one with "mllock train"\n'
