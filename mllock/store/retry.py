"""Trying again what may pass, with growing pauses; and several side by side, until one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import TypeVar

from mllock.data.remote import TransientError

__all__ = ["StoppedError", "again", "all_or_first"]

_T = TypeVar("_T")

_RETRIES = 3
# So many bytes more are progress: the next failure is a first one again.
_PROGRESS = 16 * 1024 * 1024


class StoppedError(Exception):
    """Another download of the same call failed, or the user interrupted: this one ends early."""


def again(
    attempt: Callable[[], _T],
    stop: threading.Event,
    backoff: float,
    reached: Callable[[], int] = lambda: 0,
) -> _T:
    """Call `attempt` until it does not raise TransientError, or has four times without progress;
    `reached` is how many bytes are there. `backoff` is the first pause in seconds."""
    failures, last, pause = 0, reached(), backoff
    while True:
        try:
            return attempt()
        except TransientError as error:
            if reached() - last >= _PROGRESS:
                failures, last, pause = 0, reached(), backoff
            failures += 1
            if failures > _RETRIES:
                raise
            if stop.wait(max(pause, error.wait)):
                raise StoppedError from None
            pause *= 4


def all_or_first(futures: Sequence[Future[_T]], stop: threading.Event) -> None:
    """Wait until all are done. The first failure, or Ctrl-C, sets `stop`, at which those that run
    raise StoppedError. Raises the first failure in the order of `futures`, so that the same
    failures give the same message."""
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        stop.set()
        for future in futures:
            future.cancel()
    # Those that run end at their next chunk.
    wait(futures)
    for future in futures:
        failure = None if future.cancelled() else future.exception()
        if failure is not None and not isinstance(failure, StoppedError):
            raise failure
