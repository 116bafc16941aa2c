"""Work on one registry side by side; the first failure, or Ctrl-C, ends the rest at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from mllock.store.registry.client import Registry

__all__ = ["run_all"]

T = TypeVar("T")


def run_all(registry: Registry, tasks: Iterable[Callable[[], T]]) -> list[T]:
    """The results of the tasks, in their order. Raises the first failure, in that order too, that
    was there when the others were ended: what ending them makes of them is not told."""
    futures: list[Future[T]] = []
    with ThreadPoolExecutor(registry.limits.threads, "mllock-registry") as pool:
        try:
            futures += [pool.submit(task) for task in tasks]
            wait(futures, return_when=FIRST_EXCEPTION)
            failures = [e for f in futures if f.done() and (e := f.exception()) is not None]
        except BaseException:
            _end(registry, futures)
            raise
        if failures:
            _end(registry, futures)
            raise failures[0]
    return [future.result() for future in futures]


def _end(registry: Registry, futures: list[Future[T]]) -> None:
    for future in futures:
        future.cancel()
    registry.wire.abort()
