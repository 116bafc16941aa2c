"""The `mllock` command: finds commands lazily, renders errors, decides the exit code.

Commands are imported when they are named, so that `mllock --version` stays quick. Exit codes are
those of docs/reference/exit-codes.md; an exception that is not ours is a bug and says so.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from mllock import __version__
from mllock.cli.app import App, paint, printable_lines, say
from mllock.errors import InputError, MllockError, SurroundingsError

__all__ = ["cli", "main"]

# name -> (module in mllock.cli, one line for --help); a command appears when it works.
COMMANDS = {
    "init": ("init", "Start a project: a spec, a small program, its tests."),
    "lock": ("lock", "Pin everything that mlproject.toml declares."),
    "why": ("why", "Say which requirement brought a locked package in."),
    "outdated": ("outdated", "List locked packages that have newer versions."),
    "sync": ("sync", "Make .venv hold the locked packages, and no others."),
    "build": ("build", "Make identical images for training and serving."),
    "data": ("data", "Data sources: status, diff, fetch, verify."),
    "gates": ("gates", "Ask the data: shared rows, leaks, drift, empty columns."),
    "train": ("train", "Train from the lock and sign what went in and came out."),
    "evaluate": ("evaluate", "Judge a run's model by every test source and gate."),
    "serve": ("serve", "Serve a run's model with the locked environment."),
    "runs": ("runs", "List the runs of this project."),
    "show": ("show", "Show one run: inputs, outputs, metrics, signature."),
    "diff": ("diff", "Say what two runs, locks or models have that differs."),
    "report": ("report", "Write a run as a page, a comment or a model card."),
    "check": ("check", "Prove that what is deployed is what was trained."),
    "push": ("push", "Put a run into a registry: model, record, images."),
    "pull": ("pull", "Restore a run from a registry, verified."),
    "release": ("release", "Sign that a run is the one for a stage from now on."),
    "revoke": ("revoke", "Sign that a run is withdrawn from every stage."),
    "releases": ("releases", "List what is released, and what was revoked."),
    "audit": ("audit", "Look for known vulnerabilities of the locked packages."),
    "vendor": ("vendor", "Keep every locked input in a folder, for no network."),
    "export": ("export", "Write the lock in the form of another tool: pylock, sbom, ..."),
    "keys": ("keys", "Your signing key, and whose signatures count for you."),
    "demo": ("demo", "Watch the whole line work on a small real project."),
}


class _ReaderLeftError(Exception):
    """Nobody reads standard output any more. Not an OSError, which click would answer with 1."""


class LazyGroup(click.Group):
    """Commands by name, imported on use; `--help` lists them without importing any."""

    def make_context(
        self,
        info_name: str | None,
        args: Sequence[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with _translated():
            return super().make_context(info_name, list(args), parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _translated():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mllock.cli.{COMMANDS[cmd_name][0]}")
        command = module.command
        assert isinstance(command, click.Command)
        _take_anywhere(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f'did you mean "{near[0]}"?' if near else 'see "mllock --help"'
            raise click.UsageError(f'no command "{name}"\nhint: {hint}', ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _take_anywhere(command: click.Command) -> None:
    """The options of the group after the command as well, where it has none of that name."""
    if isinstance(command, click.Group):
        for part in command.commands.values():
            _take_anywhere(part)
    taken = {name for option in command.params for name in option.opts}
    command.params += [
        click.Option(
            names,
            hidden=True,
            expose_value=False,
            callback=action,
            **kind,
        )
        for names, action, kind in _ANYWHERE
        if not taken & set(names)
    ]


def _quieter(ctx: click.Context, _: click.Parameter, times: int) -> None:
    ctx.obj.verbosity -= times


def _louder(ctx: click.Context, _: click.Parameter, times: int) -> None:
    ctx.obj.verbosity += times


def _elsewhere(ctx: click.Context, _: click.Parameter, project: Path | None) -> None:
    if project is not None:
        ctx.obj.project = project


def _alone(ctx: click.Context, _: click.Parameter, offline: bool) -> None:
    ctx.obj.offline |= offline


_ANYWHERE = (
    (("-q", "--quiet"), _quieter, {"count": True}),
    (("-v", "--verbose"), _louder, {"count": True}),
    (("--offline",), _alone, {"is_flag": True}),
    (("--project",), _elsewhere, {"type": click.Path(path_type=Path)}),
)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: mllock demo",
)
@click.version_option(__version__, prog_name="mllock", message="%(prog)s %(version)s")
@click.option(
    "--project",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder of mlproject.toml; default: this one, or the nearest above it.",
)
@click.option(
    "--offline",
    is_flag=True,
    help="Ask nothing of the network: cache and vendored folders alone.",
)
@click.option("-q", "--quiet", count=True, help="Say less.")
@click.option("-v", "--verbose", count=True, help="Say more.")
@click.pass_context
def cli(
    ctx: click.Context, *, project: Path | None, offline: bool, quiet: int, verbose: int
) -> None:
    """One spec, one lock, and signed evidence: is the model in production the one we trained?"""
    ctx.obj.project, ctx.obj.verbosity = project, verbose - quiet
    ctx.obj.offline = offline


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        _interrupts()
        _streams()
        code = run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = _interrupted()
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run the command line; answer the exit code. Commands return theirs, None is 0."""
    app = App()
    try:
        code = cli.main(args=argv, prog_name="mllock", standalone_mode=False, obj=app)
    except click.exceptions.Abort:
        return _interrupted()
    except KeyboardInterrupt:
        return _interrupted()
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return 2
    except click.ClickException as error:
        _usage(error)
        _fail_in_json(InputError(error.format_message()), argv)
        return 2
    except MllockError as error:
        app.add_line(error)
        return _fail(error, argv)
    except _ReaderLeftError:
        _to_nowhere()  # not an error of ours
        return 141
    except OSError as error:
        translated = _no_folder() or surroundings(error)
        if translated is None:
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _to_nowhere()  # it has been told, and the interpreter would tell it again
        return _fail(translated, argv)
    return code if isinstance(code, int) else 0


