"""`mllock train` as a workflow, with real programs in real processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.training import SPEC, locked, no_layers, relock

from mllock.attest.keys import load_key
from mllock.attest.policy import load_policy
from mllock.core.digest import sha256_of
from mllock.data.scan import scan
from mllock.errors import (
    EngineError,
    InputError,
    LockError,
    SpecError,
    StaleLockError,
)
from mllock.train.runs import list_runs, newest_good
from mllock.workflows.context import Context
from mllock.workflows.train import TrainResult, train


def go(ctx: Context, *overrides: str, output: list[bytes] | None = None) -> TrainResult:
    return train(
        ctx,
        overrides=overrides,
        output=None if output is None else output.append,
        environment_of=no_layers,
    )


def test_a_good_run(tmp_path: Path) -> None:
    ctx = locked(tmp_path)
    output: list[bytes] = []
    result = go(ctx, output=output)
    run = result.run
    assert sorted(path.name for path in run.path.iterdir()) == [
        "code.manifest",
        "log.txt",
        "metrics.json",
        "mlproject.lock",
        "model",
        "model.manifest",
        "model.sig",
        "params.json",
        "record.json",
        "record.sigstore.json",
    ]
    assert (run.path / "model" / "weights.txt").read_text() == "3 0.5 1.0\n"
    assert (run.path / "log.txt").read_text() == "trained on 3 rows\n"
    assert b"".join(output) == b"trained on 3 rows\n"
    assert json.loads((run.path / "params.json").read_text()) == {"alpha": 0.5, "seed": 42}
    assert result.metrics == {"rows": 3, "score": 0.25}
    record = run.record()
    assert record.command == ("python", "train.py", "--alpha", "0.5")
    assert record.params == {"alpha": 0.5, "seed": 42}
    assert record.model == scan(run.model_path(), name="model").digest == result.model
    assert record.lock == sha256_of((ctx.project / "mlproject.lock").read_bytes())
    assert run.lock_bytes() == (ctx.project / "mlproject.lock").read_bytes()
    assert record.data == {"train": scan(ctx.project / "data/train.csv", name="x").digest}
    assert (record.wheels_locked, record.wheels_verified) == (1, 1)
    assert (record.runtime, record.network, record.commit) == ("host", False, None)
    for name, digest in record.byproducts.items():
        assert sha256_of((run.path / name).read_bytes()) == digest
    for name, digest in record.model_files.items():
        assert sha256_of((run.path / name).read_bytes()) == digest
    trust = load_policy(None, ctx.config_dir, ctx.environ).decide("tiny", run.bundle())
    assert trust.status == "own key"
    assert trust.payload == (run.path / "record.json").read_bytes()
    key = load_key(ctx.config_dir, ctx.environ)
    assert key is not None
    assert result.fingerprint == key.fingerprint
    assert newest_good(ctx.runs, record.lock_content) == run
    assert newest_good(ctx.runs, sha256_of(b"other")) is None


def test_set_changes_params_and_command(tmp_path: Path) -> None:
    run = go(locked(tmp_path), "alpha=0.7").run
    assert run.record().command == ("python", "train.py", "--alpha", "0.7")
    assert (run.path / "model" / "weights.txt").read_text() == "3 0.7 1.0\n"


def test_a_model_that_is_a_file(tmp_path: Path) -> None:
    program = "open('m.bin','wb').write(b'weights')"
    spec = SPEC.replace('model = "model"', 'model = "m.bin"').replace(
        'metrics = "metrics.json"\n', ""
    )
    run = go(locked(tmp_path, program=program, spec=spec)).run
    assert run.model_path() == run.path / "model" / "m.bin"
    assert run.model_path().read_bytes() == b"weights"
    record = run.record()
    assert record.model_files == {"model/m.bin": sha256_of(b"weights")}
    assert record.model == scan(run.model_path(), name="model").digest
    assert run.metrics() == {}


PROBE = """
import json, os, pathlib, sys
pathlib.Path("model").mkdir()
pathlib.Path("model/x").write_text("x")
home = pathlib.Path(os.environ["HOME"])
files = sorted(str(p) for p in pathlib.Path(".").rglob("*") if p.is_file())
print(json.dumps({
    "environ": dict(os.environ), "files": files, "home": [p.name for p in home.iterdir()],
    "stdin": sys.stdin.read(), "group": os.getpgid(0) == os.getpid(),
}))
pathlib.Path("metrics.json").write_text("{}")
"""


def test_nothing_undeclared_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    spec = SPEC.replace('model = "model"', 'model = "model"\ncode = ["train.py", "lib/**"]')
    ctx = locked(
        tmp_path,
        program=PROBE,
        spec=spec,
        files={"lib/a.py": "", "secret.txt": "hunter2", "notes.py": ""},
    )
    run = go(ctx).run
    seen = json.loads(run.log.read_text())
    environ = seen["environ"]
    # A locale may be coerced by the interpreter itself, never inherited.
    environ.pop("LC_CTYPE", None)
    assert set(environ) == {
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "MLLOCK_PARAMS",
        "OMP_NUM_THREADS",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONNOUSERSITE",
        "TZ",
    }
    assert (environ["LANG"], environ["TZ"], environ["OMP_NUM_THREADS"]) == ("C.UTF-8", "UTC", "1")
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["files"] == [
        ".mllock/params.json",
        "data/train.csv",
        "lib/a.py",
        "model/x",
        "train.py",
    ]
    assert (seen["home"], seen["stdin"], seen["group"]) == ([], "", True)
    assert not Path(environ["HOME"]).exists()
    for path in run.path.rglob("*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path.name


def test_folders_with_filters_show_what_is_declared(tmp_path: Path) -> None:
    program = """
