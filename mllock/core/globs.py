r"""Path patterns: which relative POSIX paths are selected.

Used by `include`, `exclude` and `code` of mlproject.toml, specified in docs/reference/patterns.md:
a pattern is relative to the folder it speaks about; `*` and `?` stop at "/", `**` as a whole
component stands for any number of folders, `[a-z]` and `[!a-z]` for one character, `\` takes a
special meaning away. A pattern that matches a folder selects everything below it. A path is
selected if an include pattern matches it and no exclude pattern does.

`ignore_rules` reads the lines of a .mllockignore file, which are .gitignore's: patterns without a
slash match at any depth, `!` takes back, the last rule that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

__all__ = ["compile_globs", "escape", "ignore_rules", "is_everything", "to_regex"]

EVERYTHING = ("**/*", "**", "*")


def is_everything(include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether the patterns leave nothing out."""
    return not exclude and any(pattern in EVERYTHING for pattern in include)


def compile_globs(include: Sequence[str], exclude: Sequence[str] = ()) -> Callable[[str], bool]:
    """The test whether a path (not empty) is selected. Raises ValueError for a wrong pattern."""
    chosen = _union(include)
    left_out = _union(exclude)
    if is_everything(include, exclude):
        return bool
    if not exclude:
        return lambda path: chosen(path) is not None
    return lambda path: chosen(path) is not None and left_out(path) is None


def ignore_rules(lines: Sequence[str]) -> Callable[[str], bool]:
    """The test whether .mllockignore leaves a file out. Raises ValueError with the line number.

    As in .gitignore a file cannot be taken back if a folder above it is left out.
    """
    rules: list[tuple[bool, bool, Callable[[str], object]]] = []
    for number, line in enumerate(lines, start=1):
        pattern = _strip(line)
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        pattern = pattern[1:] if negated else pattern
        folder_only = pattern.endswith("/")
        pattern = pattern.rstrip("/")
        anchored = "/" in pattern
        pattern = pattern.removeprefix("/")
        try:
            regex = to_regex(pattern if anchored else f"**/{pattern}")
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        rules.append((negated, folder_only, re.compile(regex, re.DOTALL).fullmatch))

    def decide(path: str, is_folder: bool) -> bool:
        out = False
        for negated, folder_only, matches in rules:
            if (is_folder or not folder_only) and out is negated and matches(path) is not None:
                out = not negated
        return out

    def ignored(path: str) -> bool:
        parts = path.split("/")
        return any(
            decide("/".join(parts[:depth]), depth < len(parts))
            for depth in range(1, len(parts) + 1)
        )

    return ignored


def escape(path: str) -> str:
    """The pattern that matches `path`, and what is below it, only."""
    return re.sub(r"([*?\[\\])", r"\\\1", path)


def to_regex(pattern: str) -> str:
    """The regular expression of the paths that `pattern` itself matches. Raises ValueError."""
    if not pattern:
        raise ValueError("empty pattern")
    if pattern.startswith("/"):
        raise ValueError(f"pattern is not relative: {pattern!r}")
    parts = pattern.rstrip("/").split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise ValueError(f'"{part}" in pattern {pattern!r}')
    out = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part != "**":
            out += _component(part, pattern) + ("" if last else "/")
        elif last:
            out += ".+"
        elif parts[index + 1] != "**":
            out += "(?:.+/)?"
    return out


def _union(patterns: Sequence[str]) -> Callable[[str], object]:
    alternatives = "|".join(
        to_regex(pattern) + ("/.+" if pattern.endswith("/") else "(?:/.+)?") for pattern in patterns
    )
    # "(?!)" never matches.
    return re.compile(alternatives or "(?!)", re.DOTALL).fullmatch


def _component(part: str, pattern: str) -> str:
    out = ""
    position = 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            # Two stars inside of a component are one, as in .gitignore.
            out += "" if out.endswith("[^/]*") else "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[":
            text, position = _class(part, position, pattern)
            out += text
        elif char == "\\":
            if position == len(part):
                raise ValueError(f"pattern ends with a backslash: {pattern!r}")
            out += re.escape(part[position])
            position += 1
        else:
            out += re.escape(char)
    return out


def _class(part: str, start: int, pattern: str) -> tuple[str, int]:
    """The character class whose "[" is just before `start`, and where it ends."""
    negated = part[start : start + 1] in ("!", "^")
    first = start + 1 if negated else start
    # POSIX: "]" is itself if it comes first.
    end = part.find("]", first + 1)
    if end < 0:
        raise ValueError(f'"[" without "]" in pattern {pattern!r}')
    body = part[first:end]
    text = "".join(char if char == "-" else re.escape(char) for char in body)
    try:
        re.compile(f"[{text}]")
    except re.error:
        raise ValueError(f"wrong character range in pattern {pattern!r}") from None
    return f"(?!/)[{'^' if negated else ''}{text}]", end + 1


def _strip(line: str) -> str:
    """A line without its end and without spaces at its end, unless a backslash keeps them."""
    line = line.rstrip("\r\n")
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    return line
