"""The runtime "docker" of serving: a container of the serving image, as it would be deployed.

Command, user and variables are the image's; only declared runtime variables that the caller has set
are added. The root is read-only, `/tmp` is memory, the port is published on this machine only
(127.0.0.1). So `check container:` finds nothing that was overridden. A container that is not
detached has the labels of a run that lives (`mllock.train.leftovers`), and is removed when the
block ends. Implements `mllock.serve.types.ServeRuntime`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from mllock.core.digest import Digest
from mllock.core.ports import Reporter
from mllock.engine.ports import Engine
from mllock.engine.types import LABEL, ContainerPlan
from mllock.errors import EngineError, MllockError
from mllock.probes.address import Address
from mllock.processes import held_interrupts
from mllock.serve.listening import refuse_used_port
from mllock.serve.types import ServePlan, Server
from mllock.spec.command import with_port
from mllock.spec.types import Serve
from mllock.train.container import KIND_LABEL, OWNER_LABEL, TMP
from mllock.train.leftovers import Claim, remove_leftovers
from mllock.train.logs import tail
from mllock.train.process import GRACE, writable_log

__all__ = ["DockerServeRuntime", "DockerServer"]

_TICK = 0.2
_LOOPBACK = "127.0.0.1"


class DockerServeRuntime:
    """`image_of` answers the id of the image that a plan is served from; `session` is a new run ID,
    by which the container is known; `detached` leaves it running when the block ends well."""

    name = "docker"

    def __init__(
        self,
        *,
        engine: Engine,
        image_of: Callable[[ServePlan], contextlib.AbstractContextManager[Digest]],
        state: Path,
        session: str,
        reporter: Reporter,
        output: Callable[[bytes], None] | None = None,
        grace: float = GRACE,
        detached: bool = False,
    ) -> None:
        self._engine = engine
        self._image_of = image_of
        self._state = state
        self._session = session
        self._reporter = reporter
        self._output = output
        self._grace = grace
        self._detached = detached

    def check(self, serve: Serve, port: int | None) -> None:
        """Raises SurroundingsError."""
        del serve
        info = self._engine.info
        if info.remote and not _is_here(info.endpoint):
            raise EngineError(
                f"the engine at {info.endpoint} is on another machine: its ports are not here",
                hint='run the image there: see "mllock build serve --output docker"',
            )
        if port is not None:
            refuse_used_port(port, "stop what uses it, or choose another with --port")

    @contextlib.contextmanager
    def start(self, plan: ServePlan, work: Path, log: Path) -> Iterator[Server]:
        del work  # all that it needs is in the image
        remove_leftovers(self._engine, self._state, self._reporter)
        with contextlib.ExitStack() as stack:
            image = stack.enter_context(self._image_of(plan))
            labels = {LABEL: self._session, KIND_LABEL: "serve"}
            if not self._detached:
                claim = stack.enter_context(Claim(self._state, self._session))
                labels[OWNER_LABEL] = claim.owner
            name = f"mllock-serve-{self._session}"
            file = stack.enter_context(writable_log(log))
            try:
                with held_interrupts():
                    container = self._engine.create(self._plan(plan, image, name, labels))
                command = with_port(plan.serve.command, plan.serve.port)
                self._reporter.step("serving: " + " ".join(command))
                self._engine.start(container)
                server = DockerServer(
                    self._engine, container, name, plan.serve.port, log, self._grace
                )
                with self._streamed(container, file):
                    try:
                        yield server
                    except BaseException:
                        server.end()
                        raise
                    if not self._detached:
                        server.stop()
            except BaseException:
                with held_interrupts(), contextlib.suppress(EngineError):
                    self._engine.remove(name)
                raise
            if not self._detached or server.told:
                with held_interrupts():
                    self._engine.remove(name)

    def _plan(
        self, plan: ServePlan, image: Digest, name: str, labels: dict[str, str]
    ) -> ContainerPlan:
        return ContainerPlan(
            image=image,
            name=name,
            variables=plan.variables,
            tmpfs={TMP: ""},
            read_only_root=True,
            network=True,
            ports={plan.serve.port: (_LOOPBACK, plan.port or 0)},
            labels=labels,
        )

    @contextlib.contextmanager
    def _streamed(self, container: str, file: BinaryIO) -> Iterator[None]:
        """What the program prints goes to the log while the block runs, and the rest at its end."""
        if self._detached and self._output is None:
            yield
            return
        with self._engine.output(container) as chunks:
            thread = threading.Thread(
                target=_copy, args=(chunks, file, self._output), name="mllock-log", daemon=True
            )
            thread.start()
            try:
                yield
            finally:
                if not self._detached:
                    thread.join(self._grace)
        thread.join(self._grace)


class DockerServer:
    """Implements `mllock.serve.types.Server`. `name` is the container's."""

    def __init__(
        self, engine: Engine, container: str, name: str, port: int, log: Path, grace: float
    ) -> None:
        self._engine = engine
        self._container = container
        self._port = port
        self._log = log
        self._grace = grace
        self.told = False
        self.name = name
        self.address = Address(scheme="http", host=_LOOPBACK, port=self._published())

    def _published(self) -> int:
        """The port of this machine. A program that ended at once has none any more."""
        found = self._engine.container(self._container)
        return 0 if found is None else found.ports.get(self._port, ("", 0))[1]

    def exit_code(self) -> int | None:
        found = self._engine.container(self._container)
        if found is None:
            raise EngineError("the container is gone", found=self.name, hint="serve again")
        if found.state.status in ("created", "running", "paused", "restarting"):
            return None
        code = found.state.exit_code
        # Engine API: 128 + N for a program that signal N ended.
        return 128 - code if 128 < code <= 128 + 64 else code

    def listens(self) -> bool:
        """Whether what the engine passes on is taken. The engine itself takes every connection to a
        port that it publishes, and drops at once what it cannot pass on."""
        if self.exit_code() is not None:
            return False
        try:
            with socket.create_connection((_LOOPBACK, self.address.port), timeout=_TICK) as probe:
                probe.settimeout(_TICK)
                return probe.recv(1) != b""
        except TimeoutError:
            return True  # it waits for a request
        except OSError:
            return False

    def elsewhere(self) -> str:
        return f"nothing in the container listens on port {self._port} of 0.0.0.0"

    def tail(self) -> str:
        return tail(self._log)

    def wait(self) -> int:
        while (code := self.exit_code()) is None:
            time.sleep(_TICK)
        return code

    def stop(self) -> bool:
        if self.exit_code() is not None:
            return True
        if self.told:
            self.end()
            return False
        self.told = True
        self._engine.kill(self._container, signal.SIGTERM)
        until = time.monotonic() + self._grace
        while self.exit_code() is None:
            if time.monotonic() > until:
                self.end()
                return False
            time.sleep(_TICK / 4)
        return True

    def end(self) -> None:
        """Kill it, if it runs and the engine is there."""
        with contextlib.suppress(EngineError):
            self._engine.kill(self._container, signal.SIGKILL)


def _copy(chunks: Iterator[bytes], file: BinaryIO, output: Callable[[bytes], None] | None) -> None:
    # An engine that goes away, or a full disk, is noticed where it matters; and http.client has
    # several ways to break when a stream is closed while it is read.
    with contextlib.suppress(MllockError, OSError, ValueError, AttributeError):
        for chunk in chunks:
            file.write(chunk)
            if output is not None:
                output(chunk)


def _is_here(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
