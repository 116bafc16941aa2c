"""Links that a repository may bring in an environment, or in its place: nothing is written
through them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.syncing import (
    SITE,
    Typed,
    ctx,
    files,
    lock,
    typed,
)

from mllock.workflows.context import Context

__all__ = ["ctx", "typed"]


def test_an_environment_that_a_repository_brings_writes_nowhere_else(
    ctx: Context, typed: Typed, tmp_path: Path
) -> None:
    """All that makes an environment again, and links in the place of what is written then."""
    typed("sync")
    venv, outside = ctx.project / ".venv", tmp_path / "outside"
    (outside / "bin").mkdir(parents=True)
    for name in ("profile", "settings", "bin/activate", "bin/activate.fish"):
        (outside / name).write_text("mine")
    state = venv / "mllock-sync.json"
    state.write_text(state.read_text().replace(f'"place":"{venv}"', '"place":"/elsewhere"'))
    for name, target in ((".gitignore", "profile"), ("pyvenv.cfg", "settings")):
        (venv / name).unlink()
        (venv / name).symlink_to(outside / target)
    for name in ("activate", "activate.fish"):
        (venv / "bin" / name).unlink()
        (venv / "bin" / name).symlink_to(outside / "bin" / name)
    before = {path: path.read_text() for path in outside.rglob("*") if path.is_file()}
    assert typed("sync")[0] == 0
    assert before == {path: path.read_text() for path in outside.rglob("*") if path.is_file()}
    assert (venv / ".gitignore").read_text() == "*\n"
    assert not (venv / "pyvenv.cfg").is_symlink()
    # A folder in whose place is a link is moved aside.
    state.write_text(state.read_text().replace(f'"place":"{venv}"', '"place":"/elsewhere"'))
    (venv / "bin").rename(tmp_path / "bin")
    (venv / "bin").symlink_to(outside / "bin")
    shutil.rmtree(venv / "include")
    (venv / "include").symlink_to(outside)
    code, _, err = typed("sync")
    assert code == 0, err
    assert before == {path: path.read_text() for path in outside.rglob("*") if path.is_file()}
    assert (venv / "mllock-kept" / "bin").is_symlink()
    assert (venv / "bin" / "activate").is_file()


@pytest.mark.parametrize("below", ["", f"/{SITE}"])
def test_what_is_kept_stays_inside(ctx: Context, typed: Typed, tmp_path: Path, below: str) -> None:
    typed("sync")
    venv, outside = ctx.project / ".venv", tmp_path / "outside"
    outside.mkdir()
    link = Path(f"{venv}/mllock-kept{below}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    module = venv / SITE / "other.py"
    module.unlink()
    module.write_bytes(b"chosen")
    code, _, err = typed("sync")
    assert (code, err.splitlines()[-3:]) == (
        2,
        [
            f"error: {link}: a link is where files that were changed by hand are kept",
            f"found: a link to {outside}",
            'hint: remove the link, then run "mllock sync" again',
        ],
    )
    assert list(outside.iterdir()) == []
    assert module.read_bytes() == b"chosen"
    link.unlink()
    assert typed("sync")[0] == 0


def test_a_link_to_the_environment_of_another(ctx: Context, typed: Typed, tmp_path: Path) -> None:
    typed("sync")
    venv, theirs = ctx.project / ".venv", tmp_path / "theirs"
    moved, empty = tmp_path / "moved", tmp_path / "empty"
    empty.mkdir()
    typed("sync", "--venv", str(theirs))
    before = files(theirs)
    venv.rename(moved)
    lock(ctx, "1.1", other=False)
    for leads_to, there in (
        (theirs, f"one that was made for {theirs}"),
        (empty, "an empty folder"),
    ):
        venv.symlink_to(leads_to)
        for words in (("sync",), ("sync", "--check")):
            code, _, err = typed(*words)
            assert (code, err) == (
                2,
                f"error: {venv}: a link, and no environment that was made here\n"
                f"found: a link to {leads_to}, {there}\n"
                "hint: remove the link, or name another folder with --venv DIR\n",
            )
        venv.unlink()
    assert files(theirs) == before
    assert list(empty.iterdir()) == []
    # One that was made here, and moved to a larger disk.
    venv.symlink_to(moved)
    code, out, err = typed("sync")
    assert (code, out) == (0, "Removed other 2.0\nUpdated tiny-lib 1.0 -> 1.1\n"), err
