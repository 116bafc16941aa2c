"""The runtime "docker": the program in a container of the train image, and nothing else in it.

Order: what a killed mllock left is removed; volumes and container are made, never started before
`/app` is read back and is the declared code; the program runs; then `/app` is read again, code is
held against its manifest, the outputs are brought to `work`. Container and volumes are removed
whatever happens, also at a second Ctrl-C. The image is the caller's, who has looked that the engine
has exactly its layers. What this cannot give: an engine that lies is believed, as a kernel is.
Implements `mllock.train.types.Runtime`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from mllock.core.digest import Digest, from_hex
from mllock.core.ports import Reporter
from mllock.data.touched import look
from mllock.engine.ports import Engine
from mllock.engine.types import ContainerPlan, Mount, State
from mllock.errors import EngineError, ProgramError, VoidRunError
from mllock.processes import held_interrupts
from mllock.store import atomic
from mllock.store.cache import Cache
from mllock.train.container import (
    APP,
    DATA,
    Place,
    container_plan,
    labels_of,
    memory_bytes,
    refuse_other_gpus,
    user_of,
    variables_of,
)
from mllock.train.facts import engine_facts
from mllock.train.fetched import changed_code, fetch
from mllock.train.follow import Followed, follow
from mllock.train.gpus import NO_GPUS, Granted, gpu_facts
from mllock.train.host import now
from mllock.train.leftovers import Claim, remove_leftovers, remove_run
from mllock.train.outputs import MAX_METRICS
from mllock.train.placing import app_archive, binds, data_archive, is_seen
from mllock.train.process import GRACE
from mllock.train.types import Outcome, RunPlan

__all__ = ["DockerRuntime"]

# What the engine's init says, and its exit codes, if there is no such command (tini 0.19).
_NO_COMMAND = b"[FATAL tini"
_NO_COMMAND_CODES = (126, 127)


class DockerRuntime:
    """`image` is the train image's id in `engine`; `state` the project's `.mllock`; `user` the
    caller's numbers; `output` gets what the program prints, as it comes."""

    name = "docker"

    def __init__(
        self,
        *,
        engine: Engine,
        image: Digest,
        cache: Cache,
        state: Path,
        user: tuple[int, int],
        reporter: Reporter,
        output: Callable[[bytes], None] | None = None,
        grace: float = GRACE,
        gpus: Granted = NO_GPUS,
    ) -> None:
        self.engine = engine
        self._image = image
        self._cache = cache
        self._state = state
        self._user = user
        self._reporter = reporter
        self._output = output
        self._grace = grace
        self._gpus = gpus

    def run(self, plan: RunPlan, work: Path, log: Path) -> Outcome:
        """Raises VoidRunError if the code is not the same afterwards, ProgramError if outputs
        cannot be taken, EngineError."""
        memory_bytes(plan, self.engine.info)
        remove_leftovers(self.engine, self._state, self._reporter)
        with Claim(self._state, plan.run_id) as claim:
            labels = labels_of(plan.run_id, claim.owner)
            try:
                container = self._create(plan, work.parent / "data", labels)
                self._put(plan, container)
                looks = {
                    name: look(plan.project, name, source)
                    for name, source in plan.spec.data.items()
                }
                outcome = replace(self._run(plan, container, work, log), looks=looks)
            except BaseException:
                # What ended the run is what is to be said. The next one removes what is left.
                with contextlib.suppress(EngineError):
                    self._remove(plan)
                raise
            self._remove(plan)
            return outcome

    def _remove(self, plan: RunPlan) -> None:
        # Ctrl-C, and a second one, do not stop this.
        with held_interrupts():
            remove_run(self.engine, plan.run_id)

    def _create(self, plan: RunPlan, staged: Path, labels: dict[str, str]) -> str:
        """A container with the data in it, by binds where the engine sees this machine's files."""
        info = self.engine.info
        if not info.remote and not info.relabels:
            mounts = binds(plan, staged)
            try:
                container = self._new(plan, mounts, labels)
                if is_seen(self.engine, container, mounts):
                    return container
            except EngineError as error:
                self._reporter.detail(f"binds do not work: {error.message}")
            self._remove(plan)
        return self._new(plan, self._fill(plan, labels), labels)

    def _new(self, plan: RunPlan, data: tuple[Mount, ...], labels: dict[str, str]) -> str:
        # Held: what the engine has made is known by its labels when the interrupt is handled.
        with held_interrupts():
            place = Place(app=self.engine.create_volume(labels), data=data)
            return self.engine.create(
                container_plan(
                    plan, self._image, place, self.engine.info, self._user, labels, self._gpus
                )
            )

    def _fill(self, plan: RunPlan, labels: dict[str, str]) -> tuple[Mount, ...]:
        """A volume with the data: written through a container that is never started."""
        if not plan.data:
            return ()
        size = sum(manifest.size for manifest in plan.data.values())
        self._reporter.step(f"sending the data to the engine: {size} bytes")
        with held_interrupts():
            volume = self.engine.create_volume(labels)
            filler = self.engine.create(
                ContainerPlan(
                    image=self._image,
                    mounts=(Mount(kind="volume", source=volume, target=DATA, read_only=False),),
                    labels=labels,
                )
            )
        user = user_of(self.engine.info, self._user)
        self.engine.put_archive(filler, DATA, data_archive(plan, user))
        self.engine.remove(filler)
        return (Mount(kind="volume", source=volume, target=DATA),)

    def _put(self, plan: RunPlan, container: str) -> None:
        """Params and links into `/app`, and a look that the rest of it is the code of the plan."""
        made = self.engine.container(container)
        if made is None or made.image != self._image:
            raise EngineError(
                "the container was made of another image",
                expected=self._image,
                found="nothing" if made is None else made.image,
            )
        refuse_other_gpus(made, self._gpus)
        changed = changed_code(self.engine, container, plan.code.manifest)
        if changed:
            raise VoidRunError(
                "the code changed while the run was prepared", file=changed[0], hint=plan.again
            )
        self.engine.put_archive(container, APP, app_archive(plan))

    def _run(self, plan: RunPlan, container: str, work: Path, log: Path) -> Outcome:
        self._reporter.step("running: " + " ".join(plan.command))
        started = now()
        with _writable(log) as file:
            followed = follow(self.engine, container, file, self._output, self._grace)
        finished = now()
        _refuse_no_command(plan, followed.state, log)
        refused = None
        if followed.state.exit_code == 0 and not followed.interrupted:
            self._unchanged(plan, container)
            refused = self._take(plan, container, work)
        return self._outcome(plan, followed, started, finished, refused)

    def _unchanged(self, plan: RunPlan, container: str) -> None:
        changed = changed_code(self.engine, container, plan.code.manifest)
        if changed:
            raise VoidRunError(
                "the code changed while the program ran",
                file=changed[0],
                expected="the file that the run was started with",
                hint=f"write outputs to other paths than code, and {plan.again}",
            )

    def _take(self, plan: RunPlan, container: str, work: Path) -> ProgramError | None:
        """Bring the outputs to `work`. Answers what is wrong with them."""
        try:
            for output in plan.outputs:
                limit = MAX_METRICS if output.kind == "metrics" else None
                fetch(self.engine, container, output.path, work, what=output.kind, limit=limit)
        except ProgramError as error:
            return error
        return None

    def _outcome(
        self,
        plan: RunPlan,
        followed: Followed,
        started: str,
        finished: str,
        refused: ProgramError | None,
    ) -> Outcome:
        code = followed.state.exit_code
        digests = [
            from_hex(wheel.hashes["sha256"])
            for package in plan.lock.python.packages
            for wheel in package.wheels
        ]
        found = (self._cache.get(digest) for digest in digests)
        return Outcome(
            # Engine API: 128 + N for a program that signal N ended.
            exit_code=128 - code if 128 < code <= 128 + 64 else code,
            started=started,
            finished=finished,
            facts=engine_facts(
                self.engine.info,
                plan.lock,
                variables_of(plan),
                [path for path in found if path is not None],
            )
            | gpu_facts(self._gpus),
            # The image's layers are made of verified wheels only.
            wheels_verified=len(digests),
            interrupted=followed.interrupted,
            out_of_memory=followed.state.out_of_memory,
            refused=refused,
        )


def _refuse_no_command(plan: RunPlan, state: State, log: Path) -> None:
    if state.exit_code not in _NO_COMMAND_CODES:
        return
    with open(log, "rb") as file:
        said = file.readline(4096)
    if not said.startswith(_NO_COMMAND):
        return
    reason = said.decode("utf-8", errors="replace").strip().rpartition(": ")[2].lower()
    raise ProgramError(
        f"cannot run {plan.command[0]}: {reason}",
        file="mlproject.toml",
        key=f"{plan.table}.command",
        expected="a program of the train image",
        hint="add the package that has it to [environment] dependencies or system-packages",
    )


@contextlib.contextmanager
def _writable(log: Path) -> Iterator[BinaryIO]:
    """The log; an OSError in the block is its own."""
    try:
        # Unbuffered: who looks at the log of a running program sees all of it.
        with open(log, "wb", buffering=0) as file:
            yield file
    except OSError as error:
        raise atomic.cannot_write(log, error) from error
