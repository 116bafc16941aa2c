"""However the command names its Python, it is the one of the locked environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.reporter import Recorder
from support.training import SPEC, lock_of, locked, make_project, no_layers, put_wheels, relock

from mllock.errors import ArchiveError, InputError, ProgramError
from mllock.image.python import frame_nodes, python_groups
from mllock.store.cache import Cache
from mllock.train.python import find_python
from mllock.train.venv import LockedVenv, locked_venv
from mllock.workflows.train import train

PROGRAM = """\
import pathlib, sys
import tiny_lib
pathlib.Path("model").write_text(tiny_lib.VERSION)
pathlib.Path("metrics.json").write_text("{}")
print(sys.prefix)
"""
TOOL = {
    "tiny_lib/__init__.py": b"VERSION = '1.0'\n",
    "tiny_lib-1.0.data/scripts/tool": b"#!python\nimport runpy\nrunpy.run_path('train.py')\n",
}


@pytest.mark.parametrize(
    "command",
    [
        '["python", "train.py"]',
        '["python3", "train.py"]',
        '["python3.11", "train.py"]',
        '["sh", "-c", "exec python3.11 train.py"]',
        '["env", "python3", "train.py"]',
        '["tool"]',
    ],
)
def test_every_spelling_of_the_image_is_the_locked_environment(
    tmp_path: Path, command: str
) -> None:
    spec = SPEC.replace('["python", "train.py", "--alpha", "{params.alpha}"]', command)
    ctx = locked(tmp_path, program=PROGRAM, spec=spec)
    relock(ctx, TOOL)
    run = train(ctx, environment_of=no_layers).run
    assert Path(run.log.read_text().strip()).is_relative_to(ctx.cache.folder("venvs"))


def test_a_python_that_the_image_does_not_have(tmp_path: Path) -> None:
    spec = SPEC.replace('["python", ', '["python3.12", ')
    ctx = locked(tmp_path, program=PROGRAM, spec=spec)
    with pytest.raises(ProgramError) as caught:
        train(ctx, environment_of=no_layers)
    assert str(caught.value) == (
        "mlproject.toml: train.command: cannot run python3.12: the locked environment has Python "
        "3.11\nexpected: python, python3 or python3.11\nfound: python3.12"
    )


def make_venv(tmp_path: Path, files: dict[str, bytes], cache: str = "cache") -> LockedVenv:
    reporter = Recorder()
    store = Cache(tmp_path / cache, reporter)
    packages = put_wheels(store, {("tiny-lib", "1.0"): files})
    digest = packages[0].wheels[0].hashes["sha256"]

    def fetch(_: object) -> dict[str, Path]:
        return {packages[0].wheels[0].name: store.blob_path(f"sha256:{digest}")}  # type: ignore[arg-type]

    python = find_python("3.11", os.environ)
    return locked_venv(store.folder("venvs"), packages, python, fetch, reporter)


def test_the_links_are_those_of_the_image(tmp_path: Path) -> None:
    venv = make_venv(tmp_path, {})
    project = make_project(tmp_path / "project")
    (group,) = python_groups(
        lock_of(project, put_wheels(Cache(tmp_path / "c", Recorder()), {("tiny-lib", "1.0"): None}))
    )
    in_image = {
        node.path.removeprefix("opt/venv/"): node.target
        for node in frame_nodes(group)
        if node.kind == "symlink"
    }
    in_image["bin/python"] = str(venv.python.path)
    on_host = {f"bin/{path.name}": os.readlink(path) for path in venv.bin.iterdir()}
    assert on_host == in_image


def test_a_link_that_was_changed_is_found(tmp_path: Path) -> None:
    venv = make_venv(tmp_path, {})
    (venv.bin / "python3.11").unlink()
    (venv.bin / "python3.11").symlink_to("/bin/true")
    assert os.readlink(make_venv(tmp_path, {}).bin / "python3.11") == "python"


@pytest.mark.parametrize("name", ["bin/python", "bin/python3", "bin/python3.11", "pyvenv.cfg"])
def test_a_wheel_writes_through_no_link(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        make_venv(tmp_path, {f"tiny_lib-1.0.data/data/{name}": b"#!/bin/true\n"})
    assert str(caught.value) == (
        f"opt/venv/{name}: the virtual environment and tiny-lib both install this path, with "
        "different bytes\nhint: leave one of the two out of [environment] dependencies"
    )


def test_a_cache_that_a_path_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make_venv(tmp_path, {}, "a:b")
    assert str(caught.value) == (
        f"{tmp_path}/a:b/venvs: a cache whose path holds a colon cannot be on a program's PATH\n"
        "hint: name another folder with MLLOCK_CACHE"
    )
    assert list((tmp_path / "a:b" / "venvs").iterdir()) == []
