"""Relative POSIX paths that are safe to write, to print and to compare.

A safe path is non-empty UTF-8, uses "/" only, has no empty, "." or ".." component, no leading
slash, no backslash, no drive letter, no control, surrogate, bidirectional or invisible character,
and at most 4096 bytes with 255 a component. `fold` maps names that some file system would take
for the same one (case, Unicode normal form) to the same key, so that a set of folds finds
collisions. Wheels, models, data and code must be free of them; debs and bases are exempt.

`whiteout` is a rule of its own: such a name is safe on a disk and in a tree manifest, and removes
files in a layer of an image. Whatever becomes a layer must be free of it.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["WHITEOUT", "check", "check_all", "collision", "fold", "problem", "whiteout"]

MAX_PATH = 4096
MAX_NAME = 255
# OCI image-spec, layer.md: in a layer, ".wh.NAME" removes NAME of the layers below.
WHITEOUT = ".wh."

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
# NUL separates the paths of `check_all`.
_PLAIN_BYTES = (string.ascii_letters + string.digits + "_-. /\0").encode()


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


def check_all(paths: Sequence[str]) -> None:
    """Check many. Raises ValueError for the first that is not safe.

    Looks at all of them as one text first: tens of thousands of plain paths cost a millisecond.
    """
    text = "/" + "/\0/".join(paths) + "/"
    plain = (
        text.isascii()
        and not text.encode("ascii").translate(None, _PLAIN_BYTES)
        and text.count("\0") == len(paths) - 1
        and "//" not in text
        and ("/." not in text or not ("/./" in text or "/../" in text))
        and max(map(len, paths)) <= MAX_NAME
    )
    if paths and not plain:
        for path in paths:
            check(path)


def fold(path: str) -> str:
    """The key under which names that could collide on some file system are equal."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first two different paths whose folds are equal, or None. Folds whole paths."""
    every = tuple(paths)
    text = "\0".join(every)
    if text.isascii() and text == text.lower():
        return None  # each is its own fold
    different = tuple(dict.fromkeys(every))
    if len({fold(path) for path in different}) == len(different):
        return None
    seen: dict[str, str] = {}
    for path in different:
        other = seen.setdefault(fold(path), path)
        if other != path:
            return other, path
    return None


def whiteout(paths: Iterable[str]) -> str | None:
    """The first path with a component that a layer of an image would take for a removal, or None.

    Such a file would not be in the image, and others would be gone from it.
    """
    every = tuple(paths)
    if f"/{WHITEOUT}" not in "/" + "\0/".join(every):
        return None
    return next(path for path in every if f"/{WHITEOUT}" in f"/{path}")
