"""How a program ended, and the end of what it printed, in words for a message."""

from __future__ import annotations

import re
import signal
from pathlib import Path

__all__ = ["how_it_failed", "tail"]

TAIL_LINES = 10
TAIL_BYTES = 16 * 1024

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def tail(log: Path) -> str:
    """The last lines of the log, without what could move a terminal's cursor. Empty for none."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    lines = [_CONTROL.sub("", line) for line in text.splitlines()]
    return "\n".join(["", *(f"    {line}" for line in lines[-TAIL_LINES:])]) if lines else ""


def how_it_failed(exit_code: int) -> str:
    """An exit code as `subprocess` has it: negative for a signal."""
    if exit_code < 0:
        return f"was ended by {_signal_name(-exit_code)}"
    return f"failed with exit code {exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
