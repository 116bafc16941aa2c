"""`mllock init`: a starter project to run, read and change, or the project of another tool."""

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
@click.option(
    "--from",
    "sources",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write mlproject.toml from the files of another tool instead: requirements.txt or .in, "
    "pyproject.toml, pylock.toml, uv.lock, poetry.lock, pdm.lock, environment.yml, cog.yaml, "
    "MLproject, dvc.yaml, bentofile.yaml, Dockerfile, or a folder of them.",
)
@click.pass_context
def command(
    context: click.Context, folder: Path | None, template: str, sources: tuple[Path, ...]
) -> None:
    """Write a starter project into DIR (default: this folder): mlproject.toml, a program that
    trains, one that serves, data, tests. No file is overwritten."""
    app: App = context.obj
    chosen = folder or app.project or Path()
    if len(sources) > 1:
        raise click.UsageError("--from is given twice: name the folder that has both")
    for source in sources:
        if context.get_parameter_source("template") is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError("--from makes no starter project: leave out --template")
        _import(app, source, chosen)
        return
    from mllock.workflows.init import init_project

    result = init_project(chosen, template=template)
    say = app.reporter.note
    say(f"made {result.name}: {len(result.files)} files in {result.folder}")
    say("next:")
    if result.folder != Path.cwd():
        say(f"  cd {_quoted(chosen)}")
    say("  mllock lock     pin everything that mlproject.toml declares")
    say("  mllock train    train from the lock, and sign what went in and came out")


def _import(app: App, source: Path, folder: Path) -> None:
    """What was not carried over is the answer, and goes to standard output."""
    from mllock.workflows.importing import import_project

    result = import_project(source, folder)
    found, say = result.found, app.reporter.note
    for leftover in found.leftovers:
        for line in str(leftover).splitlines():
            app.print(line)
    say(f"made {found.name} from {', '.join(found.files)}: {result.folder / 'mlproject.toml'}")
    say(
        f"carried over: {_count(len(found.requirements), 'requirement')}, "
        f"{_count(len(found.pins), 'version')} to begin with, "
        f"{_count(len(found.system), 'system package')}"
    )
    left = len(found.leftovers)
    if left:
        say(f"not carried over: {_count(left, 'thing')}, listed above and in mlproject.toml")
    say("next:")
    if result.folder != Path.cwd():
        say(f"  cd {_quoted(folder)}")
    say("  mllock lock     pin everything that mlproject.toml declares")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
