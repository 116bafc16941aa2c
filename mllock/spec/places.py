"""Where the keys of a TOML text stand: `places(text)["data.train.source"] == 14`.

Parsers give values without lines, and an error without its line is half an error. This is a
scanner, not a parser: it is only asked about text that `tomllib` has accepted, and never decides
whether a text is valid. Law: every key and array element of a valid document has a place.

Keys are dotted as in errors: `environment.indexes[0].url`, quoted where TOML would quote them.
"""

from __future__ import annotations

import bisect
import json
import re
import tomllib
from collections.abc import Iterable

__all__ = ["Part", "dotted", "nearest", "places"]

Part = str | int

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
# TOML 1.0: a multi-line string may end in up to two quotes of its own.
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"""(?:"{0,2}(?!"))', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{0,2}(?!'))", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)


def places(text: str) -> dict[str, int]:
    """The 1-based line of every key, table and array element of `text`, a valid document."""
    return _Scanner(text).run()


def dotted(parts: Iterable[Part]) -> str:
    """The key as errors write it."""
    out = ""
    for part in parts:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            name = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            out += f".{name}" if out else name
    return out


def nearest(found: dict[str, int], parts: tuple[Part, ...]) -> int | None:
    """The line of `parts`, or of the closest table around it that is written."""
    for length in range(len(parts), 0, -1):
        line = found.get(dotted(parts[:length]))
        if line is not None:
            return line
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.ends = [match.start() for match in re.finditer("\n", text)]
        self.found: dict[str, int] = {}
        self.lengths: dict[str, int] = {}

    def run(self) -> dict[str, int]:
        prefix: tuple[Part, ...] = ()
        while True:
            self.skip(_BLANK)
            if self.at >= len(self.text):
                return self.found
            if self.text.startswith("[[", self.at):
                prefix = self.header(2)
            elif self.text[self.at] == "[":
                prefix = self.header(1)
            else:
                self.pair(prefix)

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, f"not TOML at offset {self.at}"
        self.at = match.end()
        return match.group()

    def note(self, parts: tuple[Part, ...]) -> None:
        self.found.setdefault(dotted(parts), bisect.bisect_left(self.ends, self.at) + 1)

    def header(self, brackets: int) -> tuple[Part, ...]:
        """`[a.b]` or `[[a.b]]`; the path goes through the last element of arrays of tables."""
        start = self.at
        self.at += brackets
        key = self.key()
        end = self.at + brackets
        self.at = start
        path: tuple[Part, ...] = ()
        for depth, part in enumerate(key, start=1):
            path += (part,)
            self.note(path)
            name = dotted(path)
            if brackets == 2 and depth == len(key):
                self.lengths[name] = self.lengths.get(name, 0) + 1
            if name in self.lengths:
                path += (self.lengths[name] - 1,)
                self.note(path)
        self.at = end
        return path

    def key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self.skip(_SPACE)
            if self.text[self.at] in "\"'":
                parts.append(str(tomllib.loads(f"key = {self.string()}")["key"]))
            else:
                parts.append(self.skip(_BARE))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def pair(self, prefix: tuple[Part, ...]) -> None:
        start = self.at
        key = self.key()
        end = self.at + 1
        self.at = start
        for depth in range(1, len(key) + 1):
            self.note(prefix + key[:depth])
        self.at = end
        self.skip(_SPACE)
        self.value(prefix + key)

    def value(self, path: tuple[Part, ...]) -> None:
        char = self.text[self.at]
        if char in "\"'":
            self.string()
        elif char == "[":
            self.array(path)
        elif char == "{":
            self.inline(path)
        else:
            self.skip(_SCALAR)

    def array(self, path: tuple[Part, ...]) -> None:
        self.at += 1
        index = 0
        while True:
            self.skip(_BLANK)
            if self.text[self.at] == "]":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.note((*path, index))
            self.value((*path, index))
            index += 1

    def inline(self, path: tuple[Part, ...]) -> None:
        self.at += 1
        while True:
            self.skip(_BLANK)
            if self.text[self.at] == "}":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.pair(path)

    def string(self) -> str:
        for pattern in _STRINGS:
            if pattern.match(self.text, self.at):
                return self.skip(pattern)
        raise AssertionError(f"not a TOML string at offset {self.at}")
