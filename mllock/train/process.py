"""Running one program: own session, clean environment, output to a log and to the terminal, live.

Ctrl-C, SIGTERM and the end of the terminal (SIGHUP, unless it is ignored, as nohup does) go to the
program's whole group; what does not end within GRACE seconds, or at a second Ctrl-C, is killed.
Whatever the program leaves running when it ends is killed as well, so that nothing of it writes
while its outputs are hashed. Raises ProgramError if the command does not exist, SurroundingsError
if the log cannot be written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from mllock.errors import ProgramError
from mllock.store import atomic

__all__ = [
    "DRAIN",
    "GRACE",
    "NOT_RUNNABLE",
    "Ended",
    "cannot_run",
    "kill_group",
    "run_program",
    "writable_log",
]

GRACE = 10.0
# How long output may still come when the program has ended: from a process that left its group.
DRAIN = 2.0
# What `Popen` raises for a command that is not there, is no program, or is too long.
NOT_RUNNABLE = (OSError,)
_HINTS = {
    errno.ENOEXEC: "begin a script with a line that names its program, as in #!/usr/bin/env python",
    errno.EACCES: "make the file executable, or write the program that runs it before it",
    errno.E2BIG: "put long values into a file, such as {params_file}",
    errno.ENOMEM: "free some memory, then run the same command again",
    errno.EAGAIN: "look for a limit of processes, then run the same command again",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """`exit_code` as `subprocess` has it: negative for a signal."""

    exit_code: int
    interrupted: bool


def run_program(
    command: Sequence[str],
    *,
    folder: Path,
    variables: Mapping[str, str],
    log: Path,
    output: Callable[[bytes], None] | None,
    grace: float = GRACE,
    key: str = "train.command",
) -> Ended:
    """Run `command`, which stands at `key`, in `folder` with exactly `variables`. Its input is
    empty."""
    with writable_log(log) as file, _woken() as (wake_read, wake_write):
        interrupts = _Interrupts(grace, wake_write)
        with interrupts.caught():
            process = _start(command, folder, variables, key)
            interrupts.attach(process.pid)
            try:
                _Pump(process, file, log, output, interrupts, (wake_read, wake_write)).run()
            finally:
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
        return Ended(exit_code=process.returncode, interrupted=interrupts.seen > 0)


def _start(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], key: str
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except NOT_RUNNABLE as error:
        raise cannot_run(command, variables, error, key=key) from error


def cannot_run(
    command: Sequence[str], variables: Mapping[str, str], error: OSError, *, key: str
) -> ProgramError:
    """What to say when the system does not start `command`, which stands at `key`."""
    return ProgramError(
        f"cannot run {command[0]}: {(error.strerror or str(error)).lower()}",
        file="mlproject.toml",
        key=key,
        expected=f"a program of the locked environment or in {variables.get('PATH', '')}",
        hint=_HINTS.get(
            error.errno or 0, "add the package that has it to [environment] dependencies"
        ),
    )


class _Interrupts:
    """Counts the user's interrupts and passes them on."""

    def __init__(self, grace: float, wake: int) -> None:
        self.seen = 0
        self.deadline: float | None = None
        self._group: int | None = None
        self._grace = grace
        self._wake = wake

    def attach(self, group: int) -> None:
        """The group to pass interrupts to; one that came before it was known goes there now."""
        self._group = group
        if self.seen:
            self._pass_on(signal.SIGINT)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.seen += 1
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        if self._group is None:
            return
        if self.deadline is None:
            self.deadline = time.monotonic() + self._grace
            kill_group(self._group, number)
        else:
            kill_group(self._group, signal.SIGKILL)
        os.write(self._wake, b"i")

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signals; outside of the main thread Python cannot, and need not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Pump:
    """Copies output until the program has ended and its output is read."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        file: BinaryIO,
        log: Path,
        output: Callable[[bytes], None] | None,
        interrupts: _Interrupts,
        wake: tuple[int, int],
    ) -> None:
        self._process = process
        self._file = file
        self._log = log
        self._output = output
        self._interrupts = interrupts
        self._wake_read, self._wake_write = wake
        self._ended: float | None = None

    def run(self) -> None:
        waiter = threading.Thread(target=self._wait, daemon=True)
        waiter.start()
        try:
            self._pump()
        finally:
            # Whatever happened, it ends now, and the waiter sees it before it is reaped.
            kill_group(self._process.pid, signal.SIGKILL)
            waiter.join()

    def _pump(self) -> None:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            pipe = self._process.stdout.fileno()
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            is_open = True
            while is_open or self._ended is None:
                ready = {key.fd for key, _ in selector.select(self._timeout())}
                if self._wake_read in ready:
                    self._woken(os.read(self._wake_read, 64))
                if pipe in ready:
                    data = os.read(pipe, 65536)
                    if not data:
                        selector.unregister(pipe)
                        is_open = False
                    self._copy(data)
                self._enforce()
                if self._ended is not None and time.monotonic() > self._ended + DRAIN:
                    break

    def _wait(self) -> None:
        # WNOWAIT leaves it to be reaped later, so that its number stays its own.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        os.write(self._wake_write, b"e")

    def _woken(self, why: bytes) -> None:
        if b"e" in why and self._ended is None:
            self._ended = time.monotonic()
            kill_group(self._process.pid, signal.SIGKILL)

    def _timeout(self) -> float | None:
        if self._ended is not None:
            return DRAIN
        if self._interrupts.deadline is not None:
            return max(0.0, self._interrupts.deadline - time.monotonic())
        return None

    def _enforce(self) -> None:
        deadline = self._interrupts.deadline
        if deadline is not None and time.monotonic() >= deadline:
            self._interrupts.deadline = None
            kill_group(self._process.pid, signal.SIGKILL)

    def _copy(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise atomic.cannot_write(self._log, error) from error
        if self._output is not None and data:
            self._output(data)


@contextlib.contextmanager
def writable_log(log: Path) -> Iterator[BinaryIO]:
    try:
        # Unbuffered: who looks at the log of a running program sees all of it.
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise atomic.cannot_write(log, error) from error
    with open(descriptor, "wb", buffering=0) as file:
        yield file


@contextlib.contextmanager
def _woken() -> Iterator[tuple[int, int]]:
    """A pipe that signal handlers and threads write to."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


def kill_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
