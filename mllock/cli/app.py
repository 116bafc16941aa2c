"""What every command is given: the global options, a context on demand, and how to print.

Data goes to standard output, everything else to standard error. Colour and live progress only
where standard error is a terminal and NO_COLOR is not set.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mllock.errors import InputError, MllockError

if TYPE_CHECKING:  # click starts fast; the store and its requests are imported when used
    from mllock.workflows.context import Context

__all__ = ["App", "TerminalReporter", "json_option"]

SPEC_NAME = "mlproject.toml"


def _colour_wanted() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


@dataclass(slots=True)
class TerminalReporter:
    """Writes to standard error: steps when verbose or by default, warnings always."""

    verbosity: int = 0
    colour: bool = field(default_factory=_colour_wanted)

    def step(self, text: str) -> None:
        if self.verbosity >= 0:
            self._write(self._paint("2", text))

    def note(self, text: str) -> None:
        if self.verbosity >= 0:
            self._write(text)

    def detail(self, text: str) -> None:
        if self.verbosity >= 1:
            self._write(self._paint("2", text))

    def warn(self, text: str) -> None:
        self._write(f"{self._paint('33', 'warning:')} {text}")

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    @staticmethod
    def _write(text: str) -> None:
        click.echo(text, err=True)


@dataclass(slots=True)
class App:
    """The object that click passes to commands (`@click.pass_obj`)."""

    project: Path | None = None
    verbosity: int = 0
    found: Path | None = None

    @property
    def reporter(self) -> TerminalReporter:
        return TerminalReporter(verbosity=self.verbosity)

    def context(self, *, need_spec: bool = True) -> Context:
        """The context of the project that --project names, or of the nearest folder upwards."""
        from mllock.workflows.context import make_context

        self.found = self._find_project(need_spec)
        return make_context(self.found, self.reporter, os.environ)

    def add_line(self, error: MllockError) -> None:
        """Where a key of the spec is named by a room that has only its value, find its line."""
        if error.file != SPEC_NAME or error.line or not error.key or self.found is None:
            return
        from mllock.spec.places import places

        lines = places((self.found / SPEC_NAME).read_text(encoding="utf-8"))
        key = error.key
        while key and key not in lines:
            key = key.rpartition(".")[0]
        error.line = lines.get(key)

    def _find_project(self, need_spec: bool) -> Path:
        start = (self.project or Path.cwd()).resolve()
        if (start / SPEC_NAME).is_file():
            return start
        if self.project is None:
            for folder in start.parents:
                if (folder / SPEC_NAME).is_file():
                    return folder
        if not need_spec:
            return start
        if not start.is_dir():
            raise InputError("no such folder", file=str(self.project))
        raise InputError(
            "no spec here",
            file=SPEC_NAME,
            expected=f"{SPEC_NAME} in {start} or in a folder above it",
            hint='make one with "mllock init", or name the project with --project DIR',
        )

    @staticmethod
    def print(text: str) -> None:
        """Data for the user, on standard output."""
        click.echo(text)

    @staticmethod
    def print_json(value: Any) -> None:
        click.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
