"""[environment] exclude-newer: what came into an index at that time or later does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import TARGET, Bench, each_bench
from support.lock_project import LockProject
from support.wheels import write_wheel

from mllock.errors import ResolutionError

__all__ = ["each_bench"]

CUT = "2026-01-01T00:00:00Z"
BEFORE = "2025-12-31T23:59:59.999999Z"
AT = "2026-01-01T00:00:00.000000Z"


def add(bench: Bench, name: str, version: str, time: str | None, *requires: str) -> None:
    bench.index.add(name, version, requires)
    if time is not None:
        bench.index.times[f"{name}-{version}-py3-none-any.whl"] = time


def test_what_came_then_or_later_is_not_there(each_bench: Bench) -> None:
    add(each_bench, "alpha", "1.0", BEFORE, "beta")
    add(each_bench, "alpha", "2.0", AT)
    add(each_bench, "beta", "1.0", "2020-01-01T00:00:00Z")
    add(each_bench, "beta", "1.1", "2026-02-01T00:00:00Z")
    old = {"alpha": "1.0", "beta": "1.0"}
    assert each_bench.versions("alpha", exclude_newer=CUT) == old
    assert each_bench.versions("alpha") == {"alpha": "2.0"}
    # A pin that is too new makes room, and an old one is still a wish.
    assert each_bench.versions("alpha", exclude_newer=CUT, pins={"alpha": "2.0"}) == old
    new = "2027-01-01T00:00:00Z"
    assert each_bench.versions("alpha", exclude_newer=new, pins=old) == old


def test_one_wheel_of_a_version_came_later(each_bench: Bench) -> None:
    add(each_bench, "alpha", "1.0", BEFORE)
    better = f"cp311-cp311-manylinux_2_17_{TARGET.machine}"
    each_bench.index.add("alpha", "1.0", tag=better)
    each_bench.index.times[f"alpha-1.0-{better}.whl"] = AT
    (found,) = each_bench.resolve("alpha", exclude_newer=CUT)
    assert [wheel.name for wheel in found.wheels] == ["alpha-1.0-py3-none-any.whl"]
    (found,) = each_bench.resolve("alpha")
    assert [wheel.name for wheel in found.wheels] == [f"alpha-1.0-{better}.whl"]


def test_nothing_is_old_enough(each_bench: Bench) -> None:
    add(each_bench, "alpha", "1.0", BEFORE)
    add(each_bench, "alpha", "2.0", AT)
    assert each_bench.refusal(ResolutionError, "alpha>=2", exclude_newer=CUT) == (
        'nothing that satisfies "alpha>=2" came before environment.exclude-newer\n'
        "found: alpha-2.0-py3-none-any.whl\n"
        "hint: write a later time there, or widen the version range"
    )


@pytest.mark.parametrize("others", [True, False])
def test_an_index_that_does_not_say_when(each_bench: Bench, others: bool) -> None:
    if others:  # some of its files have a time
        add(each_bench, "alpha", "0.9", BEFORE)
    add(each_bench, "alpha", "1.0", None)
    assert each_bench.refusal(ResolutionError, "alpha", exclude_newer=CUT) == (
        "the index does not say when it got the files of alpha: 127.0.0.1\n"
        "expected: upload times (PEP 700), because environment.exclude-newer is set\n"
        "hint: use an index that has them, or leave out exclude-newer"
    )
    assert each_bench.versions("alpha") == {"alpha": "1.0"}


def test_files_of_a_folder_count_whenever_they_came(each_bench: Bench, tmp_path: Path) -> None:
    add(each_bench, "alpha", "1.0", BEFORE)
    write_wheel(tmp_path / "links", "beta", "1.0", ["alpha"])
    each_bench.environ["PIP_FIND_LINKS"] = str(tmp_path / "links")
    found = each_bench.versions("beta", exclude_newer=CUT)
    assert found == {"alpha": "1.0", "beta": "1.0"}


def test_locked_wheels_are_fetched_by_hash_not_by_time(each_bench: Bench) -> None:
    add(each_bench, "alpha", "1.0", BEFORE)
    packages = each_bench.resolve("alpha", exclude_newer=CUT)
    each_bench.index.times.clear()
    for path in each_bench.fetch(packages).values():
        path.unlink()
    assert [path.is_file() for path in each_bench.fetch(packages).values()] == [True]


def test_it_stands_in_the_spec(tmp_path: Path) -> None:
    project = LockProject(tmp_path)
    project.change("[environment]", f'[environment]\nexclude-newer = "{CUT}"')
    lock = project.lock().lock
    assert [request.exclude_newer for request in project.python.requests] == [CUT]
    assert lock.inputs.environment["exclude-newer"] == CUT
    assert not project.lock().written
    project.change(CUT, "2026-06-01T00:00:00Z")
    project.lock()
    assert len(project.python.requests) == 2


def test_a_locked_wheel_that_is_too_new_does_not_stay(tmp_path: Path) -> None:
    project = LockProject(tmp_path)
    project.lock()
    project.python.tag = "py2.py3-none-any"
    project.change('"beta"', '"beta", "gamma"')
    names = [item.wheels[0].name for item in project.lock().lock.python.packages]
    assert names[0] == "alpha-1.0-py3-none-any.whl"
    project.change("[environment]", f'[environment]\nexclude-newer = "{CUT}"')
    names = [item.wheels[0].name for item in project.lock().lock.python.packages]
    assert names[0] == "alpha-1.0-py2.py3-none-any.whl"
