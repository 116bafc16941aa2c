"""A command of another tool as the words of one of ours.

Through a shell only where it needs one; and without the tool that would have prepared the
environment (`uv run`, `poetry run`, `conda run`): it is not in the images, and what it would have
installed is.
"""

from __future__ import annotations

import re
import shlex

__all__ = ["RUNNERS", "words_of"]

RUNNERS = ("uv", "poetry", "pdm", "pipenv", "rye", "hatch", "conda", "mamba", "micromamba")
# What only a shell understands.
_SHELL = re.compile(r"[|&;<>$`*?~\n(){}\[\]]")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][\w.-]*\}")
_RUNNER = re.compile(
    r"(?P<before>(?:^|&&|\|\||;|\n)\s{0,20})"
    r"(?:(?:poetry|pdm|pipenv|rye)\s+run"
    r"|uv\s+run(?:\s+(?:-q|--quiet|--frozen|--locked|--no-sync|--no-dev|--active|--all-extras|--))*"
    r"|(?:conda|mamba|micromamba)\s+run"
    r"(?:\s+(?:--no-capture-output|--live-stream|(?:-n|--name|-p|--prefix)\s+\S+))*)"
    r"\s+(?=[^\s-])(?P<script>\S+\.py(?=\s|$))?"
)


def words_of(text: str | list[str]) -> list[str]:
    """Raises ValueError with what is wrong."""
    if isinstance(text, list):
        line = shlex.join(text)
        plain = _RUNNER.sub(_without, line, count=1) if _RUNNER.match(line) else line
        return text if plain == line else shlex.split(plain)
    plain = _RUNNER.sub(_without, text)
    if _SHELL.search(_PLACEHOLDER.sub("", plain)):
        return ["sh", "-c", plain.strip()]
    return shlex.split(plain)


def _without(match: re.Match[str]) -> str:
    script = match["script"]
    return match["before"] + (f"python {script}" if script else "")
