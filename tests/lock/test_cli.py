"""`mllock lock` as it is typed: output, exit codes, options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.lock_project import LockProject

from mllock.cli.lock import _lines
from mllock.cli.main import run
from mllock.lock.compare import Change
from mllock.lock.ports import Upgrade


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockProject:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    project = LockProject(tmp_path)
    monkeypatch.chdir(project.folder)
    return project


def typed(*arguments: str) -> int:
    return run(["lock", *arguments])


def test_nothing_to_do(project: LockProject, capsys) -> None:
    digest = project.lock().lock.content_digest
    assert typed() == 0
    assert capsys.readouterr() == ("", "mlproject.lock is current: nothing to do\n")
    assert typed("--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "current": True,
        "written": False,
        "content-digest": digest,
        "changes": [],
    }


def test_what_changed_is_data(project: LockProject, capsys) -> None:
    project.lock()
    (project.folder / "train.csv").write_text("a,b\n")
    assert typed() == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Updated data.train (8 bytes, sha256:")
    assert captured.err == (
        "wrote mlproject.lock: 2 Python packages, 2 Debian packages, 1 data source\n"
    )
    (project.folder / "train.csv").write_text("b,a\n")
    assert typed("--json") == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["kind"], change["action"], change["name"]) == ("data", "updated", "data.train")


def test_a_dry_run_says_what_lock_says_and_writes_nothing(project: LockProject, capsys) -> None:
    project.lock()
    before, status = project.path.read_bytes(), project.path.stat()
    (project.folder / "train.csv").write_text("a,b\n")
    assert typed("--dry-run") == 0
    dry = capsys.readouterr()
    assert dry.err == (
        "would write mlproject.lock: 2 Python packages, 2 Debian packages, 1 data source\n"
    )
    assert typed("--dry-run", "--json") == 0
    asked = json.loads(capsys.readouterr().out)
    assert project.path.read_bytes() == before
    assert project.path.stat() == status
    assert typed() == 0
    real = capsys.readouterr()
    assert real.out == dry.out
    assert real.out.startswith("Updated data.train (8 bytes, sha256:")
    assert (asked["current"], asked["written"]) == (False, False)
    assert asked["content-digest"] in project.path.read_text()
    assert typed("--dry-run") == 0
    assert capsys.readouterr() == ("", "mlproject.lock is current: nothing to do\n")


def test_a_dry_run_of_a_first_lock_and_of_upgrades(project: LockProject) -> None:
    assert project.changes(dry_run=True)[-2:] == [
        "Added beta 1.0",
        f"Added data.train {data_facts(project)}",
    ]
    assert not project.path.exists()
    project.lock()
    before = project.path.read_bytes()
    project.python.newest = "2.0"
    both = ["Updated alpha 1.0 -> 2.0", "Updated beta 1.0 -> 2.0"]
    some = Upgrade(names=frozenset({"alpha"}))
    assert project.changes(dry_run=True, upgrade=some) == both[:1]
    assert project.changes(dry_run=True, upgrade=Upgrade(all=True)) == both
    assert project.changes(dry_run=True, fresh=True) == both
    project.change('"alpha>=1", ', "")
    removed = project.lock(dry_run=True)
    assert list(map(str, removed.changes)) == ["Removed alpha 1.0"]
    assert project.path.read_bytes() == before
    assert project.lock().lock == removed.lock


def data_facts(project: LockProject) -> str:
    (change,) = (c for c in project.lock(dry_run=True).changes if c.kind == "data")
    assert change.new is not None
    return change.new


def test_check(project: LockProject, capsys) -> None:
    project.lock()
    assert typed("--check") == 0
    assert capsys.readouterr() == ("", "mlproject.lock is current\n")
    project.change('"beta"]', '"beta", "polars>=1"]')
    assert typed("--check") == 1
    assert capsys.readouterr() == (
        "environment.dependencies: added polars>=1\n",
        'mlproject.lock is stale\nhint: bring it up to date with "mllock lock"\n',
    )
    assert typed("--check", "--json") == 1
    assert json.loads(capsys.readouterr().out) == {
        "stale": True,
        "reasons": ["environment.dependencies: added polars>=1"],
    }


def test_check_by_content_sees_what_stat_cannot(project: LockProject, capsys) -> None:
    import os

    project.lock()
    data = project.folder / "train.csv"
    status = data.stat()
    with open(data, "r+b") as file:
        file.write(b"A")
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert typed("--check", "--data") == 1
    assert capsys.readouterr().out == (
        "data.train: 'train.csv' has the size that is locked, but other names or bytes\n"
    )


def test_an_edited_lock_is_bad_input(project: LockProject, capsys) -> None:
    project.lock()
    project.path.write_text(project.path.read_text().replace("size = 8", "size = 9"))
    assert typed("--check") == 2
    assert capsys.readouterr().err.startswith(
        "error: mlproject.lock: content-digest: edited by hand or badly merged\n"
    )


def test_no_lock_is_bad_input(project: LockProject, capsys) -> None:
    assert typed("--check") == 2
    assert capsys.readouterr().err == (
        'error: mlproject.lock: no lock here\nhint: make it: "mllock lock"\n'
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check", "--fresh"], "--check changes nothing: leave out --upgrade and --fresh"),
        (["--check", "--dry-run"], "--check changes nothing: leave out --dry-run"),
        (["--check", "--upgrade"], "--check changes nothing: leave out --upgrade and --fresh"),
        (["--fresh", "--upgrade", "x"], "--fresh forgets every pin: leave out --upgrade"),
    ],
)
def test_options_that_contradict(project: LockProject, capsys, arguments, message) -> None:
    assert typed(*arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}\n")


def test_an_upgrade_of_nothing(project: LockProject, capsys) -> None:
    project.lock()
    assert typed("--upgrade", "alpa") == 2
    assert capsys.readouterr().err == (
        "error: mlproject.lock: no locked package is named 'alpa'\nhint: did you mean \"alpha\"?\n"
    )


def test_many_debian_packages_are_one_line() -> None:
    many = [Change(kind="system", action="added", name=f"p{n}", new="1") for n in range(9)]
    few = [Change(kind="system", action="removed", name="old", old="1")]
    one = [Change(kind="python", action="updated", name="numpy", old="1.0", new="2.0")]
    lines = ["Added 9 Debian packages", "Removed old 1", "Updated numpy 1.0 -> 2.0"]
    assert list(_lines([*many, *few, *one], everything=False)) == lines
    assert len(list(_lines([*many, *few, *one], everything=True))) == 11


def test_nothing_to_do_imports_no_resolver(project: LockProject) -> None:
    project.lock()
    script = (
        "import sys; from mllock.cli.main import run; code = run(['lock']); "
        "slow = {'requests', 'piptools', 'debian', 'pysequoia', 'cryptography', 'rich', 'tomlkit',"
        " 'mllock.lock.python', 'mllock.lock.debian', 'mllock.lock.pip', 'mllock.image.build',"
        " 'mllock.store.fetch', 'mllock.train.runs', 'importlib.metadata'} & set(sys.modules); "
        "print(code, sorted(slow))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 []\n"
