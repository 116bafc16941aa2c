"""The instructions of a Dockerfile, as Docker's own parser cuts them. Nothing is executed.

Escape directive, continued lines, comments between them, and heredocs; variables of ARG and ENV
are put in by `expand`. https://docs.docker.com/reference/dockerfile/ is the source.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mllock.errors import InputError

__all__ = ["Instruction", "expand", "instructions", "json_words"]

MAX_INSTRUCTIONS = 5_000
MAX_EXPANDED = 64 * 1024

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2")
_VARIABLE = re.compile(
    r"\\\$|\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::?([-+])([^}]{0,1000}))?\})"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """`starts` are (offset in `text`, line) of every line of the file that `text` is made of."""

    word: str
    text: str
    line: int
    starts: tuple[tuple[int, int], ...]
    heredoc: str | None = None
    heredoc_line: int = 0

    def is_script(self) -> bool:
        """Whether the heredoc is a script for a shell, and not the input of another program."""
        words = _HEREDOC.sub(" ", self.text).split()
        words = [word for word in words if not word.startswith("-")]
        shell = not words or re.fullmatch(r"(\S*/)?(ba|da|)sh", words[0]) is not None
        first = (self.heredoc or "").partition("\n")[0]
        named = not first.startswith("#!") or re.search(r"\b(ba|da|)sh\b", first) is not None
        return shell and not words[1:] and named

    def line_at(self, offset: int) -> int:
        index = bisect.bisect_right(self.starts, offset, key=lambda start: start[0])
        return self.starts[index - 1][1] if index else self.line


def instructions(source: str, file: str) -> tuple[Instruction, ...]:
    """Raises InputError where a line is no instruction or a heredoc has no end."""
    lines = source.splitlines()
    escape, found, index = _escape(lines), [], 0
    while index < len(lines):
        stripped = lines[index].strip()
        if not stripped or stripped.startswith("#"):
            index += 1
            continue
        first = index
        joined, starts, index = _joined(lines, index, escape)
        word, _, rest = joined.partition(" ")
        if re.fullmatch(r"[A-Za-z]+", word) is None:
            raise InputError(
                "not an instruction of a Dockerfile", file=file, line=first + 1, found=word[:80]
            )
        shift = len(joined) - len(rest.lstrip())
        body, body_line = None, index + 1
        for mark in _HEREDOC.finditer(rest) if word.upper() in ("RUN", "COPY", "ADD") else ():
            text, index = _body(lines, index, mark[3], bool(mark[1]), file, first + 1)
            body = text if body is None else f"{body}\n{text}"
        found.append(
            Instruction(
                word=word.upper(),
                text=rest.strip(),
                line=first + 1,
                starts=tuple((max(0, at - shift), line) for at, line in starts),
                heredoc=body,
                heredoc_line=body_line,
            )
        )
        if len(found) > MAX_INSTRUCTIONS:
            raise InputError(f"more than {MAX_INSTRUCTIONS} instructions", file=file, line=index)
    return tuple(found)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with the variables that are known put in; others stay as they are written."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return match[0]
        known = variables.get(name)
        if match[3] == "-":
            return known or match[4]
        if match[3] == "+":
            return match[4] if known else ""
        return match[0] if known is None else known

    out = _VARIABLE.sub(value, text)
    return out if len(out) <= MAX_EXPANDED else text


def json_words(text: str) -> list[str] | None:
    """The words of the exec form (`["python", "train.py"]`), or None."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fine = isinstance(words, list) and words and all(isinstance(word, str) for word in words)
    return words if fine else None


def _escape(lines: list[str]) -> str:
    for line in lines:
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        if match[1].lower() == "escape" and match[2] in ("\\", "`"):
            return match[2]
    return "\\"


def _joined(lines: list[str], index: int, escape: str) -> tuple[str, list[tuple[int, int]], int]:
    """The logical line that starts at `index`, where its parts start, and the index after it."""
    out, starts = "", []
    while index < len(lines):
        line = lines[index].strip() if not out else lines[index].rstrip()
        index += 1
        if out and (not line.strip() or line.lstrip().startswith("#")):
            continue
        more = line.endswith(escape)
        starts.append((len(out), index))
        out += line[: -len(escape)].rstrip() + " " if more else line
        if not more:
            break
    return re.sub(r"^(\S+)\s", r"\1 ", out.strip()), starts, index


def _body(
    lines: list[str], index: int, end: str, tabs: bool, file: str, line: int
) -> tuple[str, int]:
    body: list[str] = []
    while index < len(lines):
        text = lines[index].lstrip("\t") if tabs else lines[index]
        index += 1
        if text == end:
            return "\n".join(body), index
        body.append(text)
    raise InputError(f"the heredoc {end} has no end", file=file, line=line)
