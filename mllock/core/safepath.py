"""Relative POSIX paths that are safe to write, to print and to compare.

A safe path is non-empty UTF-8, uses "/" only, has no empty, "." or ".." component, no leading
slash, no backslash, no drive letter, no control, bidirectional-override or surrogate character,
and at most 4096 bytes with 255 a component. `fold` maps names that some file system would take
for the same one (case, Unicode normal form) to the same key, so that a set of folds finds
collisions. Wheels, models, data and code must be free of them; debs and bases are exempt.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["check", "collision", "fold", "problem"]

MAX_PATH = 4096
MAX_NAME = 255

# Unicode TR 36: characters that reorder or hide what is printed.
_INVISIBLE = frozenset(
    "\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)


def problem(path: str) -> str | None:
    """Say why `path` is not safe, or None if it is."""
    if not path:
        return "empty path"
    for char in path:
        if char == "\\":
            return "backslash in path"
        if char in _INVISIBLE or unicodedata.category(char) in ("Cc", "Cs"):
            return f"character U+{ord(char):04X} in path"
    if path.startswith("/"):
        return "absolute path"
    if len(path) > 1 and path[1] == ":" and path[0].isascii() and path[0].isalpha():
        return "drive letter in path"
    if len(path.encode("utf-8")) > MAX_PATH:
        return f"path of more than {MAX_PATH} bytes"
    for part in path.split("/"):
        if part == "":
            return "empty component in path"
        if part in (".", ".."):
            return f'"{part}" in path'
        if len(part.encode("utf-8")) > MAX_NAME:
            return f"name of more than {MAX_NAME} bytes"
    return None


def check(path: str) -> str:
    """Return `path`. Raises ValueError with the reason if it is not safe."""
    reason = problem(path)
    if reason is not None:
        raise ValueError(f"{reason}: {path!r}")
    return path


def fold(path: str) -> str:
    """The key under which names that could collide on some file system are equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first two different paths whose folds are equal, or None. Folds whole paths."""
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(fold(path), path)
        if other != path:
            return other, path
    return None
