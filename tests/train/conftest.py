"""A locked project, and commands typed in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.training import Typed, locked, no_layers

from mllock.cli.main import run as mllock
from mllock.workflows.context import Context


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
