"""Where a program runs: which runtime is taken, and what it needs before it can.

An engine is taken where one answers and can run the image; what was taken is always said. The
image of a run is built from the lock and loaded; it is what `build train` makes, and is called
NAME:train once a program ran in it. An interrupted run leaves no image that was not there before.
Raises EngineError, and what building raises.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, Protocol

from mllock.core.digest import Digest
from mllock.core.platform import host_platform
from mllock.engine.ports import Engine
from mllock.engine.types import EngineInfo
from mllock.errors import EngineError, SurroundingsError
from mllock.image.types import Image, ImageKind
from mllock.lock.platforms import narrowed
from mllock.lock.types import Lock
from mllock.processes import held_interrupts
from mllock.spec.loaded import LoadedSpec
from mllock.train.gpus import NO_GPUS, Granted
from mllock.train.types import Runtime
from mllock.workflows.context import Context
from mllock.workflows.engine import engine_if_any, engine_of
from mllock.workflows.environment import locked_wheels
from mllock.workflows.looked import look_into_wheels

__all__ = [
    "HasEnvironment",
    "RuntimeName",
    "chosen",
    "docker_runtime",
    "host_runtime",
    "part_for",
]

RuntimeName = Literal["host", "docker"]
Output = Callable[[bytes], None] | None


class HasEnvironment(Protocol):
    """The part of `mllock.workflows.environment.BuiltEnvironment` that a plan needs."""

    @property
    def document(self) -> Mapping[str, object]: ...

    @property
    def digest(self) -> Digest: ...


@contextlib.contextmanager
def chosen(
    ctx: Context, loaded: LoadedSpec, runtime: RuntimeName | None, image: ImageKind
) -> Iterator[Engine | None]:
    """The engine to run `image` in, or None for this machine. Says which."""
    if runtime == "host":
        _refuse_host(loaded)
        _say_host(ctx, loaded, image)
        yield None
        return
    with engine_of(ctx) if runtime == "docker" else engine_if_any(ctx) as engine:
        problem = None if engine is None else _cannot_run(engine.info, loaded)
        if problem is not None and runtime == "docker":
            raise problem
        if engine is None or problem is not None:
            if problem is not None:
                ctx.reporter.note(f"not in the engine: {problem.message}")
            _refuse_host(loaded)
            _say_host(ctx, loaded, image)
            yield None
            return
        info = engine.info
        where = f" at {info.endpoint}" if info.remote else ""
        ctx.reporter.note(f"runtime: docker {info.version}{where} (in the {image} image)")
        yield engine


def _say_host(ctx: Context, loaded: LoadedSpec, image: ImageKind) -> None:
    ctx.reporter.note("runtime: host (this machine's Python, locked packages; not the image)")
    train = loaded.spec.train if image == "train" else None
    if train is not None and train.memory is not None:
        ctx.reporter.note(
            f"memory = {train.memory} is no limit here: only --runtime docker has one"
        )


def _cannot_run(info: EngineInfo, loaded: LoadedSpec) -> EngineError | None:
    platforms = loaded.spec.environment.platforms
    if info.platform in platforms:
        return None
    return EngineError(
        f"the engine at {info.endpoint} is for other images",
        expected=" or ".join(platforms),
        found=info.platform,
        hint="name another engine with DOCKER_HOST, or use --runtime host",
    )


def _refuse_host(loaded: LoadedSpec) -> None:
    platforms = loaded.spec.environment.platforms
    if host_platform() not in platforms:
        raise SurroundingsError(
            "this machine is of no platform that the project is for",
            expected=" or ".join(platforms),
            found=host_platform(),
            hint="name an engine that is (DOCKER_HOST), or add the platform of this machine to "
            "[environment] platforms",
        )


def part_for(lock: Lock, engine: Engine | None) -> Lock:
    """What of `lock` is for the machine where a program runs: the engine's, or this one."""
    return narrowed(lock, host_platform() if engine is None else engine.info.platform)


def host_runtime(ctx: Context, lock: Lock, output: Output, gpus: Granted = NO_GPUS) -> Runtime:
    from mllock.train.host import HostRuntime
    from mllock.train.libc import refuse_newer_glibc

    refuse_newer_glibc(lock.python.packages)
    look_into_wheels(ctx, lock)
    return HostRuntime(
        cache=ctx.cache,
        fetch=locked_wheels(ctx, lock),
        environ=ctx.environ,
        reporter=ctx.reporter,
        output=output,
        gpus=gpus,
    )


@contextlib.contextmanager
def docker_runtime(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    environment: HasEnvironment,
    engine: Engine,
    output: Output,
    gpus: Granted = NO_GPUS,
) -> Iterator[Runtime]:
    """The runtime "docker", its image in the engine."""
    from mllock.train.docker import DockerRuntime
    from mllock.workflows.build import train_image
    from mllock.workflows.environment import BuiltEnvironment

    assert isinstance(environment, BuiltEnvironment)
    image = train_image(ctx, loaded, lock, environment)
    with loaded_image(ctx, engine, image, f"{loaded.spec.project.name}:train") as name:
        yield DockerRuntime(
            engine=engine,
            image=name,
            cache=ctx.cache,
            state=ctx.state,
            user=(os.getuid(), os.getgid()),
            reporter=ctx.reporter,
            output=output,
            gpus=gpus,
        )


@contextlib.contextmanager
def loaded_image(ctx: Context, engine: Engine, image: Image, tag: str | None) -> Iterator[Digest]:
    """The id of `image` in the engine, which is then called `tag`: unless the block is interrupted
    or the engine fails in it. Then, and without a tag, an image that was not there before is not
    there after."""
    from mllock.workflows.load import image_id, load_image

    was_there = engine.image(image_id(engine, image)) is not None
    keep = tag is not None
    try:
        yield load_image(ctx, engine, image, ()).id
    except (KeyboardInterrupt, EngineError):
        keep = False
        raise
    finally:
        with held_interrupts(), contextlib.suppress(EngineError):
            if keep and tag is not None:
                engine.tag(image_id(engine, image), tag)
            elif not was_there:
                engine.untag(image_id(engine, image))
