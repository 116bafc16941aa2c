"""Following a container that runs: its output to a log and to the terminal, live, until it ends.

Ctrl-C, SIGTERM and the end of the terminal (SIGHUP, unless it is ignored) go to the program; what
does not end within GRACE seconds, or at a second Ctrl-C, is killed: the rules of
`mllock.train.process`. Two threads read what the engine says (output, and how it ended); one queue,
bounded for output, brings it to the caller's thread, where signals are handled. Raises EngineError
if the engine goes away, SurroundingsError if the log cannot be written.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO

from mllock.engine.ports import Engine
from mllock.engine.types import State

__all__ = ["Followed", "follow"]

# How long output may still come when the container has ended.
_DRAIN = 10.0
# A signal that comes just before the wait begins is handled when it ends.
_TICK = 0.2
# Pieces of output that wait for a slow terminal, before the engine has to wait too.
_WAITING = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """How the program ended, and whether the user asked for it."""

    state: State
    interrupted: bool


@dataclass(frozen=True, slots=True)
class _Closed:
    """The output has ended."""


_Event = bytes | int | State | _Closed | BaseException


def follow(
    engine: Engine,
    container: str,
    log: BinaryIO,
    output: Callable[[bytes], None] | None,
    grace: float,
) -> Followed:
    """Start `container`, and answer when it has ended and its output is written."""
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    room = threading.Semaphore(_WAITING)
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(_caught(events))
        chunks = stack.enter_context(engine.attached(container))
        engine.start(container)
        threads = [
            threading.Thread(target=task, daemon=True)
            for task in (
                lambda: _read(chunks, events, room, over),
                lambda: _wait(engine, container, events),
            )
        ]
        for thread in threads:
            thread.start()
        try:
            state = _Loop(engine, container, grace).run(events, room, log, output)
            return Followed(state=state, interrupted=bool(interrupts))
        except BaseException:
            with contextlib.suppress(Exception):
                engine.kill(container, signal.SIGKILL)
            raise
        finally:
            # Nobody takes events any more: a reader that waits for room is to see that.
            over.set()
            room.release()
            for thread in threads:
                thread.join(timeout=_DRAIN)


class _Loop:
    def __init__(self, engine: Engine, container: str, grace: float) -> None:
        self._engine = engine
        self._container = container
        self._grace = grace
        self._interrupts = 0
        self._deadline: float | None = None
        self._ended: State | None = None

    def run(
        self,
        events: queue.SimpleQueue[_Event],
        room: threading.Semaphore,
        log: BinaryIO,
        output: Callable[[bytes], None] | None,
    ) -> State:
        closed = False
        while self._ended is None or not closed:
            try:
                event = events.get(timeout=_TICK)
            except queue.Empty:
                if self._deadline is None or time.monotonic() < self._deadline:
                    continue
                if self._ended is not None:
                    break  # the engine holds an output open that nobody can write to
                self._deadline = None
                self._engine.kill(self._container, signal.SIGKILL)
                continue
            match event:
                case bytes():
                    room.release()
                    log.write(event)
                    if output is not None:
                        output(event)
                case int():
                    self._pass_on(event)
                case State():
                    self._ended = event
                    self._deadline = time.monotonic() + _DRAIN
                case _Closed():
                    closed = True
                case BaseException():
                    raise event
        return self._ended

    def _pass_on(self, number: int) -> None:
        self._interrupts += 1
        if self._ended is not None:
            return
        if self._interrupts == 1:
            self._deadline = time.monotonic() + self._grace
            self._engine.kill(self._container, number)
        else:
            self._engine.kill(self._container, signal.SIGKILL)


def _read(
    chunks: Iterator[bytes],
    events: queue.SimpleQueue[_Event],
    room: threading.Semaphore,
    over: threading.Event,
) -> None:
    try:
        for chunk in chunks:
            room.acquire()
            if over.is_set():
                return
            events.put(chunk)
        events.put(_Closed())
    except BaseException as error:  # noqa: BLE001 - for the other thread to raise
        events.put(error)


def _wait(engine: Engine, container: str, events: queue.SimpleQueue[_Event]) -> None:
    try:
        events.put(engine.wait(container).state)
    except BaseException as error:  # noqa: BLE001 - for the other thread to raise
        events.put(error)


@contextlib.contextmanager
def _caught(events: queue.SimpleQueue[_Event]) -> Iterator[list[int]]:
    """Signals become events, and are counted in what is yielded. Outside of the main thread Python
    cannot handle them, and need not."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        events.put(number)  # SimpleQueue.put may be interrupted by itself

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
