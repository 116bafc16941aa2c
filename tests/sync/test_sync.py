"""`mllock sync`, typed: an environment that is the lock's, and what changed by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.syncing import (
    DONE,
    IS_LOCKED,
    OTHER,
    SITE,
    VERSION,
    Typed,
    ctx,
    files,
    lock,
    looks,
    pip,
    typed,
)
from support.wheels import make_wheel

from mllock.workflows.context import Context

__all__ = ["ctx", "typed"]


def test_an_environment_that_works(ctx: Context, typed: Typed) -> None:
    venv = ctx.project / ".venv"
    assert typed("sync", "--check") == (
        1,
        "other 2.0: not installed\ntiny-lib 1.0: not installed\n",
        '.venv is not what is locked\nhint: bring it there with "mllock sync"\n',
    )
    assert not venv.exists()
    assert typed("sync") == (
        0,
        "Added other 2.0\nAdded tiny-lib 1.0\n",
        f"installing 2 packages\n{DONE}",
    )
    done = subprocess.run(
        [
            "sh",
            "-c",
            ". .venv/bin/activate && tiny && python -c "
            "'import other_more.a.b, sys; print(sys.prefix)'",
        ],
        cwd=ctx.project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"hello\n{venv}\n"
    # Another installer finds them, and its files as its RECORD has them.
    listed = subprocess.run(
        [*pip(venv), "list", "--format=freeze"],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == "other==2.0\ntiny-lib==1.0\n"
    before = looks(venv)
    assert typed("sync") == (0, "", IS_LOCKED)
    assert typed("sync", "--check") == (0, "", IS_LOCKED)
    assert looks(venv) == before
    assert (venv / ".gitignore").read_text() == "*\n"
    code, out, _ = typed("sync", "--check", "--json")
    assert (code, json.loads(out)) == (
        0,
        {
            "venv": str(venv),
            "python": VERSION,
            "packages": 2,
            "current": True,
            "made-again": None,
            "done": False,
            "changes": [],
            "of-no-package": [],
        },
    )


def test_updated_and_removed_with_their_bytecode(ctx: Context, typed: Typed) -> None:
    typed("sync")
    venv = ctx.project / ".venv"
    subprocess.run(
        [venv / "bin" / "python", "-c", "import other, other_more.a.b, tiny_lib"],
        env={},
        check=True,
    )
    assert any(path.name.startswith("b.cpython") for path in venv.rglob("*.pyc"))
    lock(ctx, "1.1", other=False)
    assert typed("sync", "--check")[:2] == (
        1,
        "other 2.0: not locked\ntiny-lib 1.1: 1.0 is installed\n",
    )
    code, out, _ = typed("sync", "--json")
    assert (code, json.loads(out)["changes"]) == (
        0,
        [
            {"action": "removed", "name": "other", "old": "2.0", "new": None},
            {"action": "updated", "name": "tiny-lib", "old": "1.0", "new": "1.1"},
        ],
    )
    updated = files(venv)
    shutil.rmtree(venv)
    typed("sync")
    assert updated == files(venv)


def test_what_pip_did_is_undone(ctx: Context, typed: Typed, tmp_path: Path) -> None:
    typed("sync")
    venv = ctx.project / ".venv"
    before = files(venv)
    for name, version in (("tiny-lib", "0.9"), ("extra", "3.0")):
        path = tmp_path / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        path.write_bytes(make_wheel(name, version, {f"{name.replace('-', '_')}/x.py": b"X = 1\n"}))
        subprocess.run(
            [*pip(venv), "install", "--no-deps", "--no-index", "-q", str(path)],
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            check=True,
        )
    code, out, err = typed("sync")
    assert (code, out) == (0, "Removed extra 3.0\nUpdated tiny-lib 0.9 -> 1.0\n")
    assert err == f"installing 1 package\n{DONE}"
    assert files(venv) == before
    assert not (venv / SITE / "extra").exists()


def test_what_was_edited_is_kept_aside(ctx: Context, typed: Typed) -> None:
    typed("sync")
    venv = ctx.project / ".venv"
    before = files(venv)
    module, data = venv / SITE / "other.py", venv / SITE / "tiny_lib" / "data.txt"
    # Into the file itself, which has other names as well.
    module.chmod(0o644)
    module.write_bytes(b"OTHER = 2\n")
    os.utime(data, ns=(1, 1))  # touched, and no other bytes
    (venv / SITE / "mine.py").write_text("mine")
    assert typed("sync", "--check")[:2] == (
        1,
        "other 2.0: 1 file changed or gone\ntiny-lib 1.0: 1 file changed or gone\n",
    )
    kept = venv / "mllock-kept" / SITE / "other.py"
    assert typed("sync") == (
        0,
        "Restored other 2.0 (1 file)\nRestored tiny-lib 1.0 (1 file)\n",
        f"installing 2 packages\nwarning: was changed by hand, and is now {kept}\n{DONE}"
        "warning: is of no package, and stays: mine.py\n",
    )
    assert kept.read_bytes() == b"OTHER = 2\n"
    (venv / SITE / "mine.py").unlink()
    assert files(venv) == before
    # A second edit of the same file does not cost the first.
    module.unlink()
    module.write_bytes(b"OTHER = 3\n")
    typed("sync")
    assert [kept.read_bytes(), kept.with_name("other.py.1").read_bytes()] == [
        b"OTHER = 2\n",
        b"OTHER = 3\n",
    ]
    assert files(venv) == before


def test_environments_share_files_and_no_harm(ctx: Context, typed: Typed) -> None:
    before = os.umask(0o002)  # entries that others may write would not count
    typed("sync")
    os.umask(before)
    assert typed("sync", "--venv", "second")[0] == 0
    first, second = (ctx.project / name / SITE / "other.py" for name in (".venv", "second"))
    assert first.stat().st_ino == second.stat().st_ino
    assert first.stat().st_mode & 0o222 == 0
    first.chmod(0o644)
    first.write_bytes(b"evil = 1\n")
    assert typed("sync", "--check", "--venv", "second")[0] == 1
    typed("sync", "--venv", "third")
    assert (ctx.project / "third" / SITE / "other.py").read_bytes() == OTHER["other.py"]
    typed("sync", "--venv", "second")
    assert second.read_bytes() == OTHER["other.py"]


def test_without_links_files_are_copied(
    ctx: Context, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: str, target: str) -> None:
        raise OSError(18, "Invalid cross-device link")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", no_link)
        typed("sync")
    venv = ctx.project / ".venv"
    assert (venv / SITE / "other.py").stat().st_nlink == 1
    assert typed("sync", "--check") == (0, "", IS_LOCKED)
