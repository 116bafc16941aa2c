"""Relative POSIX paths that are safe to write, to print and to compare.

A safe path is non-empty UTF-8, uses "/" only, has no empty, "." or ".." component, no leading
slash, no backslash, no drive letter, no control, surrogate, bidirectional or invisible character,
and at most 4096 bytes with 255 a component. `fold` maps names that some file system would take
for the same one (case, Unicode normal form) to the same key, so that a set of folds finds
collisions. Wheels, models, data and code must be free of them; debs and bases are exempt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable

__all__ = ["check", "check_below", "collision", "fold", "problem"]

MAX_PATH = 4096
MAX_NAME = 255

# Unicode TR 36: characters that reorder or hide what is printed: soft hyphen, bidirectional
# controls, zero-width space, separators, joiners and operators without a shape, annotations, tags.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\\\\]")
# The same rules as `problem`, for the many paths that are plain ASCII.
_NAME = r"(?!\.\.?(?:/|\Z))[^\x00-\x1f\x7f\\/]{1,255}"
_PLAIN_PATH = re.compile(rf"(?![A-Za-z]:){_NAME}(?:/{_NAME})*", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. -]{0,254}", re.ASCII)


def problem(path: str) -> str | None:
    """Say why `path` is not safe, or None if it is."""
    if path.isascii() and len(path) <= MAX_PATH and _PLAIN_PATH.fullmatch(path):
        return None
    if not path:
        return "empty path"
    bad = _CONTROL.search(path) or _INVISIBLE.search(path)
    if bad is not None:
        char = bad.group()
        return "backslash in path" if char == "\\" else f"character U+{ord(char):04X} in path"
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


def check_below(path: str, folders: Container[str]) -> str:
    """The folder of `path`. Raises ValueError as `check` does.

    `folders` are safe paths already: the many files of one folder need a look at their names only.
    """
    folder, slash, name = path.rpartition("/")
    known = folder in folders if slash else path[1:2] != ":"
    if not known or _PLAIN_NAME.fullmatch(name) is None or len(path) > MAX_PATH // 4:
        check(path)
    return folder


def fold(path: str) -> str:
    """The key under which names that could collide on some file system are equal."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first two different paths whose folds are equal, or None. Folds whole paths."""
    different = tuple(dict.fromkeys(paths))
    if len({fold(path) for path in different}) == len(different):
        return None
    seen: dict[str, str] = {}
    for path in different:
        other = seen.setdefault(fold(path), path)
        if other != path:
            return other, path
    return None
