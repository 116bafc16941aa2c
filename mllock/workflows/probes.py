"""Recording probes: what `mllock train` does with a model between its training and its record.

Before the training: the probes are read, the serving code is selected and copied, the port is
looked at. After it: the serving program is started with that code and the model, asked, and
stopped. Raises ProgramError where the program or an answer is not as it must be.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mllock.core.ports import Reporter
from mllock.core.tree import TreeManifest
from mllock.errors import ProgramError, SurroundingsError
from mllock.lock.types import Lock
from mllock.probes.ask import NoAnswerError, ask_probe
from mllock.probes.read import read_probes
from mllock.probes.recording import dump_recording, record_answers, restless
from mllock.probes.types import Probe, Recording
from mllock.serve.ready import PATIENCE, ended_early, wait_ready
from mllock.serve.types import ServePlan, Server, ServeRuntime
from mllock.spec.loaded import LoadedSpec
from mllock.spec.types import Serve
from mllock.train.trees import copy_tree
from mllock.train.types import Runtime
from mllock.workflows.context import Context
from mllock.workflows.serving import (
    code_patterns,
    docker_serve_runtime,
    host_serve_runtime,
    runtime_variables,
)

__all__ = ["LOG", "ProbePlan", "plan_probes"]

LOG = "probes.log"
_DYING = 1.0
_RESTLESS = (
    "hint: check will refute every deployment by this probe; "
    'name what varies in its "compare", as tolerance or ignore, and train again'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbePlan:
    """The probes of a run, and who will answer them. `file` is what messages call their file."""

    loaded: LoadedSpec
    lock: Lock
    probes: tuple[Probe, ...]
    file: str
    code: TreeManifest
    runtime: ServeRuntime
    reporter: Reporter
    variables: Mapping[str, str]

    def keep_code(self, project: Path, folder: Path) -> None:
        """Copy the serving code to `folder` now: who trains for hours may go on writing."""
        copy_tree(self.code, project, folder)

    def record(
        self, code_root: Path, model: TreeManifest, model_root: Path, work: Path, log: Path
    ) -> bytes:
        """Serve the model, ask, stop; the bytes of probes.json. `work` is an empty folder."""
        serve, train = self.loaded.spec.serve, self.loaded.spec.train
        assert serve is not None
        assert train is not None
        plan = ServePlan(
            spec=self.loaded.spec,
            lock=self.lock,
            code=self.code,
            code_root=code_root,
            model=model,
            model_root=model_root,
            model_path=train.model,
            variables=self.variables,
            port=None,
        )
        with self.runtime.start(plan, work, log) as server:
            wait_ready(server, serve.health, PATIENCE)
            return dump_recording(self._ask(server))

    def _ask(self, server: Server) -> Recording:
        ask = functools.partial(ask_probe, server.address)
        try:
            recording = record_answers(self.probes, ask, file=self.file, code=self.code.digest)
        except ProgramError as error:
            code = _ended(server) if isinstance(error.__cause__, NoAnswerError) else None
            if code is not None:
                raise ended_early(server, code, "while it answered the probes") from None
            raise
        if not server.listens():
            raise SurroundingsError(
                f"it was not the serving program alone that listened on port {server.address.port}",
                hint="the answers may be somebody else's, and are thrown away; train again",
            )
        for sentence in restless(recording, ask, file=self.file):
            self.reporter.warn(f"{sentence}\n{_RESTLESS}")
        return recording


def _ended(server: Server) -> int | None:
    """The exit code of a program that hung up, if that is how it ended; it may take a moment."""
    until = time.monotonic() + _DYING
    while server.exit_code() is None and time.monotonic() < until:
        time.sleep(0.02)
    return server.exit_code()


def plan_probes(ctx: Context, loaded: LoadedSpec, lock: Lock, runtime: Runtime) -> ProbePlan | None:
    """None if the spec declares none; `runtime` is what will train the model.

    Raises InputError, DataError, SurroundingsError.
    """
    from mllock.data.code import select_code
    from mllock.train.docker import DockerRuntime

    serve: Serve | None = loaded.spec.serve
    if serve is None or serve.probes is None:
        return None
    probes = read_probes(ctx.project / serve.probes, serve.probes)
    if isinstance(runtime, DockerRuntime):
        chosen = docker_serve_runtime(ctx, loaded, lock, runtime.engine, None)
    else:
        chosen = host_serve_runtime(ctx, lock, None, runtime)
    chosen.check(serve, None)
    patterns, key = code_patterns(loaded)
    return ProbePlan(
        loaded=loaded,
        lock=lock,
        probes=probes,
        file=serve.probes,
        code=select_code(ctx.project, loaded.spec, patterns, key=key).manifest,
        runtime=chosen,
        reporter=ctx.reporter,
        variables=runtime_variables(ctx, serve),
    )
