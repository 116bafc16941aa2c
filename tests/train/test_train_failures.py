"""Programs that fail, write the wrong thing, or change what went in: no run looks good."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.training import PROGRAM, SPEC, locked, no_layers, relock

from mllock.errors import MllockError, ProgramError, SurroundingsError
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
    ("text", "mode", "why", "hint"),
    [
        (
            "import os\n",
            0o755,
            "exec format error",
            "begin a script with a line that names its program, as in #!/usr/bin/env python",
        ),
        (
            "#!/usr/bin/env python\n",
            0o644,
            "permission denied",
            "make the file executable, or write the program that runs it before it",
        ),
        (
            "#!/no/such/program\n",
            0o755,
            "no such file or directory",
            "add the package that has it to [environment] dependencies",
        ),
        ("", 0o755, "exec format error", None),
    ],
    ids=["no line", "not executable", "no such interpreter", "empty"],
)
def test_a_file_that_is_no_program(
    tmp_path: Path, text: str, mode: int, why: str, hint: str | None
) -> None:
    spec = SPEC.replace('"python", "train.py"', '"./train.py"')
    ctx = locked(tmp_path, program=text, spec=spec)
    (ctx.project / "train.py").chmod(mode)
    error = fails(ctx, ProgramError)
    assert error.message == f"cannot run ./train.py: {why}"
    assert hint is None or error.hint == hint


def test_an_argument_that_is_too_long(tmp_path: Path) -> None:
    error = fails(locked(tmp_path, spec=SPEC.replace("--alpha", "x" * 200_000)), ProgramError)
    assert error.message == "cannot run python: argument list too long"
    assert error.hint == "put long values into a file, such as {params_file}"


MEDDLING = {
    "removes the log": "os.unlink(run + '/log.txt')",
    "links the log": "os.unlink(run + '/log.txt'); os.symlink('/etc/passwd', run + '/log.txt')",
    "adds a file": "open(run + '/record.json', 'w')",
    "adds a folder": "os.mkdir(run + '/model')",
    "removes the folder": "import shutil; shutil.rmtree(run)",
    "links the folder": "os.rename(run, run + '2'); os.symlink(run + '2', run)",
    "removes all folders": "import shutil; shutil.rmtree(os.path.dirname(run))",
}


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("what", MEDDLING)
def test_a_program_that_meddles_with_its_run(tmp_path: Path, what: str, code: int) -> None:
    program = PROGRAM + (
        "import glob\n"
        "(run,) = [os.path.dirname(p) for p in glob.glob('../../.*/log.txt')]\n"
        f"{MEDDLING[what]}\n"
        f"raise SystemExit({code})\n"
    )
    ctx = locked(tmp_path, program=program)
    with pytest.raises(ProgramError) as caught:
        go(ctx)
    assert caught.value.message == "the program changed the folder in which mllock keeps its run"
    assert newest_good(ctx.runs, None) is None
    if "add" in what:
        failed_run(ctx)
    else:
        assert list_runs(ctx.runs) == ()


def test_nothing_of_the_run_is_beside_the_program(tmp_path: Path) -> None:
    run = go(locked(tmp_path, program=PROGRAM + "print(sorted(os.listdir('..')))\n"))
    home, work = ast.literal_eval(run.log.read_text().splitlines()[-1])
    assert (home.startswith(".mllock-tmp-"), work) == (True, "work")


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


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq", ".wh..wh.plnk", "sub/.wh.w"])
def test_a_model_that_would_remove_files_of_the_image(tmp_path: Path, name: str) -> None:
    program = (
        "import os; os.makedirs('model/sub'); open('model/w', 'w').write('w')\n"
        f"open('model/{name}', 'w').write('')"
    )
    ctx = locked(tmp_path, program=program)
    error = fails(ctx, ProgramError)
    assert str(error) == (
        f'model/{name}: the model cannot be shipped: a name that begins with ".wh." would remove '
        "another file of the image\nhint: let the program write it under another name"
    )
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
