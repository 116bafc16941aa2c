"""How long and how much: every wait and every size of the registry client, and its clock.

A deadline is of a whole operation, retries included; it grows with the bytes that are to be moved,
so that a slow line is let work and a stalled one is not waited for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["MAX_DOCUMENT", "MAX_ERROR", "Deadline", "Limits"]

# distribution-spec: registries should accept manifests of 4 MiB; more need not be read.
MAX_DOCUMENT = 4 * 1024 * 1024
MAX_ERROR = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Seconds, bytes and counts. `grace` is what an operation may take without moving anything,
    `rate` the bytes in a second that it must move beyond that; `chunk` is of an upload."""

    connect: float = 10.0
    read: float = 30.0
    retries: int = 3
    backoff: float = 0.25
    max_wait: float = 10.0
    grace: float = 120.0
    rate: int = 50_000
    threads: int = 4
    chunk: int = 64 * 1024 * 1024

    def deadline(self, size: int = 0) -> Deadline:
        return Deadline(self.grace + size / self.rate)


class Deadline:
    """The end of an operation."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; not more than 0 when it is over."""
        return self._end - time.monotonic()
