"""The runtime "host" of serving: the locked packages with this machine's Python, no container.

Order: port (free, or refused), environment (verified), code and model as fresh copies (hashed while
copied), the program with an environment made from nothing. What it writes stays in its folder. What
this cannot give is what training on the host cannot: see `mllock.train.host`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mllock.core.ports import Reporter
from mllock.errors import InputError, MllockError, RunError
from mllock.lock.overlaps import overlaps_of
from mllock.probes.address import Address
from mllock.serve.background import Background, in_background
from mllock.serve.listening import free_port, listens_alone, ports_of, refuse_used_port
from mllock.serve.types import ServePlan, Server
from mllock.spec.command import PORT, takes_port, with_port
from mllock.spec.types import Serve
from mllock.store import atomic
from mllock.store.cache import Cache
from mllock.train.host import host_variables, refuse_other_python
from mllock.train.logs import tail
from mllock.train.process import GRACE
from mllock.train.python import find_python
from mllock.train.trees import copy_tree
from mllock.train.venv import FetchWheels, LockedVenv, locked_venv, verify_venv

__all__ = ["HostServeRuntime", "choose_port"]


def choose_port(serve: Serve, wanted: int | None) -> int:
    """The port to serve on: `wanted`, if the program can be told; None is a free one, or the
    declared one of a program that cannot. Raises InputError, SurroundingsError."""
    if takes_port(serve.command):
        if wanted is None:
            return free_port()
    elif wanted is None or wanted == serve.port:
        wanted = serve.port
    else:
        raise InputError(
            f"--port {wanted}: the port stands in the command, and cannot be another on the host",
            file="mlproject.toml",
            key="serve.command",
            expected=f"{PORT} where the command says the port",
            hint=f"write {PORT} there, or leave --port out to serve on {serve.port}",
        )
    fixed = "stop what uses it"
    hint = f"{fixed}, or choose another with --port"
    if not takes_port(serve.command):
        hint = f"{fixed}, or write {PORT} in serve.command, so that it can be another"
    refuse_used_port(wanted, hint)
    return wanted


class HostServeRuntime:
    """`output` gets what the program prints, as it comes; None is silence. `known` answers an
    environment of the same lock that was verified just now, if there is one. Implements
    `mllock.serve.types.ServeRuntime`."""

    name = "host"

    def __init__(
        self,
        *,
        cache: Cache,
        fetch: FetchWheels,
        environ: Mapping[str, str],
        reporter: Reporter,
        output: Callable[[bytes], None] | None = None,
        grace: float = GRACE,
        known: Callable[[], LockedVenv | None] = lambda: None,
    ) -> None:
        self._cache = cache
        self._fetch = fetch
        self._environ = environ
        self._reporter = reporter
        self._output = output
        self._grace = grace
        self._known = known

    def check(self, serve: Serve, port: int | None) -> None:
        choose_port(serve, port)

    @contextlib.contextmanager
    def start(self, plan: ServePlan, work: Path, log: Path) -> Iterator[Server]:
        port = choose_port(plan.serve, plan.port)
        venv = self._environment(plan)
        copy_tree(plan.code, plan.code_root, work, _code_changed)
        copy_tree(plan.model, plan.model_root, work / plan.model_path, _other_model)
        command = with_port(plan.serve.command, port)
        refuse_other_python(command, venv, key="serve.command")
        with atomic.staging(work.parent) as home:
            variables = host_variables(
                {**plan.variables, **plan.spec.environment.variables}, venv, home
            )
            self._reporter.step("serving: " + " ".join(command))
            with in_background(
                command,
                folder=work,
                variables=variables,
                log=log,
                output=self._output,
                grace=self._grace,
            ) as program:
                yield _HostServer(program, port, log)

    def _environment(self, plan: ServePlan) -> LockedVenv:
        known = self._known()
        if known is not None and verify_venv(known):
            return known
        return locked_venv(
            self._cache.folder("venvs"),
            plan.lock.python.packages,
            find_python(plan.spec.environment.python, self._environ),
            self._fetch,
            self._reporter,
            overlaps=overlaps_of(plan.lock),
        )


class _HostServer:
    """Implements `mllock.serve.types.Server`."""

    def __init__(self, program: Background, port: int, log: Path) -> None:
        self._program = program
        self._log = log
        self.address = Address(scheme="http", host="127.0.0.1", port=port)

    def exit_code(self) -> int | None:
        return self._program.exit_code()

    def listens(self) -> bool:
        return listens_alone(self.address.port, self._program.session)

    def elsewhere(self) -> str:
        ports = ports_of(self._program.session)
        if not ports:
            return "it listens on no port"
        return f"it listens on {'port' if len(ports) == 1 else 'ports'} " + ", ".join(
            map(str, ports)
        )

    def tail(self) -> str:
        return tail(self._log)

    def wait(self) -> int:
        return self._program.wait()

    def stop(self) -> bool:
        return self._program.stop()


def _code_changed(path: str) -> MllockError:
    return InputError("the code changed while it was copied", file=path, hint="serve again")


def _other_model(path: str) -> MllockError:
    return RunError(
        "not the file that the run's record names",
        file=f"model/{path}" if path else "model",
        hint='see what differs with "mllock check", or serve another run',
    )
