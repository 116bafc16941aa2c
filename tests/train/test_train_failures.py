"""Programs that fail, write the wrong thing, or change what went in: no run looks good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.training import PROGRAM, SPEC, locked, no_layers, relock

from mllock.errors import MllockError, ProgramError, SurroundingsError, VoidRunError
from mllock.train.runs import RunFolder, list_runs, newest_good
from mllock.workflows.context import Context
from mllock.workflows.train import train


def go(ctx: Context) -> RunFolder:
    return train(ctx, environment_of=no_layers).run


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


OUTSIDE = [("out/m.bin", "out"), ("out/deep/m.bin", "out"), ("out/deep/m.bin", "out/deep")]


@pytest.mark.parametrize("key", ["model", "metrics"])
@pytest.mark.parametrize(("declared", "link"), OUTSIDE)
def test_outputs_below_a_link_are_left_where_they_are(
    tmp_path: Path, key: str, declared: str, link: str
) -> None:
    """They are somebody's: moved into the run, they would be gone from where they were."""
    mine = tmp_path / "mine"
    file = mine / declared.removeprefix(f"{link}/")
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    program = PROGRAM + (
        f"os.makedirs(os.path.dirname({link!r}) or '.', exist_ok=True)\n"
        f"os.symlink({str(mine)!r}, {link!r})\n"
    )
    old = {"model": 'model = "model"', "metrics": 'metrics = "metrics.json"'}[key]
    ctx = locked(tmp_path, program=program, spec=SPEC.replace(old, f'{key} = "{declared}"'))
    error = fails(ctx, ProgramError)
    assert str(error) == (
        f"mlproject.toml: train.{key}: the {key} would be taken from outside of the run: {link} is "
        f"a link\nexpected: {link} to be a folder that the program makes\n"
        f"found: a link to {mine}\nhint: make the folder {link} and write the {key} into it"
    )
    assert file.read_text() == "{}"
    failed_run(ctx)


def test_metrics_without_end_are_not_read(tmp_path: Path) -> None:
    program = PROGRAM + "os.truncate('metrics.json', 2**40)\n"
    error = fails(locked(tmp_path, program=program), ProgramError)
    assert error.message.startswith("the metrics are not JSON: ")


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
            'metrics.json: the metric "accuracy" is not a number\nexpected: a number\n'
            "found: a string",
        ),
        (
            '{"ok": true}',
            'metrics.json: the metric "ok" is not a number\nexpected: a number\n'
            "found: true or false",
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
    assert error.message.startswith("data changed while the program ran: 'data/train.csv' has ")
    assert (error.exit_code, error.key) == (1, "data.train")
    failure = failed_run(ctx).failure()
    assert failure is not None
    assert failure.kind == "void"


def test_data_that_goes_away_voids_the_run(tmp_path: Path) -> None:
    program = PROGRAM + "os.unlink(os.path.realpath('data/train.csv'))\n"
    error = fails(locked(tmp_path, program=program), VoidRunError)
    assert error.key == "data.train.source"


# What the program, or anybody beside it, may do to data so that its bytes are the same afterwards.
PUT_BACK = {
    "written": "d = open(p).read(); open(p, 'w').write('biased'); open(p, 'w').write(d)",
    "times set back": (
        "s = os.stat(p); d = open(p).read(); open(p, 'w').write('biased'); open(p, 'w').write(d)\n"
        "os.utime(p, ns=(s.st_atime_ns, s.st_mtime_ns))"
    ),
    "replaced": "q = p + '~'; os.rename(p, q); shutil.copy2(q, p); os.unlink(q)",
    "renamed": "os.rename(p, p + '~'); os.rename(p + '~', p)",
    "mode": "m = os.stat(p).st_mode; os.chmod(p, 0o600); os.chmod(p, m)",
    "link and unlink": "os.link(p, p + '~'); os.unlink(p + '~')",
}
MORE_PUT_BACK = {
    "another file": "open(f + '/more.csv', 'w'); os.unlink(f + '/more.csv')",
    "another folder": "os.mkdir(f + '/sub/more'); os.rmdir(f + '/sub/more')",
    "moved folder": "os.rename(f + '/sub', f + '/sub2'); os.rename(f + '/sub2', f + '/sub')",
}


@pytest.mark.parametrize("what", PUT_BACK)
@pytest.mark.parametrize("kind", ["file", "folder", "selection"])
def test_data_that_is_changed_and_put_back_voids_the_run(
    tmp_path: Path, what: str, kind: str
) -> None:
    touch = f"import shutil\np = os.path.realpath('data/train.csv')\n{PUT_BACK[what]}\n"
    error = fails(locked(tmp_path, program=PROGRAM + touch, spec=of_kind(kind)), VoidRunError)
    # A whole folder shows it first: names went in it.
    assert error.file in ("data/train.csv", "data")
    assert str(error).removeprefix(str(error.file)) == (
        ": data.train: data was changed and put back while the program ran\n"
        "expected: data that nothing writes to, replaces or renames\n"
        "found: the bytes that are locked, with other marks (inode, times) than before\n"
        "hint: nothing may write to declared data while a run reads it; train again"
    )


@pytest.mark.parametrize("what", MORE_PUT_BACK)
def test_what_came_and_went_in_a_folder_voids_the_run(tmp_path: Path, what: str) -> None:
    touch = f"f = os.path.realpath('data')\n{MORE_PUT_BACK[what]}\n"
    ctx = locked(
        tmp_path, program=PROGRAM + touch, spec=of_kind("folder"), files={"data/sub/a.csv": "1"}
    )
    error = fails(ctx, VoidRunError)
    assert error.message == "data was changed and put back while the program ran"


def test_what_no_run_sees_voids_none(tmp_path: Path) -> None:
    touch = (
        "f = os.path.realpath('data/train.csv')\n"
        "open(f + '.log', 'w').write('x')\n"
        "os.link(f, f + '.copy')\n"
    )
    go(locked(tmp_path, program=PROGRAM + touch, spec=of_kind("selection")))


def of_kind(kind: str) -> str:
    if kind == "file":
        return SPEC
    folder = SPEC.replace('source = "data/train.csv"', 'source = "data"')
    if kind == "folder":
        return folder
    return folder.replace('source = "data"', 'source = "data"\ninclude = ["*.csv"]')


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
    run = go(locked(tmp_path, program=program))
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


@pytest.mark.tools
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
