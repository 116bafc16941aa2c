"""The real runtimes of serving, and what `mllock serve` and the recording of probes have in common.

`mllock.workflows.serve` serves a run that is there; `mllock.workflows.probes` serves a model that
has just been trained, for as long as it takes to ask it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mllock.errors import NotAvailableError, SpecError
from mllock.lock.types import Lock, PythonPackage
from mllock.serve.types import ServeRuntime
from mllock.spec.loaded import LoadedSpec
from mllock.spec.types import Serve
from mllock.train.types import Runtime
from mllock.train.venv import FetchWheels
from mllock.workflows.context import Context

__all__ = ["code_patterns", "locked_wheels", "runtime_variables", "serve_of", "serve_runtime"]


def serve_runtime(
    name: str,
    ctx: Context,
    lock: Lock,
    output: Callable[[bytes], None] | None,
    trained: Runtime | None = None,
) -> ServeRuntime:
    """The runtime of this name. `output` gets what the program prints; `trained` is what has
    trained the model just before, in an environment that need not be verified twice."""
    from mllock.serve.host import HostServeRuntime
    from mllock.train.host import HostRuntime

    if name != HostServeRuntime.name:
        raise NotAvailableError(
            f"--runtime {name}: not available in this version",
            hint=f"use --runtime {HostServeRuntime.name}",
        )
    return HostServeRuntime(
        cache=ctx.cache,
        fetch=locked_wheels(ctx, lock),
        environ=ctx.environ,
        reporter=ctx.reporter,
        output=output,
        known=lambda: trained.venv if isinstance(trained, HostRuntime) else None,
    )


def locked_wheels(ctx: Context, lock: Lock) -> FetchWheels:
    """The wheels of `lock`, from the cache or wherever pip finds them."""

    def fetch(packages: Sequence[PythonPackage]) -> Mapping[str, Path]:
        from mllock.lock.python import fetch_wheels
        from mllock.lock.target import target_of

        return fetch_wheels(
            packages,
            ctx.cache,
            target=target_of(lock),
            environ=ctx.environ,
            reporter=ctx.reporter,
        )

    return fetch


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
