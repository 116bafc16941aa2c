"""`mllock init`: a starter project to run, read and change."""

from __future__ import annotations

from pathlib import Path

import click

from mllock.cli.app import App

__all__ = ["command"]


@click.command(
    "init",
    epilog="Example: mllock init wine-quality --template sklearn",
    short_help="Start a project: a spec, a small program, its tests.",
)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--template",
    type=click.Choice(["sklearn"]),
    default="sklearn",
    show_default=True,
    help="The starter project.",
)
@click.pass_obj
def command(app: App, folder: Path | None, template: str) -> None:
    """Write a starter project into DIR (default: this folder): mlproject.toml, a program that
    trains, one that serves, data, tests. No file is overwritten."""
    from mllock.workflows.init import init_project

    chosen = folder or app.project or Path()
    result = init_project(chosen, template=template)
    say = app.reporter.note
    say(f"made {result.name}: {len(result.files)} files in {result.folder}")
    say("next:")
    if result.folder != Path.cwd():
        say(f"  cd {_quoted(chosen)}")
    say("  mllock lock     pin everything that mlproject.toml declares")
    say("  mllock train    train from the lock, and sign what went in and came out")


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
