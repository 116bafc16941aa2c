"""The placeholders of commands; all other text, braces included, is left as it is.

[train] command has `{params.NAME}` and `{params_file}`, [serve] command has `{port}`.
Law: `resolve(command, params, file)` of a command without placeholders is the command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from mllock.spec.types import Scalar

__all__ = ["PARAMS_FILE", "PORT", "placeholders", "resolve", "takes_port", "text_of", "with_port"]

PARAMS_FILE = "params_file"
PORT = "{port}"

_PLACEHOLDER = re.compile(r"\{(params\.[^{}]*|params_file)\}")


def placeholders(text: str) -> Iterator[str]:
    """`params_file`, or `params.NAME`, in the order of the text."""
    for match in _PLACEHOLDER.finditer(text):
        yield match[1]


def resolve(
    command: Sequence[str], params: Mapping[str, Scalar], params_file: str
) -> tuple[str, ...]:
    """The command with placeholders replaced. Raises KeyError for a param that is not there."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == PARAMS_FILE:
            return params_file
        return text_of(params[match[1].removeprefix("params.")])

    return tuple(_PLACEHOLDER.sub(replace, part) for part in command)


def takes_port(command: Sequence[str]) -> bool:
    """Whether the serving program is told its port, and can be told another."""
    return any(PORT in part for part in command)


def with_port(command: Sequence[str], port: int) -> tuple[str, ...]:
    """[serve] command, for a program that is to listen on `port`."""
    return tuple(part.replace(PORT, str(port)) for part in command)


def text_of(value: Scalar) -> str:
    """A param as a word of a command: strings as they are, the rest as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)
