"""Which container engine a command uses, if any: asked once, said once, closed at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mllock.errors import EngineError
from mllock.workflows.context import Context

if TYPE_CHECKING:  # an engine that nobody asks is not waited for
    from mllock.engine.ports import Engine

__all__ = ["engine_if_any", "engine_of"]


@contextlib.contextmanager
def engine_of(ctx: Context) -> Iterator[Engine]:
    """The engine. Raises EngineError that says why there is none."""
    from mllock.engine.docker import connect

    engine = connect(ctx.environ)
    try:
        yield engine
    finally:
        engine.close()


@contextlib.contextmanager
def engine_if_any(ctx: Context) -> Iterator[Engine | None]:
    """The engine where one answers; none if MLLOCK_ENGINE says "none".

    One that was named (DOCKER_HOST) has to answer: else EngineError.
    """
    from mllock.engine.absent import is_absent

    if ctx.environ.get("MLLOCK_ENGINE") == "none" or is_absent(ctx.environ):
        yield None
        return
    from mllock.engine.docker import connect

    try:
        engine = connect(ctx.environ)
    except EngineError:
        if ctx.environ.get("DOCKER_HOST"):
            raise
        yield None
        return
    try:
        yield engine
    finally:
        engine.close()
