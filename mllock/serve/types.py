"""The values of serving, and the Protocol that each runtime implements.

A `ServePlan` is complete before anything starts. `ServeRuntime.start` is a block: inside of it the
program runs, after it nothing of it is left, however the block ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mllock.core.tree import TreeManifest
from mllock.lock.types import Lock
from mllock.probes.address import Address
from mllock.spec.types import Serve, Spec

__all__ = ["ServePlan", "ServeRuntime", "Server"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServePlan:
    """What is to be served.

    `code` is the serving code, to be taken from `code_root`; `model` is the tree of the bytes at
    `model_root` (a file, if it is one) and is to be at `model_path`: both are verified while they
    are copied. `port` is that of this machine; None is any that is free. `variables` are runtime
    variables that the caller has set, by name and value.
    """

    spec: Spec
    lock: Lock
    code: TreeManifest
    code_root: Path
    model: TreeManifest
    model_root: Path
    model_path: str
    variables: Mapping[str, str]
    port: int | None

    @property
    def serve(self) -> Serve:
        assert self.spec.serve is not None
        return self.spec.serve


class Server(Protocol):
    """A program that was started."""

    @property
    def address(self) -> Address: ...

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""

    def listens(self) -> bool:
        """Whether it is this very program, and no other, that answers at `address`."""

    def elsewhere(self) -> str:
        """Where it listens instead, in words: for a message."""

    def tail(self) -> str:
        """The last lines of what it printed; empty for nothing."""

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""

    def stop(self) -> bool:
        """Tell it to stop, and wait for that. False if it had to be killed. May be called twice."""


class ServeRuntime(Protocol):
    """Raises ProgramError if the command cannot be run, SurroundingsError."""

    name: str

    def check(self, serve: Serve, port: int | None) -> None:
        """What can be seen before anything is trained or copied. Raises InputError,
        SurroundingsError."""

    def start(self, plan: ServePlan, work: Path, log: Path) -> AbstractContextManager[Server]:
        """Start the program in `work`, an empty folder; all that it prints goes to `log`."""
