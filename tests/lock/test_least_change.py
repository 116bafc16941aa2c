"""As little as possible changes: real pip-tools and uv, an index on loopback that moves on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bench import Bench, bench, each_bench
from support.lock_project import LockProject
from support.wheels import SimpleIndex, pip_environ, simple_index

from mllock.errors import ResolutionError
from mllock.lock.ports import Upgrade
from mllock.lock.python import resolver_of
from mllock.store.own import own_folder
from mllock.workflows.lock import Resolvers, check_lock, lock_project

__all__ = ["bench", "each_bench"]

PACKAGES = 60


class Team:
    """A project of 60 packages, its resolver the real one."""

    def __init__(self, folder: Path, index: SimpleIndex, resolver: str) -> None:
        self.project = LockProject(folder)
        asked = f'["p00", "p01>=1"]\nresolver = "{resolver}"'
        self.project.change('["alpha>=1", "beta"]', asked)
        self.resolver = resolver
        self.environ = pip_environ(folder / "home", index=index)

    def changes(self, **options) -> list[str]:
        ctx = self.project.ctx
        python = resolver_of(
            self.resolver, ctx.cache, own_folder(ctx.cache.root / "uv"), ctx.reporter, self.environ
        )
        resolvers = Resolvers(python=python, system=self.project.system)
        result = lock_project(ctx, resolvers=resolvers, **options)
        assert check_lock(ctx) == () or options.get("dry_run")
        return [str(change) for change in result.changes]


def publish(index: SimpleIndex, version: str) -> None:
    """A new version of every package: each needs the two below it, as it did before."""
    for number in range(PACKAGES):
        below = [f"p{n:02}" for n in (2 * number + 1, 2 * number + 2) if n < PACKAGES]
        if version != "1.0" and number == 3:
            below = [f"{name}>={version}" for name in below]
        index.add(f"p{number:02}", version, below)


@pytest.fixture(params=["pip-tools", "uv"])
def team(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Team, SimpleIndex]]:
    with simple_index() as index:
        publish(index, "1.0")
        yield Team(tmp_path, index, request.param), index


def test_one_more_dependency_changes_what_it_must(team: tuple[Team, SimpleIndex]) -> None:
    project, index = team
    assert len(project.changes()) > PACKAGES
    before = project.project.path.read_text()
    publish(index, "2.0")
    # p03 has to follow, and what p03 needs now; "light" could be newer, but not with these pins.
    index.add("heavy", "7.0", ["p03>=2", "light"])
    index.add("light", "8.0", ["p10"])
    index.add("light", "9.0", ["p10>=2"])
    project.project.change('"p01>=1"', '"p01>=1", "heavy"')
    asked = len(index.requests)
    assert project.changes() == [
        "Added heavy 7.0",
        "Added light 8.0",
        "Updated p03 1.0 -> 2.0",
        "Updated p07 1.0 -> 2.0",
        "Updated p08 1.0 -> 2.0",
    ]
    files = {path for path in index.requests[asked:] if path.startswith("/files/")}
    fetched = {path.rpartition("/")[2].partition("-")[0] for path in files}
    assert {"heavy", "light", "p03", "p07", "p08"} <= fetched
    after = project.project.path.read_text()
    touched = Counter(before.splitlines()) - Counter(after.splitlines())
    # Two digests; and for each of three packages its version and its wheel.
    assert touched.total() == 2 + 2 * 3, touched


def test_a_new_dependency_is_as_new_as_the_pins_allow(each_bench: Bench) -> None:
    for version, needs in (("1.0", "beta"), ("2.0", "beta>=2")):
        each_bench.index.add("beta", version)
        each_bench.index.add("alpha", version, [needs])
    pins = {"beta": "1.0"}
    assert each_bench.versions("alpha", "beta", pins=pins) == {"alpha": "1.0", "beta": "1.0"}


def test_what_is_new_is_fetched_meanwhile(bench: Bench) -> None:
    for name in ("alpha", "beta", "gamma"):
        bench.index.add(name, "1.0")
    known = bench.resolve("alpha")
    bench.reporter.lines.clear()
    asked = ("alpha", "beta>=1", 'gamma; python_version < "3"')
    found = bench.resolve(*asked, pins={"alpha": "1.0"}, known=known)
    assert [item.name for item in found] == ["alpha", "beta"]
    assert [line for line in bench.reporter.lines if "fetching" in line] == []
    # What cannot be fetched is what pip-compile stumbles over.
    assert bench.refusal(ResolutionError, "alpha", "delta", pins={"alpha": "1.0"}).startswith(
        "no package 'delta' in the index\n"
    )


def test_pins_make_room_for_an_upgrade_that_is_asked_for(each_bench: Bench) -> None:
    for version, needs in (("1.0", "beta"), ("2.0", "beta>=2")):
        each_bench.index.add("beta", version)
        each_bench.index.add("gamma", version)
        each_bench.index.add("alpha", version, [needs, "gamma"])
        # Holds an alpha back for as long as it stays itself.
        each_bench.index.add("delta", version, [f"alpha<={version}"])
    pins = dict.fromkeys(("alpha", "beta", "gamma", "delta"), "1.0")
    asked = Upgrade(names=frozenset({"alpha"}))
    found = each_bench.versions("alpha", "delta", pins=pins, upgrade=asked)
    assert found == {"alpha": "2.0", "beta": "2.0", "gamma": "1.0", "delta": "2.0"}


def test_a_pin_that_was_blamed_and_is_innocent_stays(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0", ["beta<2"])
    each_bench.index.add("alpha", "2.0", ["beta>=2"])
    for version in ("1.0", "2.0"):
        each_bench.index.add("beta", version)
        each_bench.index.add("gamma", version, ["beta<3"])
    pins = dict.fromkeys(("alpha", "beta"), "2.0") | {"gamma": "1.0"}
    found = each_bench.versions("alpha", "beta<2", "gamma", pins=pins)
    assert found == {"alpha": "1.0", "beta": "1.0", "gamma": "1.0"}


def test_many_pins_that_can_only_move_together(each_bench: Bench) -> None:
    """pip-compile gives up by itself, with a traceback, after ten."""
    steps = [f"step{number:02}" for number in range(12)]
    for version in ("1.0", "2.0"):
        for name, following in zip(steps, [*steps[1:], ""], strict=True):
            each_bench.index.add(name, version, [f"{following}=={version}"] if following else [])
        each_bench.index.add("other", version)
    pins = dict.fromkeys((*steps, "other"), "1.0")
    found = each_bench.versions("step00>=2", "other", pins=pins)
    assert found == dict.fromkeys(steps, "2.0") | {"other": "1.0"}


def test_a_pin_that_the_index_has_no_longer(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "2.0")
    for version in ("1.0", "2.0"):
        each_bench.index.add("beta", version)
    found = each_bench.versions("alpha", "beta", pins={"alpha": "1.0", "beta": "1.0"})
    assert found == {"alpha": "2.0", "beta": "1.0"}


def test_a_wheel_that_is_locked_and_here_does_not_come_again(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0")
    each_bench.index.add("beta", "1.0")
    pins = {"alpha": "1.0"}
    known = each_bench.resolve("alpha")
    # An index may get a better wheel for a version, or lose the one that is locked.
    each_bench.index.files["alpha"] = {}
    each_bench.index.add("alpha", "1.0", tag="cp311-none-any")
    assert each_bench.resolve("alpha", "beta", pins=pins, known=known)[0] == known[0]
    shutil.rmtree(each_bench.cache.root / "blobs")
    (again, _) = each_bench.resolve("alpha", "beta", pins=pins, known=known)
    # pip-tools measures what comes; with uv nothing has to come for what stays.
    better = "alpha-1.0-cp311-none-any.whl"
    stays = known[0].wheels[0].name if each_bench.resolver == "uv" else better
    assert again.wheels[0].name == stays
