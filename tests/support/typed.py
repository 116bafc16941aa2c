"""`mllock` typed in this process, in a project with an environment and a cache of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mllock.cli.main import run as mllock
from mllock.workflows.context import Context

__all__ = ["Typed", "typed_in"]

# typed("vendor", "DIR") answers exit code, standard output, standard error.
Typed = Callable[..., tuple[int, str, str]]


def typed_in(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Typed:
    """In the project of `ctx`, with its variables and its cache."""
    for name, value in ctx.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLLOCK_CACHE", str(ctx.cache.root))
    monkeypatch.chdir(ctx.project)

    def type_(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = mllock(list(words))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return type_
