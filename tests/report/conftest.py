"""Worlds with two runs that have metrics, evaluations and gates, and commands typed in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.judged_runs import put_all
from support.typed import Typed, typed_in
from support.world import OTHER, RUN, SPEC, World, make_run, make_world

from mllock.core import canonical
from mllock.lock.format import read_lock

METRICS = {OTHER: {"rmse": 0.5, "r2": 0.75}, RUN: {"rmse": 0.25, "r2": 0.875}}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world as it was made, its newer run judged: not to be changed."""
    spec = SPEC.replace('model = "out/model"', 'model = "out/model"\nmetrics = "metrics.json"')
    world = make_world(tmp_path_factory.mktemp("report"), spec=spec)
    ctx = world.context()
    lock = read_lock(world.project / "mlproject.lock")
    for run, model in ((OTHER, {"w.txt": b"1 2\n"}), (RUN, {"w.txt": b"1 3\n"})):
        os.rename(ctx.runs / run, world.root / f"old-{run}")
        data = canonical.dumps(METRICS[run])
        make_run(ctx, lock, run, model, extra={"metrics.json": data})
    put_all(world.run, world.key)
    return world


@pytest.fixture
def world(whole: World, tmp_path: Path) -> World:
    return whole.copy(tmp_path / "w")


@pytest.fixture
def typed(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Typed:
    monkeypatch.delenv("MLLOCK_KEY", raising=False)
    return typed_in(world.context(), monkeypatch, capfd)
