"""The placeholders of [train] command: `{params.NAME}` and `{params_file}`; all other text, braces
included, is left as it is.

Law: `resolve(command, params, file)` of a command without placeholders is the command.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from mllock.spec.types import Scalar

__all__ = ["PARAMS_FILE", "placeholders", "resolve", "text_of"]

PARAMS_FILE = "params_file"

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


def text_of(value: Scalar) -> str:
    """A param as a word of a command: strings as they are, the rest as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)
