"""`mllock serve`: a run's model, served by the declared program until it is told to stop.

Order: spec, lock (a stale one is refused), the run (of this lock; its signature not refuted), the
port, environment, code and model (verified while they are copied), the program, its health. Nothing
of it is left when the block ends. Raises the errors of its rooms, and ProgramError if the program
ends, or is not ready in time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mllock.attest.policy import load_policy
from mllock.errors import InputError, RunError
from mllock.serve.ready import PATIENCE, wait_ready
from mllock.serve.types import ServePlan, Server
from mllock.spec.reader import load_spec
from mllock.store import atomic
from mllock.train.runs import RunFolder
from mllock.workflows.context import Context
from mllock.workflows.runs import run_to_serve
from mllock.workflows.runtimes import RuntimeName, chosen, part_for
from mllock.workflows.serving import (
    code_patterns,
    docker_serve_runtime,
    host_serve_runtime,
    runtime_variables,
    serve_of,
)

__all__ = ["Serving", "serving"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """A server that is ready, and the run whose model it has."""

    server: Server
    run: RunFolder
    runtime: str
    detached: bool = False


@contextlib.contextmanager
def serving(
    ctx: Context,
    *,
    run: str | None = None,
    port: int | None = None,
    runtime: RuntimeName | None = None,
    detached: bool = False,
    output: Callable[[bytes], None] | None = None,
    patience: float = PATIENCE,
) -> Iterator[Serving]:
    """Serve while the block runs, which begins when the program is ready.

    `port` is that of this machine; default: `[serve] port`. `runtime` None takes the engine where
    one answers; there a `detached` program goes on when the block ends. `output` gets what the
    program prints.
    """
    from mllock.data.code import select_code
    from mllock.workflows.lock import current_lock

    loaded = load_spec(ctx.project / "mlproject.toml")
    serve = serve_of(loaded)
    lock, _ = current_lock(ctx, loaded, data=False)
    folder = run_to_serve(ctx, lock, run)
    record = folder.record()
    _refuse_bad_signature(ctx, folder)
    wanted = serve.port if port is None else port
    patterns, key = code_patterns(loaded)
    with chosen(ctx, loaded, runtime, "serve") as engine, contextlib.ExitStack() as stack:
        lock = part_for(lock, engine)
        place = (
            host_serve_runtime(ctx, lock, output)
            if engine is None
            else docker_serve_runtime(
                ctx, loaded, lock, engine, output, run=folder, detached=detached
            )
        )
        if detached and engine is None:
            raise InputError(
                "--detach: a program on the host ends with the command that started it",
                hint='leave --detach out, or put "&", nohup or a service of systemd around it',
            )
        place.check(serve, wanted)
        plan = ServePlan(
            spec=loaded.spec,
            lock=lock,
            code=select_code(ctx.project, loaded.spec, patterns, key=key).manifest,
            code_root=ctx.project,
            model=folder.model_manifest(),
            model_root=folder.model_path(),
            model_path=record.model_path,
            variables=runtime_variables(ctx, serve),
            port=wanted,
        )
        ctx.reporter.note(f"model of run {folder.id}")
        staged = stack.enter_context(atomic.staging(ctx.state / "tmp"))
        work = staged / "work"
        work.mkdir()
        server = stack.enter_context(place.start(plan, work, staged / "log.txt"))
        wait_ready(server, serve.health, patience)
        yield Serving(server=server, run=folder, runtime=place.name, detached=detached)


def _refuse_bad_signature(ctx: Context, run: RunFolder) -> None:
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    trust = policy.decide(run.record().project, run.bundle())
    if trust.refuted:
        raise RunError(
            f"the run's record is not to be trusted: {trust.reason}",
            file=run.id,
            found=trust.fingerprint,
            hint=f'see "mllock show {run.id}"',
        )
