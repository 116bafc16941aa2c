"""Waiting for the clock of the file system, which moves in steps of some milliseconds."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["settle"]


def settle(project: Path) -> None:
    """Let the clock of the file system go on, so that nothing is racily clean."""
    probe = project / "probe"
    probe.touch()
    start = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == start:
        time.sleep(0.001)
        probe.touch()
    probe.unlink()
