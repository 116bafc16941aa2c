"""Which GPUs a run gets: asked of this machine before anything is made or installed.

Programs on this machine, and in an engine on it, get those that the caller lets programs see, by
UUID. Of an engine elsewhere, or where this process sees no driver (the engine is in a virtual
machine, or mllock itself in a container), only the number is asked, and the record says no more. A
spec without GPUs asks nothing. Raises GpuError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mllock.spec.loaded import LoadedSpec
from mllock.train.gpus import NO_GPUS, Granted, NoDriverError, choose
from mllock.workflows.context import Context

if TYPE_CHECKING:  # an engine that nobody asks is not waited for
    from mllock.engine.ports import Engine

__all__ = ["granted_gpus"]


def granted_gpus(ctx: Context, loaded: LoadedSpec, engine: Engine | None) -> Granted:
    """What the program of [train] or [evaluate] gets, in `engine` or, if None, on this machine."""
    wanted = 0 if loaded.spec.train is None else loaded.spec.train.gpus
    if wanted == 0:
        return NO_GPUS
    if engine is not None and engine.info.remote:
        return _asked_for(ctx, wanted)
    from mllock.train.nvidia import NvidiaGpus

    try:
        machine = NvidiaGpus(ctx.environ).ask()
    except NoDriverError:
        if engine is None:
            raise
        return _asked_for(ctx, wanted)
    granted = choose(machine, ctx.environ, wanted)
    models = ", ".join(dict.fromkeys(gpu.model for gpu in granted.devices))
    driver = f"driver {machine.driver.version}, CUDA {machine.driver.cuda}"
    ctx.reporter.note(f"gpus: {wanted} ({models}; {driver})")
    return granted


def _asked_for(ctx: Context, wanted: int) -> Granted:
    ctx.reporter.note(f"gpus: {wanted} asked of the engine; which ones is not known here")
    return Granted(count=wanted)
