"""A reporter that keeps what it was told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["Recorder"]


class Recorder:
    """Implements `mllock.core.ports.Reporter`; `lines` are "step: text", "warn: text" ...;
    `moved` has the bytes of each progress: text, total, done."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.moved: list[tuple[str, int, int]] = []

    def step(self, text: str) -> None:
        self.lines.append(f"step: {text}")

    def note(self, text: str) -> None:
        self.lines.append(f"note: {text}")

    def detail(self, text: str) -> None:
        self.lines.append(f"detail: {text}")

    def warn(self, text: str) -> None:
        self.lines.append(f"warn: {text}")

    @contextlib.contextmanager
    def progress(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        amounts: list[int] = []
        self.lines.append(f"step: {text}")
        try:
            yield amounts.append
        finally:
            self.moved.append((text, total, sum(amounts)))
