"""Child processes that never outlive the block that started them, whenever Ctrl-C comes.

`subprocess` alone leaves two gaps: an interrupt while `Popen` is still starting the child leaves it
running with nobody who knows its number, and `Popen.__exit__` waits for only a quarter of a second
after one. A child that lives on writes into folders that are being removed. Here an interrupt
that comes while a child starts or is ended is held until that is done, and the child's whole group
is gone, and reaped, when the block ends.

Programs of the user's run elsewhere (`mllock.train.process`): they get their signals passed on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["INTERRUPTS", "Done", "held_interrupts", "run", "run_together", "started"]

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# How long the members of a killed group are waited for, in seconds.
_DYING = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """How a process ended: `code` as `subprocess` has it, negative for a signal."""

    code: int
    output: bytes
    errors: bytes


@contextlib.contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own. `options` are those of `subprocess.Popen`.

    When the block ends, what is left of the group is killed, and the child is reaped. Leave the
    block after `communicate` or `wait` if the child is to finish. Raises what `Popen` raises.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with held_interrupts():
            # A session and not only a group: without a terminal, nothing can wait for one.
            process = subprocess.Popen(list(command), start_new_session=True, **options)
        yield process
    finally:
        if process is not None:
            with held_interrupts():
                _end(process)


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    merged: bool = False,
    timeout: float | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Done:
    """Run a child to its end, without input; `merged` puts its errors into its output, in order.
    `meanwhile` is called once it has been started.

    Raises what `Popen` and `communicate` raise.
    """
    errors = subprocess.STDOUT if merged else subprocess.PIPE
    with started(
        command,
        cwd=folder,
        env=None if variables is None else dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
    ) as process:
        if meanwhile is not None:
            meanwhile()
        output, text = process.communicate(timeout=timeout)
        return Done(code=process.returncode, output=output, errors=text or b"")


def run_together(
    commands: Sequence[Sequence[str]],
    *,
    folder: Path,
    variables: Mapping[str, str],
    logs: Sequence[Path],
    patience: float | None = None,
) -> tuple[Done, ...]:
    """Run children side by side, all to their ends; `logs` are files for what each one writes.

    Files and not pipes: none waits for the others to be read. Raises `subprocess.TimeoutExpired` if
    nothing is written in `folder` for `patience` seconds.
    """
    with contextlib.ExitStack() as stack:
        children = []
        for command, log in zip(commands, logs, strict=True):
            file = stack.enter_context(open(log, "wb"))
            options = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT}
            children.append(
                stack.enter_context(started(command, cwd=folder, env=dict(variables), **options))
            )
        if patience is not None:
            _wait_for_growth(children, folder, patience)
        codes = [child.wait() for child in children]
    return tuple(
        Done(code=code, output=log.read_bytes(), errors=b"")
        for code, log in zip(codes, logs, strict=True)
    )


def _wait_for_growth(
    children: Sequence[subprocess.Popen[bytes]], folder: Path, patience: float
) -> None:
    size, since = -1, time.monotonic()
    for child in children:
        while True:
            try:
                child.wait(timeout=min(patience / 4, 5))
                break
            except subprocess.TimeoutExpired:
                now = _size_of(folder)
                if now != size:
                    size, since = now, time.monotonic()
                elif time.monotonic() - since > patience:
                    raise subprocess.TimeoutExpired(child.args, patience) from None


def _size_of(folder: Path) -> int:
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # they come and go
                size += os.lstat(os.path.join(place, name)).st_size
    return size


@contextlib.contextmanager
def held_interrupts() -> Iterator[None]:
    """Ctrl-C (SIGINT, SIGTERM, SIGHUP) inside of the block is handled when the block ends, by
    whoever handles it outside.

    Only the main thread is ever interrupted, and only by signals that Python handles; elsewhere
    nothing is to be held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if held:
        came, frame = held[0]
        handlers[signal.Signals(came)](came, frame)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the group and wait until nobody of it runs; the leader is reaped by us, orphans are by
    init, or by nobody."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()
    give_up = time.monotonic() + _DYING
    while _runs(process.pid) and time.monotonic() < give_up:
        time.sleep(0.001)


def _runs(group: int) -> bool:
    """Whether the group has a member that is more than an entry in the table of processes."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # proc(5): pid (name) state ppid pgrp ...; a name may hold blanks and parentheses.
            state, _, member_of = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(member_of) == group and state not in "ZX":
                return True
    return False
