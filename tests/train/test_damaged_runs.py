"""A run that is not as its record says: no command takes an older one for it, all name it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.training import SPEC, Typed, no_layers

from mllock.core.digest import sha256_of
from mllock.errors import ProgramError, RunError
from mllock.train.runs import RunFolder, newest_good
from mllock.workflows.context import Context
from mllock.workflows.train import train


def go(ctx: Context) -> RunFolder:
    return train(ctx, environment_of=no_layers).run


def other_record(run: RunFolder) -> None:
    (run.path / "record.json").write_bytes(b"{}")


def other_manifest(run: RunFolder) -> None:
    (run.path / "model.manifest").write_bytes(b"mllock-tree\t1\n")


def no_bundle(run: RunFolder) -> None:
    (run.path / "record.sigstore.json").unlink()


def broken_bundle(run: RunFolder) -> None:
    (run.path / "record.sigstore.json").write_bytes(b"{}")


def linked_bundle(run: RunFolder) -> None:
    os.rename(run.path / "record.sigstore.json", run.path / "b")
    (run.path / "record.sigstore.json").symlink_to("b")


def cut_record(run: RunFolder) -> None:
    os.truncate(run.path / "record.json", 100)


def empty_record(run: RunFolder) -> None:
    os.truncate(run.path / "record.json", 0)


def no_metrics(run: RunFolder) -> None:
    (run.path / "metrics.json").unlink()


def other_metrics(run: RunFolder) -> None:
    (run.path / "metrics.json").write_text('{"rows": 4}')


def no_manifest(run: RunFolder) -> None:
    (run.path / "model.manifest").unlink()


def no_lock(run: RunFolder) -> None:
    (run.path / "mlproject.lock").unlink()


def nothing_in_it(run: RunFolder) -> None:
    shutil.rmtree(run.path)
    run.path.mkdir()


def says_that_it_failed(run: RunFolder) -> None:
    failure = {"run": run.id, "kind": "program", "reason": "no"}
    (run.path / "failed.json").write_text(json.dumps(failure))


DAMAGES = [
    other_record,
    cut_record,
    empty_record,
    other_manifest,
    no_manifest,
    no_bundle,
    broken_bundle,
    linked_bundle,
    no_metrics,
    other_metrics,
    no_lock,
    nothing_in_it,
    says_that_it_failed,
]


@pytest.mark.parametrize("change", DAMAGES, ids=lambda change: change.__name__)
def test_no_older_run_stands_in_for_a_damaged_one(
    ctx: Context, typed: Typed, change: Callable[[RunFolder], None]
) -> None:
    """`runs`, `show`, `build`, `serve` and `check` agree about what is good, and name it."""
    older, run = go(ctx), go(ctx)
    change(run)
    problem = run.damage()
    assert problem is not None
    assert (older.is_good, run.is_good, run.has_failed) == (True, False, False)
    rows = json.loads(typed("runs", "--json")[1])
    assert [(row["run"], row["status"]) for row in rows] == [
        (run.id, "damaged"),
        (older.id, "good"),
    ]
    assert rows[0]["problem"] == problem.message
    by_name = f"error: {problem}\n"
    assert typed("show", run.id) == (2, "", by_name)
    expected = "".join(
        f"{name}: {value}\n"
        for name, value in (("expected", problem.expected), ("found", problem.found))
        if value is not None
    )
    refusal = (
        f"error: {problem.file}: the run is damaged, and no older one stands in for it: "
        f"{problem.message}\n{expected}hint: bring the file back, name another run (see "
        f'"mllock runs"), or remove the folder .mllock/runs/{run.id}\n'
    )
    assert typed("show") == (2, "", refusal)
    serving = SPEC + '[serve]\ncommand = ["python", "train.py"]\nport = 8080\n'
    (ctx.project / "mlproject.toml").write_text(serving)
    assert typed("build", "serve", "--output", "oci:out") == (2, "", refusal)
    assert typed("build", "--output", "oci:out") == (2, "", refusal)
    assert typed("build", "serve", "--run", run.id, "--output", "oci:out") == (2, "", by_name)
    assert typed("serve") == (2, "", refusal)
    assert typed("check", str(ctx.project / "data"))[::2] == (2, refusal)
    assert not Path("out").exists()
    # The older one is there for who asks for it, and for whose model it is.
    assert typed("show", older.id)[0] == 0
    _, out, _ = typed("check", "--json", str(older.path / "model"))
    assert json.loads(out)["run"] == older.id
    shutil.rmtree(run.path)
    assert typed("show")[1].splitlines()[0] == f"run          {older.id}"


def test_a_damaged_run_of_another_lock_is_in_nobodys_way(ctx: Context) -> None:
    first, second = go(ctx), go(ctx)
    no_metrics(second)
    record = first.record()
    assert newest_good(ctx.runs, sha256_of(b"another")) is None
    with pytest.raises(RunError):
        newest_good(ctx.runs, record.lock_content)


def test_failed_runs_are_passed_over(ctx: Context) -> None:
    good = go(ctx)
    (ctx.project / "train.py").write_text("raise SystemExit(3)")
    with pytest.raises(ProgramError):
        go(ctx)
    assert newest_good(ctx.runs, None) == good
