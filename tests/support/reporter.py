"""A reporter that keeps what it was told."""

from __future__ import annotations

__all__ = ["Recorder"]


class Recorder:
    """Implements `mllock.core.ports.Reporter`; `lines` are "step: text", "warn: text" ..."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.lines.append(f"step: {text}")

    def note(self, text: str) -> None:
        self.lines.append(f"note: {text}")

    def detail(self, text: str) -> None:
        self.lines.append(f"detail: {text}")

    def warn(self, text: str) -> None:
        self.lines.append(f"warn: {text}")
