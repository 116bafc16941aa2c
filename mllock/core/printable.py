"""Text from anywhere as text for people: one line, nothing hidden, no password. Pure."""

from __future__ import annotations

import re

__all__ = ["printable", "printable_lines"]

# user:password@ of a URL, up to its last @; a reference to the environment (${NAME}) is no secret,
# nor are the dots of a form (https://...@REVISION).
_CREDENTIALS = re.compile(r"(?<=://)(?!\.{3}@)(?!(?:\$\{\w+\}:?)+@)[^/\s\"']+@")


def printable(text: str) -> str:
    """`text` as one line: control and other invisible characters escaped, credentials hidden.

    Names, records and messages may come from anywhere: nothing in them moves the cursor, begins a
    line or hides other text. Law: `printable(printable(text)) == printable(text)`.
    """
    shown = "".join(
        char
        if char.isprintable() or char == "\t"
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )
    return _CREDENTIALS.sub("***@", shown)


def printable_lines(text: str) -> str:
    """The same for a text whose lines are ours."""
    return "\n".join(map(printable, text.split("\n")))
