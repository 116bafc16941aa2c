"""A program in the background: own session, its output to a log and to the terminal, live.

It is told to stop by SIGTERM to its whole group; what has not ended within the grace, or at
another interrupt, is killed. When the block ends nothing of the group runs any more
(`mllock.processes.started`), and the last of its output is in the log. Raises ProgramError if the
command cannot be run, SurroundingsError if the log cannot be written.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from mllock.processes import started
from mllock.train.process import DRAIN, NOT_RUNNABLE, cannot_run, kill_group, writable_log

__all__ = ["Background", "in_background"]


class Background:
    """A running program; `session` is its number."""

    def __init__(self, process: subprocess.Popen[bytes], grace: float) -> None:
        self._process = process
        self._grace = grace
        self._told = False

    @property
    def session(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def stop(self) -> bool:
        """Whether it ended by itself when it was told to. Who was interrupted while it waited for
        that does not wait again."""
        if self._process.poll() is not None:
            return True
        if self._told:
            kill_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return False
        self._told = True
        kill_group(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(self._grace)
        except subprocess.TimeoutExpired:
            kill_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return False
        return True


@contextlib.contextmanager
def in_background(
    command: Sequence[str],
    *,
    folder: Path,
    variables: Mapping[str, str],
    log: Path,
    output: Callable[[bytes], None] | None,
    grace: float,
) -> Iterator[Background]:
    """Run `command` in `folder` with exactly `variables` while the block runs."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(writable_log(log))
        into = stack.enter_context(_copied(file, output))
        try:
            process = stack.enter_context(
                started(
                    command,
                    cwd=folder,
                    env=dict(variables),
                    stdin=subprocess.DEVNULL,
                    stdout=into,
                    stderr=subprocess.STDOUT,
                )
            )
        except NOT_RUNNABLE as error:
            raise cannot_run(command, variables, error, key="serve.command") from error
        background = Background(process, grace)
        stack.callback(background.stop)
        yield background


@contextlib.contextmanager
def _copied(file: BinaryIO, output: Callable[[bytes], None] | None) -> Iterator[int]:
    """A descriptor to write to; what is written is in `file`, all of it, when the block ends."""
    with contextlib.ExitStack() as stack:
        ends = [*os.pipe2(os.O_CLOEXEC), *os.pipe2(os.O_CLOEXEC)]
        read, write, wake_read, wake_write = ends
        for end in (read, wake_read):
            stack.callback(os.close, end)
        thread = threading.Thread(
            target=_copy, args=(read, wake_read, file, output), name="mllock-log", daemon=True
        )
        thread.start()
        try:
            yield write
        finally:
            os.close(write)
            # From here on, what still comes is from a process that left its group.
            os.close(wake_write)
            thread.join()


def _copy(read: int, wake: int, file: BinaryIO, output: Callable[[bytes], None] | None) -> None:
    """Copy until the pipe has no writers, or for DRAIN seconds after `wake` was closed."""
    until: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(read, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while until is None or time.monotonic() < until:
            wait = None if until is None else max(0.0, until - time.monotonic())
            ready = {key.fd for key, _ in selector.select(wait)}
            if wake in ready:
                selector.unregister(wake)
                until = time.monotonic() + DRAIN
            if read in ready:
                data = os.read(read, 65536)
                if not data:
                    return
                # A full disk must not stop the program: it is noticed where it matters.
                with contextlib.suppress(OSError):
                    file.write(data)
                if output is not None:
                    output(data)
