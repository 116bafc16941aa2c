"""Options that several commands have, each declared once. `--json` is in `mllock.cli.app`: most
commands have it, and few need what is imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mllock.core.platform import KNOWN

__all__ = ["platform_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def platform_option(text: str) -> Callable[[_Command], _Command]:
    """`--platform`; `text` says of what, and what it is without the option."""
    return click.option(
        "--platform", metavar="PLATFORM", type=click.Choice(tuple(KNOWN)), help=text
    )
