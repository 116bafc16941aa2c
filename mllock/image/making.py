"""Several layers at a time: by this process and by others, one for each further processor.

Threads would wait for one another: of a layer of many small files, half of the work is Python's.
The others are told over a pipe what to make (`mllock.image.making_worker`). The first tasks are
begun while the caller still thinks out later ones; answers come when all are given. Invariants:
none of the processes outlives the call, nor does what they had half written; and none decides
anything: what one could not make is made here, so that an error is the error of this process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

import msgspec

import mllock
from mllock import __version__, processes
from mllock.core.ports import Reporter
from mllock.errors import MllockError
from mllock.image.layers import make_layer
from mllock.image.tree import Node
from mllock.image.types import Layer, LayerKind
from mllock.store.cache import Cache

__all__ = ["LayerTask", "Made", "make_layers"]

# Less than this is made before another process has begun.
WORTH_A_PROCESS = 8 << 20
MOST = 8
# -P: what lies in the current folder is not ours to import. The same mllock, wherever it is.
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from {name} import main; main()"
_WORKER = ("-P", "-c", _PROGRAM.format(name="mllock.image.making_worker"))


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTask:
    """A layer to be made of `nodes`, whose contents are bytes or lie in files."""

    kind: LayerKind
    title: str
    nodes: tuple[Node, ...]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker answers: no layer if it could not make it, for whatever reason."""

    layer: Layer | None
    warnings: tuple[str, ...] = ()


_ROOT = Path(os.path.realpath(mllock.__file__)).parents[1]
_Note = Callable[[int, Made], None]
# None: there is nothing more.
_Waiting = SimpleQueue[tuple[int, LayerTask] | None]


def make_layers(
    tasks: Iterable[LayerTask],
    cache: Cache,
    reporter: Reporter,
    *,
    count: int,
    size: int,
    keep: Callable[[int, Layer], object] | None = None,
) -> list[Layer]:
    """The layers of `tasks` in order, blobs in the cache; `keep` is told of each when it is made,
    by any thread. There will be about `count`, of about `size` bytes. Raises what `tasks`, `keep`
    and `make_layer` raise."""
    others = min(count, size // WORTH_A_PROCESS + 1, processors(), MOST) - 1
    order: list[LayerTask] = []
    made: dict[int, Made] = {}

    def note(number: int, answer: Made) -> None:
        made[number] = answer
        if answer.layer is not None and keep is not None:
            keep(number, answer.layer)

    waiting: _Waiting = SimpleQueue()
    with _workers(others, cache, waiting, note) as finish:
        for number, task in enumerate(tasks):
            order.append(task)
            waiting.put((number, task))
        with contextlib.suppress(Empty):
            while (item := waiting.get_nowait()) is not None:
                note(item[0], Made(layer=_make(item[1], cache)))
        finish()
    for number, task in enumerate(order):
        answer = made.get(number, Made(layer=None))
        for warning in answer.warnings:
            reporter.warn(warning)
        if answer.layer is None:
            note(number, Made(layer=_make(task, cache)))
    return [layer for number in range(len(order)) if (layer := made[number].layer) is not None]


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _make(task: LayerTask, cache: Cache) -> Layer:
    return make_layer(cache, task.kind, task.title, task.nodes)


@contextlib.contextmanager
def _workers(
    count: int, cache: Cache, waiting: _Waiting, note: _Note
) -> Iterator[Callable[[], None]]:
    """Processes that take from `waiting` and `note` answers; what is yielded waits for them."""
    threads: list[threading.Thread] = []

    def finish() -> None:
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            if thread.ident is not None:  # it was started
                thread.join()

    with contextlib.ExitStack() as stack:
        # What they write lies in a folder that goes with the block, whatever became of them.
        aside = stack.enter_context(cache.scratch()) if count > 0 else None
        # After they are gone: a thread whose process is gone takes nothing more.
        stack.callback(finish)
        for _ in range(count):
            command = [sys.executable, *_flags(), *_WORKER, str(_ROOT)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            try:
                started = processes.started(command, **pipes, stderr=subprocess.DEVNULL)
                child = stack.enter_context(started)
            except OSError:
                break  # the system has none to give
            feed = threading.Thread(target=_feed, args=(child, cache.root, aside, waiting, note))
            threads.append(feed)
            try:
                feed.start()
            except RuntimeError:
                break  # nor a thread
        yield finish


def _feed(
    child: subprocess.Popen[bytes],
    root: Path,
    aside: Path | None,
    waiting: _Waiting,
    note: _Note,
) -> None:
    """Hand one task after the other to a worker, until there is none, or the worker is gone."""
    assert child.stdin is not None
    assert child.stdout is not None
    problems = (OSError, ValueError, TypeError, pickle.PicklingError, msgspec.MsgspecError)
    with contextlib.suppress(*problems, MllockError):
        _send(child.stdin, (__version__, str(_ROOT), root, aside))
        while (item := waiting.get()) is not None:
            _send(child.stdin, item[1])
            note(item[0], msgspec.json.decode(child.stdout.readline(), type=Made))


def _flags() -> tuple[str, ...]:
    """What this interpreter was told to leave alone."""
    flags = sys.flags
    given = ((flags.isolated, "-I"), (flags.ignore_environment, "-E"), (flags.no_user_site, "-s"))
    return tuple(option for is_set, option in given if is_set)


def _send(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()
