"""Locked projects: commands typed in one, and others that train in the engine of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.containers import Project, clean, docker_project, leftovers
from support.training import Typed, locked, no_layers

from mllock.cli.main import run as mllock
from mllock.engine.docker import DockerEngine
from mllock.workflows.context import Context


@pytest.fixture
def project(
    tmp_path: Path, engine_host: str, engine: DockerEngine, unique: str
) -> Iterator[Project]:
    """`project(program, ...)`; afterwards its images are gone, and nothing else was left."""
    made: list[Context] = []

    def make(program: str = "", host: str = engine_host, **options: Any) -> Context:
        made.append(docker_project(tmp_path, host, unique, program, **options))
        return made[-1]

    yield make
    clean(engine, unique)
    assert [leftovers(engine, ctx) for ctx in made] == [([], [])] * len(made)
    for ctx in made:
        assert [*(ctx.state / "tmp").glob("*")] == []


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return locked(tmp_path)


@pytest.fixture
def typed(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Typed:
    """`typed("show", "--json")`: exit code, standard output, standard error."""
    for name, value in ctx.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLLOCK_CACHE", str(ctx.cache.root))
    monkeypatch.delenv("MLLOCK_KEY", raising=False)
    monkeypatch.setattr("mllock.workflows.environment.environment_of", no_layers)

    def type_(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = mllock(["--project", str(ctx.project), *words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return type_
