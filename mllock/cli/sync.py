"""`mllock sync`: the environment of this machine from the lock, or whether it is that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option

if TYPE_CHECKING:  # the command's own imports wait until it runs
    from mllock.train.sync import SyncChange
    from mllock.workflows.sync import SyncResult

__all__ = ["command"]


@click.command("sync", epilog="Example: mllock sync && . .venv/bin/activate")
@click.option(
    "--check", is_flag=True, help="Only say what differs from the lock; exit code 1 if something."
)
@click.option(
    "--venv",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Another folder than .venv of the project.",
)
@json_option
@click.pass_obj
def command(app: App, *, check: bool, venv: Path | None, as_json: bool) -> int:
    """Make .venv hold the locked Python packages, and no others.

    Wheels are taken by their hashes, from the cache, a vendored folder or the index. What is not
    locked is removed; files that you changed are moved to mllock-kept in it. An environment that
    mllock did not make is left alone.
    """
    from mllock.workflows.sync import sync_project

    result = sync_project(app.context(), None if venv is None else venv.absolute(), check=check)
    plan = result.plan
    if as_json:
        app.print_json(_document(result))
    else:
        if plan.made_again is not None and plan.state is not None:
            shown = os.path.relpath(plan.root)
            what = f"Made {shown} again: " if result.done else f"{shown}: "
            app.print(what + plan.made_again)
        for change in plan.changes:
            app.print(str(change) if result.done else _wrong(change))
        app.reporter.note(_summary(result))
    for name in plan.loose:
        app.reporter.warn(f"is of no package, and stays: {name}")
    return 1 if check and not plan.nothing_to_do else 0


def _wrong(change: SyncChange) -> str:
    match change.action:
        case "added":
            return f"{change.name} {change.new}: not installed"
        case "updated":
            return f"{change.name} {change.new}: {change.old} is installed"
        case "restored":
            count = f"{change.files} file{'' if change.files == 1 else 's'}"
            return f"{change.name} {change.new}: {count} changed or gone"
        case _:
            return f"{change.name} {change.old}: not locked".replace("  ", " ")


def _summary(result: SyncResult) -> str:
    plan = result.plan
    shown = os.path.relpath(plan.root)
    count = f"{result.packages} package{'' if result.packages == 1 else 's'}"
    what = f"{count} for Python {plan.python.version}"
    if plan.nothing_to_do:
        return f"{shown} is what is locked: {what}"
    if not result.done:
        return f'{shown} is not what is locked\nhint: bring it there with "mllock sync"'
    return f"{shown}: {what}"


def _document(result: SyncResult) -> dict[str, Any]:
    plan = result.plan
    return {
        "venv": str(plan.root),
        "python": plan.python.version,
        "packages": result.packages,
        "current": plan.nothing_to_do,
        "made-again": plan.made_again,
        "done": result.done,
        "changes": [
            {
                "action": change.action,
                "name": change.name,
                "old": change.old,
                "new": change.new,
                **({"files": change.files} if change.action == "restored" else {}),
            }
            for change in plan.changes
        ],
        "of-no-package": list(plan.loose),
    }
