"""Wheels that are fetched while versions are chosen: by rounds, and never more than a guess."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bench import TARGET, Bench, bench

from mllock.lock.ahead import fetching_ahead
from mllock.lock.pip import Pip

__all__ = ["bench"]


def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it did not come to that within 30 s")


def runs() -> bool:
    return any(thread.name == "ahead" for thread in threading.enumerate())


def names(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in folder.glob("*.whl"))


@pytest.fixture
def pip(bench: Bench) -> Pip:
    for name, needs in (
        ("alpha", ["beta>=1", "pinned", 'gamma; python_version < "3"', 'zeta; extra == "more"']),
        ("beta", ["delta", "alpha", 'eta; extra == "other"']),
        ("delta", []),
        ("zeta", ["beta<2"]),
        ("pinned", []),
    ):
        bench.index.add(name, "1.0", needs)
    return Pip(environ=bench.environ, reporter=bench.reporter)


def test_round_by_round(bench: Bench, pip: Pip, tmp_path: Path) -> None:
    with fetching_ahead(pip, tmp_path, ["alpha[more]"], ["pinned"], TARGET) as finish:
        until(lambda: names(tmp_path / "ahead-2") == ["delta"])
        until(lambda: not runs())
        assert not (tmp_path / "wheels").exists()
        finish()
    assert names(tmp_path / "wheels") == ["alpha", "beta", "delta", "zeta"]
    files = [path for path in bench.index.requests if path.startswith("/files/")]
    assert len(files) == len(set(files)) == 4, "each came once, and nothing else"


def test_no_round_begins_once_the_choice_is_made(pip: Pip, tmp_path: Path) -> None:
    with fetching_ahead(pip, tmp_path, ["alpha"], ["pinned"], TARGET) as finish:
        finish()
    assert names(tmp_path / "wheels") in ([], ["alpha"])
    assert not (tmp_path / "ahead-1").exists()
    assert not runs()


def test_what_cannot_be_had_ends_it(bench: Bench, pip: Pip, tmp_path: Path) -> None:
    bench.index.add("omega", "1.0", ["nobody-has-it"])
    with fetching_ahead(pip, tmp_path, ["omega"], [], TARGET) as finish:
        until(lambda: not runs())
        finish()
    assert names(tmp_path / "wheels") == ["omega"]


def test_a_wheel_that_is_none_ends_it(bench: Bench, pip: Pip, tmp_path: Path) -> None:
    bench.index.add("omega", "1.0", ["not a requirement !"])
    with fetching_ahead(pip, tmp_path, ["omega"], [], TARGET) as finish:
        until(lambda: not runs())
        finish()
    assert names(tmp_path / "wheels") in ([], ["omega"])


def test_whoever_is_interrupted_leaves_nothing_running(pip: Pip, tmp_path: Path) -> None:
    def interrupted() -> None:
        with fetching_ahead(pip, tmp_path, ["alpha"], [], TARGET):
            until((tmp_path / "ahead.txt").exists)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not runs()
    assert not (tmp_path / "wheels").exists()
