"""Options that several commands have, each declared once. `--json` is in `mllock.cli.app`: most
commands have it, and few need what is imported here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mllock.core.platform import KNOWN

__all__ = ["platform_option", "policy_option", "runtime_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def platform_option(text: str) -> Callable[[_Command], _Command]:
    """`--platform`; `text` says of what, and what it is without the option."""
    return click.option(
        "--platform", metavar="PLATFORM", type=click.Choice(tuple(KNOWN)), help=text
    )


policy_option = click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Which keys to trust; default: your policy.toml, else this machine's own key.",
)

# Of programs that work with the train image; what is served runs in another.
runtime_option = click.option(
    "--runtime",
    metavar="RUNTIME",
    type=click.Choice(["docker", "host"]),
    help="Where the program runs; docker: in a container of the train image (default where an "
    "engine answers); host: this machine's Python with the locked packages.",
)
