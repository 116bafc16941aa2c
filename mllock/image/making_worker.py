"""The other end of `mllock.image.making`: makes the layers that it is told to, until none comes.

Over standard input: (version and place of mllock, which must be this one's; root of the cache,
folder for what is not finished), then one `LayerTask`
after the other, pickled by the process that started this one and by nobody else. For each, one line
on standard output: `Made` as JSON. What cannot be made is answered as that, without a reason: the
other end tries it again, and meets the reason itself.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

import mllock
from mllock import __version__
from mllock.errors import MllockError
from mllock.image.layers import make_layer
from mllock.image.making import LayerTask, Made
from mllock.image.types import Layer
from mllock.store.cache import Cache

__all__ = ["main"]


class _Warnings:
    """A reporter that keeps warnings for whoever asked, and has nobody to tell the rest."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def warn(self, text: str) -> None:
        self.kept.append(text)

    def step(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...

    @contextlib.contextmanager
    def progress(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda _: None


def main() -> None:
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        version, place, root, aside = pickle.load(source)  # noqa: S301 - from who started this one
        ours = Path(os.path.realpath(mllock.__file__)).parents[1]
        if (version, place) != (__version__, str(ours)):
            return  # its layers would be of another builder
        while True:
            task: LayerTask = pickle.load(source)  # noqa: S301 - the same
            answers.write(msgspec.json.encode(_made(task, root, aside)) + b"\n")
            answers.flush()
    except EOFError:
        return


def _made(task: LayerTask, root: Path, aside: Path) -> Made:
    reporter = _Warnings()
    layer: Layer | None = None
    with contextlib.suppress(MllockError, OSError, MemoryError):
        cache = Cache(root, reporter, aside)
        layer = make_layer(cache, task.kind, task.title, task.nodes)
    return Made(layer=layer, warnings=tuple(reporter.kept))
