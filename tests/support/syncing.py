"""A locked project with two small wheels in the cache, and `mllock sync` typed in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mllock.lock.format import dump_lock
from mllock.workflows.context import Context
from support.training import context, lock_of, make_project, put_wheels
from support.typed import Typed, typed_in

VERSION = ".".join(map(str, sys.version_info[:3]))
SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
SCRIPT = {"entry_points.txt": b"[console_scripts]\ntiny = tiny_lib:main\n"}
TINY = {
    "tiny_lib/__init__.py": b"def main():\n    print('hello')\n",
    "tiny_lib/data.txt": b"data\n",
}
OTHER = {"other.py": b"OTHER = 1\n", "other_more/a/b.py": b"B = 1\n"}


def lock(ctx: Context, version: str = "1.0", *, other: bool = True) -> None:
    wheels = {
        ("tiny-lib", version): {
            **TINY,
            f"tiny_lib-{version}.dist-info/entry_points.txt": SCRIPT["entry_points.txt"],
        }
    }
    if other:
        wheels[("other", "2.0")] = OTHER
    packages = put_wheels(ctx.cache, wheels)
    (ctx.project / "mlproject.lock").write_bytes(dump_lock(lock_of(ctx.project, packages)))


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    ctx = context(make_project(tmp_path / "project"))
    lock(ctx)
    return ctx


@pytest.fixture
def typed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Typed:
    monkeypatch.setenv("MLLOCK_OFFLINE", "1")
    return typed_in(ctx, monkeypatch, capfd)


def files(venv: Path) -> dict[str, bytes]:
    """Everything in the environment that is of packages, or that somebody put there."""
    return {
        str(path.relative_to(venv)): path.read_bytes()
        for top in (venv / SITE, venv / "bin")
        for path in sorted(top.rglob("*"))
        if path.is_file() and not path.is_symlink() and "ctivate" not in path.name
    }


def pip(venv: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python")]


def looks(venv: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in venv.rglob("*")}


IS_LOCKED = f".venv is what is locked: 2 packages for Python {VERSION}\n"
DONE = f".venv: 2 packages for Python {VERSION}\n"
