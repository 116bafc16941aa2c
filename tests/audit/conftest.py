"""A locked project, a service that speaks OSV, and `mllock audit` typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.osv import TRACKER, Osv, osv
from support.training import context, lock_of, make_project, put_wheels
from support.typed import Typed, typed_in

from mllock.lock.format import dump_lock
from mllock.workflows.context import Context


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    ctx = context(make_project(tmp_path / "project"))
    packages = put_wheels(ctx.cache, {("tiny-lib", "1.0"): None, ("other", "2.0+cpu"): None})
    (ctx.project / "mlproject.lock").write_bytes(dump_lock(lock_of(ctx.project, packages)))
    return ctx


@pytest.fixture
def service() -> Iterator[Osv]:
    with osv() as found:
        yield found


@pytest.fixture
def typed(
    ctx: Context,
    service: Osv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Typed:
    tracker = tmp_path / "tracker.json"
    tracker.write_text(json.dumps(TRACKER))
    monkeypatch.setenv("MLLOCK_OSV_URL", service.url)
    monkeypatch.setenv("MLLOCK_DEBIAN_TRACKER", str(tracker))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return typed_in(ctx, monkeypatch, capfd)
