"""`lock_project`, `check_lock`, `current_lock`, with resolvers that count what they are asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.lock_project import LockProject
from support.locks import BASE

from mllock.core.digest import sha256_of
from mllock.errors import (
    DataError,
    InputError,
    IntegrityError,
    LockError,
    OfflineError,
    SpecError,
    StaleLockError,
)
from mllock.lock.format import dump_lock, read_lock, seal
from mllock.lock.pip_words import RequirementError
from mllock.lock.ports import Upgrade
from mllock.spec.reader import load_spec
from mllock.workflows.lock import check_lock, current_lock, lock_project


@pytest.fixture
def project(tmp_path: Path) -> LockProject:
    return LockProject(tmp_path)


def test_lock_then_check_always_holds(project: LockProject) -> None:
    result = project.lock()
    assert result.written
    assert result.lock == read_lock(project.path)
    assert check_lock(project.ctx) == ()
    assert check_lock(project.ctx, by_content=True) == ()
    assert project.current() == (result.lock, project.path.read_bytes())


def test_nothing_changed_nothing_done(project: LockProject) -> None:
    project.lock()
    before = project.path.stat()
    project.change('name = "wine"', 'name = "wine"\ndescription = "x" # a comment')
    result = lock_project(project.ctx)  # the real resolvers would fail: there is no index here
    assert not result.written
    assert result.changes == ()
    assert project.asked() == (1, 1)
    after = project.path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_same_inputs_give_the_same_bytes(project: LockProject, tmp_path: Path) -> None:
    project.lock()
    (tmp_path / "elsewhere").mkdir()
    other = LockProject(tmp_path / "elsewhere")
    other.change('dependencies = ["alpha>=1", "beta"]', 'dependencies = [ "beta", "alpha >= 1" ]')
    other.lock()
    assert other.path.read_bytes() == project.path.read_bytes()


def test_only_the_part_that_changed_is_resolved(project: LockProject) -> None:
    project.lock()
    project.change('"beta"]', '"beta", "gamma"]')
    assert project.changes() == ["Added gamma 1.0"]
    assert project.asked() == (2, 1)
    assert project.python.requests[1].pins == {"alpha": "1.0", "beta": "1.0"}
    project.change('["libgomp1"]', '["libgomp1", "zlib1g"]')
    assert project.changes() == ["Added zlib1g 1.0-1"]
    assert project.asked() == (2, 2)
    assert project.system.requests[1].pins == {"libc6": "2.36-9+deb12u14", "libgomp1": "1.0-1"}
    first, second = (request.locked for request in project.system.requests)
    assert first is None
    assert second is not None
    assert (second.suite, second.indexes) == (BASE.suite, BASE.indexes)
    assert [package.name for package in second.packages] == ["libc6", "libgomp1"]
    (project.folder / "train.csv").write_text("a,b\n1,2\n3,4\n")
    (line,) = project.changes()
    assert line.startswith("Updated data.train (8 bytes, sha256:")
    project.change("[data.train]", '[environment.variables]\nA = "1"\n[data.train]')
    assert project.lock().written
    assert project.asked() == (2, 2)
    assert check_lock(project.ctx) == ()


def test_another_libc_or_python_in_the_base_resolves_again(project: LockProject) -> None:
    project.lock()
    project.change('["libgomp1"]', "[]")
    project.system.libc = "2.37-1"
    project.lock()
    project.change("system-packages = []\n", 'system-packages = ["zlib1g"]\n')
    project.system.base = replace(BASE, python="3.11.3")
    project.lock()
    assert project.asked() == (3, 3)
    assert [request.glibc for request in project.python.requests] == [(2, 36), (2, 37), (2, 37)]
    assert project.python.requests[2].python == "3.11.3"


def test_upgrade(project: LockProject) -> None:
    project.lock()
    project.python.newest = "2.0"
    assert project.changes() == []
    assert project.changes(upgrade=Upgrade(names=frozenset({"Beta"}))) == [
        "Updated beta 1.0 -> 2.0"
    ]
    assert project.asked() == (2, 1)
    assert project.changes(upgrade=Upgrade(all=True)) == ["Updated alpha 1.0 -> 2.0"]
    assert project.asked() == (3, 2)
    project.lock(upgrade=Upgrade(names=frozenset({"libgomp1"})))
    assert project.asked() == (3, 3)


def test_a_rule_about_overlaps_names_a_locked_package(project: LockProject) -> None:
    rule = 'overlaps = [{ path = "tests/**", keep = "Beta" }]\n'
    project.change("system-packages", rule + "system-packages")
    lock = project.lock().lock
    assert lock.inputs.environment["overlaps"] == [{"path": "tests/**", "keep": "beta"}]
    assert check_lock(project.ctx) == ()
    before = project.path.read_bytes()
    for name, hint in (
        ("bet", 'did you mean "beta"?'),
        ("x", "name one that mlproject.lock lists"),
    ):
        project.change('keep = "Beta"', f'keep = "{name}"')
        with pytest.raises(SpecError) as caught:
            project.lock()
        assert str(caught.value) == (
            "mlproject.toml:8: environment.overlaps[0].keep: no locked package has this name\n"
            f'found: "{name}"\nhint: {hint}'
        )
        project.change(f'keep = "{name}"', 'keep = "Beta"')
    assert project.path.read_bytes() == before
    project.change('path = "tests/**"', 'path = "test/**"')
    assert check_lock(project.ctx) == ("environment.overlaps: changed",)


def test_upgrade_of_what_is_not_there(project: LockProject) -> None:
    project.lock()
    with pytest.raises(InputError) as caught:
        project.lock(upgrade=Upgrade(names=frozenset({"alpa"})))
    assert str(caught.value) == (
        "mlproject.lock: no locked package is named 'alpa'\nhint: did you mean \"alpha\"?"
    )


def test_fresh_forgets_the_pins(project: LockProject) -> None:
    project.lock()
    project.python.newest = "2.0"
    assert project.changes(fresh=True) == ["Updated alpha 1.0 -> 2.0", "Updated beta 1.0 -> 2.0"]
    assert project.python.requests[1].pins == {}


def test_a_pin_does_not_move_because_the_index_got_another_wheel(project: LockProject) -> None:
    project.lock()
    project.python.tag = "cp311-cp311-manylinux_2_17_x86_64"
    project.change('"beta"]', '"beta", "gamma"]')
    assert project.changes() == ["Added gamma 1.0"]


def test_other_bytes_under_a_locked_name(project: LockProject) -> None:
    lock = project.lock().lock
    first, *rest = lock.python.packages
    wheel = replace(first.wheels[0], hashes={"sha256": "f" * 64})
    packages = (replace(first, wheels=(wheel,)), *rest)
    forged = seal(replace(lock, python=replace(lock.python, packages=packages)))
    project.path.write_bytes(dump_lock(forged))
    project.change('"beta"]', '"beta", "gamma"]')
    with pytest.raises(IntegrityError) as caught:
        project.lock()
    assert caught.value.message == (
        "the index serves other bytes for alpha-1.0-py3-none-any.whl than those that are locked"
    )
    assert project.path.read_bytes() == dump_lock(forged)


def test_an_edited_lock_is_written_again_with_its_pins(project: LockProject) -> None:
    good = project.lock().lock
    project.python.newest = "2.0"
    project.path.write_text(project.path.read_text().replace("size = 2000", "size = 2001"))
    with pytest.raises(LockError, match="edited by hand or badly merged"):
        check_lock(project.ctx)
    with pytest.raises(LockError, match="edited by hand or badly merged"):
        project.current()
    assert project.lock().lock == good
    assert (
        "warn: mlproject.lock: edited by hand or badly merged: everything is resolved again"
    ) in project.reporter.lines
    assert project.asked() == (2, 2)
    # What an edited lock says of files is not believed.
    assert project.system.requests[1].locked is None


@pytest.mark.parametrize("fresh", [False, True])
def test_a_lock_from_the_future_is_left_alone(project: LockProject, fresh: bool) -> None:
    project.path.write_text("lock-version = 2\n")
    with pytest.raises(LockError, match="written by a newer mllock"):
        project.lock(fresh=fresh)
    assert project.path.read_text() == "lock-version = 2\n"


def test_a_broken_lock_needs_fresh(project: LockProject) -> None:
    project.path.write_text("lock-version = \n")
    with pytest.raises(LockError, match="mllock lock --fresh"):
        project.lock()
    assert project.lock(fresh=True).written


def test_a_failure_leaves_the_old_lock(project: LockProject) -> None:
    project.lock()
    before = project.path.read_bytes()
    project.change('"beta"]', '"beta", "gamma"]')
    project.python.fails = OfflineError("the package index cannot be read")
    with pytest.raises(OfflineError):
        project.lock()
    assert project.path.read_bytes() == before
    assert sorted(path.name for path in project.folder.iterdir()) == [
        ".mllock",
        "mlproject.lock",
        "mlproject.toml",
        "train.csv",
    ]


def test_the_requirement_is_found_in_the_spec(project: LockProject) -> None:
    error = RequirementError("no package 'beta' in the index")
    error.names = ("beta",)
    project.python.fails = error
    with pytest.raises(RequirementError) as caught:
        project.lock()
    assert str(caught.value) == (
        "mlproject.toml:7: environment.dependencies[1]: no package 'beta' in the index"
    )


def test_the_requirement_is_found_in_a_file_of_the_spec(project: LockProject) -> None:
    project.change("system-packages", 'requirements = ["more.in"]\nsystem-packages')
    (project.folder / "more.in").write_text("# more\n\nGamma>=1\n")
    error = RequirementError("no package 'gamma' in the index")
    error.names = ("delta", "gamma")
    project.python.fails = error
    with pytest.raises(RequirementError) as caught:
        project.lock()
    assert str(caught.value) == "more.in:3: no package 'gamma' in the index"


def test_missing_data_is_found_before_anything_is_resolved(project: LockProject) -> None:
    (project.folder / "train.csv").unlink()
    with pytest.raises(DataError):
        project.lock()
    assert project.asked() == (0, 0)
    assert not project.path.exists()


def test_stale_reasons_and_refusal(project: LockProject) -> None:
    project.lock()
    project.change('"beta"]', '"beta", "gamma"]')
    (project.folder / "train.csv").write_text("a,b\n")
    reasons = (
        "environment.dependencies: added gamma",
        "data.train: 'train.csv' has 4 bytes now, 8 locked",
    )
    assert check_lock(project.ctx) == reasons
    assert check_lock(project.ctx, by_content=True) == reasons
    with pytest.raises(StaleLockError) as caught:
        project.current()
    assert str(caught.value) == (
        "mlproject.lock: is stale\n"
        "found: environment.dependencies: added gamma\n"
        "       data.train: 'train.csv' has 4 bytes now, 8 locked\n"
        'hint: bring it up to date with "mllock lock"'
    )
    loaded = load_spec(project.folder / "mlproject.toml")
    with pytest.raises(StaleLockError, match="added gamma"):
        current_lock(project.ctx, loaded, data=False)


def test_a_lock_that_travels_needs_no_state(project: LockProject) -> None:
    project.lock()
    shutil.rmtree(project.folder / ".mllock")
    assert check_lock(project.ctx) == ()
    assert sha256_of((project.folder / "train.csv").read_bytes())


def test_another_builder_format_is_stale(project: LockProject) -> None:
    lock = project.lock().lock
    other = seal(replace(lock, layers=replace(lock.layers, builder_format=99)))
    project.path.write_bytes(dump_lock(other))
    assert check_lock(project.ctx) == ("layers.builder-format: 99 -> 1",)
    assert project.lock().lock == lock


def test_no_lock(project: LockProject) -> None:
    with pytest.raises(LockError) as caught:
        check_lock(project.ctx)
    assert str(caught.value) == 'mlproject.lock: no lock here\nhint: make it: "mllock lock"'
