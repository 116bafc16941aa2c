"""What is found in an environment that hands, other tools or a repository were at."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.reporter import Recorder
from support.syncing import DONE, IS_LOCKED, SITE, ctx, files, typed
from support.training import Typed

from mllock.workflows.context import Context
from mllock.workflows.sync import sync_project

__all__ = ["ctx", "typed"]

VENV = ".venv"


@pytest.fixture
def venv(ctx: Context, typed: Typed) -> Path:
    assert typed("sync")[0] == 0
    return ctx.project / VENV


@pytest.mark.parametrize(
    ("copy", "change"),
    [
        ("other-1.0", "Updated other 1.0 -> 2.0\n"),
        # pip leaves such a name when it is interrupted.
        ("~ther-2.0", "Removed ~ther 2.0\n"),
    ],
)
def test_a_leftover_that_names_the_files_of_a_locked_package(
    copy: str, change: str, venv: Path, typed: Typed
) -> None:
    before = files(venv)
    shutil.copytree(venv / SITE / "other-2.0.dist-info", venv / SITE / f"{copy}.dist-info")
    (venv / SITE / f"{copy}.dist-info" / "licenses").mkdir()
    (venv / SITE / f"{copy}.dist-info" / "licenses" / "not in RECORD").touch()

    assert typed("sync") == (0, change, f"installing 1 package\n{DONE}")

    assert files(venv) == before
    assert typed("sync", "--check") == (0, "", IS_LOCKED)


def test_a_dist_info_that_is_a_link_leads_nowhere(venv: Path, typed: Typed, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "RECORD").write_text("x-1.dist-info/RECORD,,\n")
    (venv / SITE / "x-1.dist-info").symlink_to(elsewhere)

    assert typed("sync") == (0, "Removed x 1\n", DONE)

    assert [path.name for path in elsewhere.iterdir()] == ["RECORD"]
    assert typed("sync", "--check") == (0, "", IS_LOCKED)


@pytest.mark.parametrize("there", [False, True])
def test_who_comes_second_says_what_was_left_to_do(ctx: Context, there: bool) -> None:
    """Both begin where nothing is; one has done everything when the other has its wheels."""
    if there:
        (ctx.project / VENV).mkdir()

    class Overtaken(Recorder):
        def step(self, text: str) -> None:
            super().step(text)
            assert len(sync_project(ctx).plan.changes) == 2

    reporter = Overtaken()
    plan = sync_project(replace(ctx, reporter=reporter)).plan

    assert (plan.changes, plan.made_again, plan.nothing_to_do) == ((), None, True)
    assert reporter.lines == ["step: installing 2 packages"]
    assert sync_project(ctx, check=True).plan.nothing_to_do


def test_a_first_sync_was_not_there(ctx: Context) -> None:
    plan = sync_project(ctx).plan
    assert (plan.state, plan.made_again) == (None, "it is not there")


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("fifo", "a FIFO"),
        ("folder", "a folder"),
        ("device", "a device"),
        ("loop", "a link"),
    ],
)
def test_a_state_that_is_no_file(kind: str, found: str, venv: Path, typed: Typed) -> None:
    state = venv / "mllock-sync.json"
    put(kind, state)
    error = (
        f"error: {state}: cannot be read, so nothing in its environment is touched\n"
        f'found: {found}\nhint: remove .venv, then run "mllock sync" again\n'
    )
    assert typed("sync") == (2, "", error)
    assert typed("sync", "--check") == (2, "", error)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "loop"])
def test_a_record_that_is_no_file(kind: str, venv: Path, typed: Typed) -> None:
    record = venv / SITE / "other-2.0.dist-info" / "RECORD"
    before = record.read_bytes()
    put(kind, record)

    code, out, _ = typed("sync")

    assert (code, out) == (0, "Restored other 2.0 (1 file)\n")
    assert record.read_bytes() == before
    assert typed("sync", "--check") == (0, "", IS_LOCKED)

    alien = venv / SITE / "x-1.dist-info"
    alien.mkdir()
    put(kind, alien / "RECORD")
    assert typed("sync") == (
        2,
        "",
        f"error: {venv}: x was installed without a RECORD: its files are not known\n"
        'hint: remove .venv, then run "mllock sync" again\n',
    )


@pytest.mark.parametrize("kind", ["text", "fifo", "folder", "device", "gone"])
def test_a_configuration_that_lets_others_in(kind: str, venv: Path, typed: Typed) -> None:
    config = venv / "pyvenv.cfg"
    before = config.read_text()
    assert "include-system-site-packages = false" in before
    if kind == "text":
        config.write_text(before.replace("false", "true"))
    else:
        put(kind, config)

    code, out, _ = typed("sync", "--check")
    assert (code, out) == (1, ".venv: its pyvenv.cfg was changed\n")
    code, out, _ = typed("sync")
    assert (code, out) == (0, "Made .venv again: its pyvenv.cfg was changed\n")
    assert config.read_text() == before
    assert typed("sync", "--check") == (0, "", IS_LOCKED)


def put(kind: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path.name)