def _streams() -> None:
    """Standard streams that can be written to, whatever the caller closed and whatever its locale.

    A closed descriptor would be that of the next file that is opened, and programs that are started
    would write into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
    sys.stdout = sys.stdout or io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
    sys.stderr = sys.stderr or io.TextIOWrapper(io.FileIO(2, "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _interrupts() -> None:
    """Being told to stop, or losing the terminal, is what Ctrl-C is: nothing is left behind.

    What the caller made us ignore (nohup, a shell's background) stays ignored. `mllock.__main__`
    answered Ctrl-C until now.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What click would answer with a write of its own, or with a code of its own."""
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderLeftError from error
    except KeyboardInterrupt:
        say("")  # after the ^C of a terminal
        raise click.Abort from None


def _no_folder() -> InputError | None:
    """The shell may stand in a folder that somebody removed."""
    try:
        os.getcwd()
    except OSError:
        return InputError(
            "the folder that this command was typed in is gone", hint="go to one that is there"
        )
    return None


def surroundings(error: OSError) -> SurroundingsError | None:
    """The failures of a machine that any write can meet, as ours; None for anything else."""
    name = str(error.filename) if error.filename else None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SurroundingsError(
            "cannot write: no space left on device",
            file=name,
            hint="free some space, then run the same command again",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SurroundingsError(
            f"cannot write or read: {error.strerror}",
            file=name,
            hint="check the owner and mode of the file and of its folder",
        )
    return None


def _fail(error: MllockError, argv: Sequence[str]) -> int:
    say(paint("31", "error: ") + printable_lines(str(error)))
    _fail_in_json(error, argv)
    return error.exit_code


def _fail_in_json(error: MllockError, argv: Sequence[str]) -> None:
    """Who asked for JSON gets some, whatever happens: a program reads the answer, not the words."""
    if "--json" not in argv:
        return
    place = {
        name: None if (text := getattr(error, name)) is None else printable_lines(str(text))
        for name in ("message", "file", "line", "key", "expected", "found", "hint")
    }
    try:
        App.print_json({"error": place | {"line": error.line}, "exit-code": error.exit_code})
    except OSError:  # nobody reads it, or it goes to a full disk
        _to_nowhere()


def _to_nowhere() -> None:
    """What is still buffered goes nowhere when the interpreter ends."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _usage(error: click.ClickException) -> None:
    context = getattr(error, "ctx", None)
    say(paint("31", "error: ") + printable_lines(error.format_message()))
    if context is not None and "hint:" not in error.format_message():
        say(f'hint: see "{context.command_path} --help"')


def _interrupted() -> int:
    say("interrupted: nothing was half-written")
    return 130