import pathlib
seen = sorted(str(p) for p in pathlib.Path("in").rglob("*") if p.is_file())
pathlib.Path("model").write_text(" ".join(seen))
"""
    spec = SPEC.replace(
        'source = "data/train.csv"',
        'source = "data"\npath = "in"\ninclude = ["**/*.csv"]\nexclude = ["b/**"]',
    ).replace('metrics = "metrics.json"\n', "")
    files = {"data/a/1.csv": "1", "data/b/2.csv": "2", "data/a/3.txt": "3"}
    run = go(locked(tmp_path, program=program, spec=spec, files=files)).run
    assert run.model_path().read_text() == "in/a/1.csv in/train.csv"


def test_sources_may_share_files(tmp_path: Path) -> None:
    program = """
import pathlib
seen = sorted(str(p) for f in ("data", "all") for p in pathlib.Path(f).rglob("*") if p.is_file())
pathlib.Path("model").write_text(" ".join(seen))
"""
    spec = SPEC.replace('metrics = "metrics.json"\n', "")
    spec += '[data.all]\nsource = "data"\npath = "all"\n'
    ctx = locked(tmp_path, program=program, spec=spec, files={"data/b.csv": "b"})
    run = go(ctx).run
    assert run.model_path().read_text() == "all/b.csv all/train.csv data/train.csv"
    assert sorted(run.record().data) == ["all", "train"]


@pytest.mark.parametrize(
    ("override", "text"),
    [
        (
            "alhpa=1",
            (
                "--set alhpa=1: no param of this name\n"
                "expected: alpha, seed\n"
                'hint: did you mean "alpha"?'
            ),
        ),
        (
            "seed=0.5",
            "--set seed=0.5: wrong type\nexpected: a whole number, as 42 is\nfound: 0.5",
        ),
        ("alpha", '--set alpha: no "="\nexpected: --set NAME=VALUE\nhint: e.g. --set alpha=0.7'),
        ("alpha=nan", "--set alpha=nan: wrong type\nexpected: a number, as 0.5 is\nfound: nan"),
        ("alpha=1e999", "param alpha is not a finite number\nfound: inf"),
    ],
)
def test_a_wrong_set(tmp_path: Path, override: str, text: str) -> None:
    ctx = locked(tmp_path)
    with pytest.raises(InputError) as caught:
        go(ctx, override)
    assert str(caught.value) == text
    assert list_runs(ctx.runs) == ()


def test_a_stale_lock_is_refused(tmp_path: Path) -> None:
    ctx = locked(tmp_path)
    (ctx.project / "data/train.csv").write_text("a\n1\n3\n")
    with pytest.raises(StaleLockError) as caught:
        go(ctx)
    assert caught.value.key == "data.train"
    relock(ctx)
    go(ctx)
    (ctx.project / "mlproject.toml").write_text(SPEC.replace("tiny-lib", "tiny-lib>=1"))
    with pytest.raises(StaleLockError) as caught:
        go(ctx)
    assert "tiny-lib>=1" in str(caught.value)


def test_no_lock(tmp_path: Path) -> None:
    ctx = locked(tmp_path)
    (ctx.project / "mlproject.lock").unlink()
    with pytest.raises(LockError):
        go(ctx)


def test_nothing_to_train(tmp_path: Path) -> None:
    ctx = locked(tmp_path)
    (ctx.project / "mlproject.toml").write_text(SPEC.split("[train]")[0])
    with pytest.raises(SpecError) as caught:
        go(ctx)
    assert str(caught.value) == (
        "mlproject.toml: there is nothing to train\n"
        "hint: add a [train] table with command and model"
    )


def test_an_engine_that_is_asked_for_has_to_answer(tmp_path: Path) -> None:
    ctx = locked(tmp_path)
    nowhere = replace(ctx, environ={**ctx.environ, "DOCKER_HOST": f"unix://{tmp_path}/none"})
    with pytest.raises(EngineError) as caught:
        train(nowhere, runtime="docker", environment_of=no_layers)
    assert str(caught.value) == (
        f"no container engine answers at unix://{tmp_path}/none\n"
        "hint: start it, or name another one with DOCKER_HOST"
    )


def test_a_key_that_cannot_be_used_costs_no_training(tmp_path: Path) -> None:
    ctx = locked(tmp_path)
    go(ctx)
    (ctx.config_dir / "keys" / "default.key").chmod(0o644)
    with pytest.raises(InputError, match="other users may read or change this key"):
        go(ctx)
    assert len(list_runs(ctx.runs)) == 1


def test_mllock_key_signs(tmp_path: Path) -> None:
    from support.training import context

    from mllock.attest.keys import load_or_create_key

    ctx = locked(tmp_path)
    load_or_create_key(tmp_path / "ci", {})
    path = tmp_path / "ci" / "keys" / "default.key"
    other = context(ctx.project, {"MLLOCK_KEY": path.read_text()})
    result = go(other)
    assert result.run.bundle().claimed_fingerprint == result.fingerprint
    assert not (ctx.config_dir / "keys").exists()
    for file in result.run.path.rglob("*"):
        assert not file.is_file() or b"PRIVATE KEY" not in file.read_bytes()
