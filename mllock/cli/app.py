"""What every command is given: the global options, a context on demand, and how to print.

Data goes to standard output, everything else to standard error. Colour and live progress only
where standard error is a terminal and NO_COLOR is not set. What is printed moves no cursor and
shows no password (`printable`); nobody reading standard error stops nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mllock.core.offline import VARIABLE as OFFLINE
from mllock.core.printable import printable, printable_lines
from mllock.errors import InputError, MllockError

if TYPE_CHECKING:  # click starts fast; the store and its requests are imported when used
    from mllock.workflows.context import Context

__all__ = [
    "App",
    "TerminalReporter",
    "json_option",
    "paint",
    "pass_on",
    "printable",
    "printable_lines",
    "say",
]

SPEC_NAME = "mlproject.toml"


def paint(code: str, text: str) -> str:
    """`text` in a colour of ECMA-48 where standard error shows colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if _colour_wanted() else text


def say(text: str) -> None:
    """One line on standard error, as it is."""
    with _tolerant():
        click.echo(text, err=True)


def pass_on(data: bytes) -> None:
    """What a program prints, as it comes: on standard error, for it is not our data."""
    with _tolerant():
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()


@contextlib.contextmanager
def _tolerant() -> Iterator[None]:
    """A terminal that is gone or a pipe that nobody reads costs no work: from then on, silence."""
    try:
        yield
    except OSError:
        with open(os.devnull, "wb") as nowhere, contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), sys.stderr.fileno())


def _colour_wanted() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


@dataclass(slots=True)
class TerminalReporter:
    """Writes to standard error: steps when verbose or by default, warnings always."""

    verbosity: int = 0

    def step(self, text: str) -> None:
        if self.verbosity >= 0:
            say(paint("2", printable_lines(text)))

    def note(self, text: str) -> None:
        if self.verbosity >= 0:
            say(printable_lines(text))

    def detail(self, text: str) -> None:
        if self.verbosity >= 1:
            say(paint("2", printable_lines(text)))

    def warn(self, text: str) -> None:
        say(f"{paint('33', 'warning:')} {printable_lines(text)}")

    @contextlib.contextmanager
    def progress(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal, and a step elsewhere."""
        if self.verbosity < 0 or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            self.step(text)
            yield lambda _: None
            return
        from mllock.cli.progress import bar

        with bar(printable(text), total) as advance:
            yield advance


@dataclass(slots=True)
class App:
    """The object that click passes to commands (`@click.pass_obj`)."""

    project: Path | None = None
    verbosity: int = 0
    offline: bool = False
    found: Path | None = None

    @property
    def reporter(self) -> TerminalReporter:
        return TerminalReporter(verbosity=self.verbosity)

    def context(self, *, need_spec: bool = True, runs_do: bool = False) -> Context:
        """The context of the project that --project names, or of the nearest folder upwards. With
        `runs_do`, a folder that only holds runs (it was pulled into) is one too."""
        from mllock.workflows.context import make_context

        start = self.project or Path.cwd()
        need_spec = need_spec and not (runs_do and (start / ".mllock" / "runs").is_dir())
        self.found = self._find_project(need_spec)
        environ = {**os.environ, OFFLINE: "1"} if self.offline else os.environ
        return make_context(self.found, self.reporter, environ)

    def add_line(self, error: MllockError) -> None:
        """Where a key of the spec is named by a room that has only its value, find its line."""
        if error.file is None and error.key and error.key.startswith("environment."):
            error.file = SPEC_NAME
        if error.file != SPEC_NAME or error.line or not error.key or self.found is None:
            return
        from mllock.spec.places import places

        lines = places((self.found / SPEC_NAME).read_text(encoding="utf-8"))
        key = error.key
        while key and key not in lines:
            key = key.rpartition(".")[0]
        error.line = lines.get(key)

    def _find_project(self, need_spec: bool) -> Path:
        start = Path(os.path.realpath(self.project or Path.cwd()))
        if os.path.lexists(start / SPEC_NAME):
            return start
        if self.project is None:
            for folder in start.parents:
                if os.path.lexists(folder / SPEC_NAME):
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
        click.echo(printable_lines(text))

    @staticmethod
    def print_json(value: Any) -> None:
        import json

        # ASCII: the same text in every locale, and nothing in it moves a cursor.
        click.echo(json.dumps(value, indent=2, sort_keys=True))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
