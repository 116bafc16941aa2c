"""The words of a shell script, with their quotes: the lexical half of `mllock.lock.debian.shell`.

What it cannot read for certain (here-documents, an unclosed quote, arithmetic) is an
UnknownShellError, never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["UnknownShellError", "Word", "substitutions", "tokens"]

_OPERATOR = re.compile(r"&&|\|\||;;|[0-9]*(?:<<-?|>>|>&|<&|>\||>|<)|[;&|()\n]")


class UnknownShellError(Exception):
    """The script uses what this parser does not know; `line` is where, if that is known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Word:
    """One word as written, with its quotes, and the line it is on. Operators have `op`."""

    text: str
    line: int
    op: bool = False


def tokens(text: str) -> list[Word]:
    """Words, operators and line ends. Comments and joined lines are gone."""
    found: list[Word] = []
    at, line = 0, 1
    while at < len(text):
        char = text[at]
        if char in " \t\r":
            at += 1
        elif text.startswith("\\\n", at):
            at, line = at + 2, line + 1
        elif char == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif match := _OPERATOR.match(text, at):
            if match.group().lstrip("0123456789").startswith("<<"):
                raise UnknownShellError("here-document", line)
            found.append(Word(match.group(), line, op=True))
            line += match.group() == "\n"
            at = match.end()
        else:
            end = _word_end(text, at, line)
            word = text[at:end]
            found.append(Word(word.replace("\\\n", ""), line))
            at, line = end, line + word.count("\n")
    return found


def _word_end(text: str, at: int, line: int) -> int:
    while at < len(text) and text[at] not in " \t\r\n;&|()<>":
        char = text[at]
        if char == "\\":
            at += 2
        elif char == "'":
            at = _closing(text, "'", at + 1, line) + 1
        elif char == "`":
            at = _closing(text, "`", at + 1, line) + 1
        elif char == '"':
            at = _quoted_end(text, at + 1, line)
        elif text.startswith(("$(", "${"), at):
            at = _expansion_end(text, at, line)
        else:
            at += 1
    return at


def _closing(text: str, char: str, at: int, line: int) -> int:
    end = text.find(char, at)
    if end < 0:
        raise UnknownShellError(f"no closing {char}", line)
    return end


def _quoted_end(text: str, at: int, line: int) -> int:
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 2
        elif text.startswith(("$(", "${"), at):
            at = _expansion_end(text, at, line)
        else:
            at += 1
    if at >= len(text):
        raise UnknownShellError('no closing "', line)
    return at + 1


def _expansion_end(text: str, at: int, line: int) -> int:
    opening, closing = text[at + 1], {"(": ")", "{": "}"}[text[at + 1]]
    depth, at = 1, at + 2
    while at < len(text) and depth:
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "'":
            at = _closing(text, "'", at + 1, line)
        elif char == '"':
            at = _quoted_end(text, at + 1, line) - 1
        elif char == opening:
            depth += 1
        elif char == closing:
            depth -= 1
        at += 1
    if depth:
        raise UnknownShellError(f"no closing {closing}", line)
    return at


def substitutions(word: str) -> list[str]:
    """The scripts in `$(...)` and backquotes of a word. Raises UnknownShellError for `${...$(`."""
    found, at, single = [], 0, False
    double = False
    while at < len(word):
        char = word[at]
        if single:
            single = char != "'"
        elif char == "\\":
            at += 1
        elif char == "'" and not double:
            single = True
        elif char == '"':
            double = not double
        elif char == "`":
            end = _closing(word, "`", at + 1, 0)
            found.append(word[at + 1 : end])
            at = end
        elif word.startswith("$((", at):
            raise UnknownShellError("arithmetic")
        elif word.startswith("$(", at):
            end = _expansion_end(word, at, 0)
            found.append(word[at + 2 : end - 1])
            at = end - 1
        at += 1
    return found
