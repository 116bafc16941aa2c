"""Two texts as a unified diff, as far as they are texts and small enough to read. Pure."""

from __future__ import annotations

import difflib

__all__ = ["as_text", "unified"]

MAX_TEXT = 256 * 1024
MAX_LINES = 4_000
# What is printed of one file; the rest is counted.
MAX_SHOWN = 200


def as_text(data: bytes) -> str | None:
    """UTF-8 without control characters but tabs and line ends; None for anything else."""
    if len(data) > MAX_TEXT:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if any(char < " " and char not in "\t\n\r\f" for char in text) else text


def unified(path: str, old: str, new: str) -> tuple[str, ...]:
    """The lines of a unified diff, of which at most MAX_SHOWN are shown."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > MAX_LINES:
        return (f"{len(before)} lines before, {len(after)} after: too many to compare",)
    lines = list(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", lineterm="", n=3))
    if not lines:
        return ("only line ends differ",)
    more = len(lines) - MAX_SHOWN
    return (*lines[:MAX_SHOWN], *([f"... and {more} more lines"] if more > 0 else []))
