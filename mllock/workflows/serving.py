"""The real runtimes of serving, and what `mllock serve` and the recording of probes have in common.

`mllock.workflows.serve` serves a run that is there; `mllock.workflows.probes` serves a model that
has just been trained, for as long as it takes to ask it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import AbstractContextManager

from mllock.core.digest import Digest
from mllock.engine.ports import Engine
from mllock.errors import SpecError
from mllock.lock.types import Lock
from mllock.serve.types import ServePlan, ServeRuntime
from mllock.spec.loaded import LoadedSpec
from mllock.spec.types import Serve
from mllock.train.runs import RunFolder, new_run_id
from mllock.train.types import Runtime
from mllock.workflows.context import Context
from mllock.workflows.environment import locked_wheels
from mllock.workflows.looked import look_into_wheels

__all__ = [
    "code_patterns",
    "docker_serve_runtime",
    "host_serve_runtime",
    "runtime_variables",
    "serve_of",
]


def host_serve_runtime(
    ctx: Context,
    lock: Lock,
    output: Callable[[bytes], None] | None,
    trained: Runtime | None = None,
) -> ServeRuntime:
    """This machine. `output` gets what the program prints; `trained` is what has trained the model
    just before, in an environment that need not be verified twice."""
    from mllock.serve.host import HostServeRuntime
    from mllock.train.host import HostRuntime
    from mllock.train.libc import refuse_newer_glibc

    refuse_newer_glibc(lock.python.packages)
    look_into_wheels(ctx, lock)
    return HostServeRuntime(
        cache=ctx.cache,
        fetch=locked_wheels(ctx, lock),
        environ=ctx.environ,
        reporter=ctx.reporter,
        output=output,
        known=lambda: trained.venv if isinstance(trained, HostRuntime) else None,
    )


def docker_serve_runtime(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    engine: Engine,
    output: Callable[[bytes], None] | None,
    *,
    run: RunFolder | None = None,
    detached: bool = False,
) -> ServeRuntime:
    """A container of the serving image of `run`, which is called NAME:serve then. Without a run, of
    an image of the plan's own model, which is gone again when it was served."""
    from mllock.serve.docker import DockerServeRuntime
    from mllock.workflows.build import model_image, serve_image
    from mllock.workflows.environment import environment_of
    from mllock.workflows.runtimes import loaded_image

    def image_of(plan: ServePlan) -> AbstractContextManager[Digest]:
        environment = environment_of(ctx, loaded, lock, run=run)
        if run is None:
            image = model_image(ctx, loaded, lock, environment, plan)
            return loaded_image(ctx, engine, image, None)
        image = serve_image(ctx, loaded, lock, environment, run)
        return loaded_image(ctx, engine, image, f"{loaded.spec.project.name}:serve")

    return DockerServeRuntime(
        engine=engine,
        image_of=image_of,
        state=ctx.state,
        session=new_run_id(dt.datetime.now(dt.UTC)),
        reporter=ctx.reporter,
        output=output,
        detached=detached,
    )


def serve_of(loaded: LoadedSpec) -> Serve:
    """The [serve] table. Raises SpecError if there is none."""
    if loaded.spec.serve is None:
        raise SpecError(
            "there is nothing to serve",
            file=loaded.path.name,
            hint="add a [serve] table with command and port",
        )
    return loaded.spec.serve


def code_patterns(loaded: LoadedSpec) -> tuple[tuple[str, ...] | None, str]:
    """The patterns of the serving code, and the key that they stand at."""
    serve, train = serve_of(loaded), loaded.spec.train
    if serve.code is not None or train is None:
        return serve.code, "serve.code"
    return train.code, "train.code"


def runtime_variables(ctx: Context, serve: Serve) -> dict[str, str]:
    """The declared runtime variables that the caller has set; which ones is said, no value is."""
    found = {name: ctx.environ[name] for name in serve.runtime_variables if name in ctx.environ}
    if found:
        ctx.reporter.note(f"from your environment, outside of the proof: {', '.join(found)}")
    return found
