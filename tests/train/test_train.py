"""`mllock train` as a workflow, with real programs in real processes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from support.training import PROGRAM, SPEC, locked, no_layers, relock

from mllock.attest.keys import load_key
from mllock.attest.policy import load_policy
from mllock.core.digest import sha256_of
from mllock.data.scan import scan
from mllock.errors import (
    InputError,
    LockError,
    MllockError,
    NotAvailableError,
    ProgramError,
    SpecError,
    StaleLockError,
    SurroundingsError,
    VoidRunError,
)
from mllock.train.runs import RunFolder, list_runs, newest_good
from mllock.workflows.context import Context
from mllock.workflows.train import TrainResult, train


def go(ctx: Context, *overrides: str, output: list[bytes] | None = None) -> TrainResult:
    return train(
        ctx,
        overrides=overrides,
        output=None if output is None else output.append,
        environment_of=no_layers,
    )


def fails(ctx: Context, kind: type[MllockError]) -> MllockError:
    """Train, and answer the error. Whatever it was, nothing may look good afterwards."""
    with pytest.raises(kind) as caught:
        go(ctx)
    assert newest_good(ctx.runs, None) is None
    assert not list((ctx.state / "tmp").glob("*"))
    return caught.value


def failed_run(ctx: Context) -> RunFolder:
    (run,) = list_runs(ctx.runs)
    assert sorted(path.name for path in run.path.iterdir()) == ["failed.json", "log.txt"]
    return run


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


def test_a_program_that_fails(tmp_path: Path) -> None:
    program = PROGRAM + "print('\\x1b[31mred\\x1b[0m')\nraise SystemExit(3)"
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, ProgramError)
    run = failed_run(ctx)
    assert str(error) == (
        f".mllock/runs/{run.id}/log.txt: the training program failed with exit code 3\n"
        "found: \n"
        "    trained on 3 rows\n"
        "    red"
    )
    assert error.exit_code == 1
    failure = run.failure()
    assert failure is not None
    assert (failure.kind, failure.exit_code) == ("program", 3)
    assert failure.reason == "the training program failed with exit code 3"
    assert run.log.read_text() == "trained on 3 rows\n\x1b[31mred\x1b[0m\n"


def test_a_program_that_is_killed(tmp_path: Path) -> None:
    ctx = locked(tmp_path, program="import os; os.kill(os.getpid(), 9)")
    error = fails(ctx, ProgramError)
    assert error.message == "the training program was ended by SIGKILL"
    assert error.found == "no output"
    failure = failed_run(ctx).failure()
    assert failure is not None
    assert failure.exit_code == -9


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    ctx = locked(tmp_path, spec=SPEC.replace('"python", "train.py"', '"no-such-tool"'))
    error = fails(ctx, ProgramError)
    assert error.message == "cannot run no-such-tool: no such file or directory"
    assert (error.file, error.key) == ("mlproject.toml", "train.command")
    assert error.hint == "add the package that has it to [environment] dependencies"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("pass", "the program ended well and wrote no model"),
        (
            "import os; os.mkdir('model')",
            "the program ended well and wrote an empty model",
        ),
        (
            "import os; os.symlink('data/train.csv', 'model')",
            "the model is neither a file nor a folder",
        ),
        ("import os; os.mkfifo('model')", "the model is neither a file nor a folder"),
    ],
    ids=["nothing", "empty", "link", "fifo"],
)
def test_a_program_that_writes_no_model(tmp_path: Path, program: str, message: str) -> None:
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, ProgramError)
    assert error.message == message
    failure = failed_run(ctx).failure()
    assert failure is not None
    assert (failure.kind, failure.reason, failure.exit_code) == ("output", message, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "os.symlink('/etc/passwd', 'model/link')",
        "os.mkfifo('model/pipe')",
        "open('model/A', 'w'); open('model/a', 'w')",
        "open('model/a\\nb', 'w')",
    ],
    ids=["link outside", "fifo", "names that fold", "control character"],
)
def test_an_unsafe_model(tmp_path: Path, statement: str) -> None:
    program = f"import os; os.mkdir('model'); open('model/w', 'w').write('w')\n{statement}"
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, ProgramError)
    assert error.message.startswith("the model cannot be shipped: ")
    assert error.exit_code == 1
    failed_run(ctx)


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        (
            "not json",
            (
                "metrics.json: the metrics are not JSON: "
                "Expecting value: line 1 column 1 (char 0)\n"
                'expected: one object of numbers, e.g. {"accuracy": 0.93}'
            ),
        ),
        (
            "[1]",
            (
                "metrics.json: the metrics are not an object\n"
                'expected: one object of numbers, e.g. {"accuracy": 0.93}\n'
                "found: an array"
            ),
        ),
        (
            '{"accuracy": "0.9"}',
            "metrics.json: accuracy: not a number\nexpected: a number\nfound: a string",
        ),
        (
            '{"ok": true}',
            "metrics.json: ok: not a number\nexpected: a number\nfound: true or false",
        ),
        ('{"a": NaN}', None),
        ('{"a": 1e999}', None),
        ('{"a": 1, "a": 2}', None),
        (None, None),
    ],
)
def test_invalid_metrics(tmp_path: Path, metrics: str | None, text: str | None) -> None:
    program = "open('model', 'w').write('m')\n"
    if metrics is not None:
        program += f"open('metrics.json', 'w').write({metrics!r})"
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, ProgramError)
    if text is not None:
        assert str(error) == text
    failed_run(ctx)


def test_data_that_changes_during_training_voids_the_run_by_name(tmp_path: Path) -> None:
    program = PROGRAM + "open('data/train.csv', 'a').write('more')\n"
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, VoidRunError)
    assert error.message.startswith(
        "data changed while the program ran: data.train: 'data/train.csv' has "
    )
    assert (error.exit_code, error.key) == (1, "data.train")
    failure = failed_run(ctx).failure()
    assert failure is not None
    assert failure.kind == "void"


def test_data_that_goes_away_voids_the_run(tmp_path: Path) -> None:
    program = PROGRAM + "os.unlink(os.path.realpath('data/train.csv'))\n"
    error = fails(locked(tmp_path, program=program), VoidRunError)
    assert error.key == "data.train.source"


def test_code_that_changes_during_training_voids_the_run_by_name(tmp_path: Path) -> None:
    program = PROGRAM + "open(__file__, 'a').write('#')\n"
    error = fails(locked(tmp_path, program=program), VoidRunError)
    assert str(error) == (
        "train.py: the code changed while the program ran\n"
        "expected: the file that the run was started with\n"
        "hint: write outputs to other paths than code, and train again"
    )


def test_an_environment_that_changes_during_training_voids_the_run(tmp_path: Path) -> None:
    program = PROGRAM + "open(os.path.dirname(tiny_lib.__file__) + '/more.py', 'w')\n"
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, VoidRunError)
    assert error.message == "the environment changed while the program ran"
    # The next run has a clean one again.
    (ctx.project / "train.py").write_text(PROGRAM)
    go(ctx)


def test_what_a_program_leaves_running_is_ended(tmp_path: Path) -> None:
    program = PROGRAM + (
        "import subprocess, sys\n"
        "code = 'import time\\nwhile True: time.sleep(.1)\\n'\n"
        "child = subprocess.Popen([sys.executable, '-c', code])\n"
        "print('child', child.pid)\n"
    )
    run = go(locked(tmp_path, program=program)).run
    (pid,) = re.findall(r"child (\d+)", run.log.read_text())
    state = Path("/proc", pid, "stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_a_disk_that_is_full_for_the_program(tmp_path: Path) -> None:
    program = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "with open('model', 'w') as file: file.write('x' * 1000)\n"
    )
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, ProgramError)
    assert error.found is not None
    assert "File too large" in error.found
    failed_run(ctx)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_no_space_for_the_run(tmp_path: Path) -> None:
    import subprocess

    ctx = locked(tmp_path, program="print('x' * 5_000_000)\nopen('model', 'w').write('m')")
    ctx.state.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(ctx.state)]
    subprocess.run(mount, check=True)
    try:
        with pytest.raises(SurroundingsError) as caught:
            go(ctx)
        assert caught.value.message == "cannot write: no space left on device"
        assert caught.value.exit_code == 4
        assert list_runs(ctx.runs) == ()
        assert list((ctx.state / "tmp").iterdir()) == []
    finally:
        subprocess.run(["umount", str(ctx.state)], check=True)
    (ctx.project / "train.py").write_text(PROGRAM)
    relock(ctx)
    go(ctx)


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


def test_a_runtime_of_a_later_version(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError) as caught:
        train(locked(tmp_path), runtime="docker", environment_of=no_layers)
    assert str(caught.value) == (
        "--runtime docker: not available in this version\nhint: use --runtime host"
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
