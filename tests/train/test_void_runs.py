"""Inputs that change while the program runs, also if they are put back: the run is void."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.training import PROGRAM, SPEC, locked, no_layers

from mllock.errors import MllockError, VoidRunError
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
    assert str(error) == (
        "mlproject.toml: data.train.source: data changed while the program ran: no such file or "
        "folder: 'data/train.csv'\n"
        "hint: nothing may write to declared data while a run reads it; train again"
    )


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
