"""Projects that train in the engine of the tests, and leave nothing there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.containers import Project, clean, docker_project, leftovers

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
