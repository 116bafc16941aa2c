"""`mllock runs`: the runs of a project, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, json_option, printable

if TYPE_CHECKING:
    from mllock.workflows.runs import RunRow

__all__ = ["command"]

SHORT = 12


@click.command("runs", epilog="Example: mllock runs --json", short_help="List the runs.")
@json_option
@click.pass_obj
def command(app: App, as_json: bool) -> None:
    """List the runs of this project, newest first, failed ones too."""
    from mllock.workflows.runs import runs_of

    rows = runs_of(app.context(runs_do=True))
    if as_json:
        app.print_json([_json(row) for row in rows])
        return
    if not rows:
        app.reporter.note('there are no runs yet\nhint: make one with "mllock train"')
        return
    table = [("RUN", "STATUS", "MODEL", "METRICS", "PARAMS")]
    table += [
        (
            row.id,
            row.status,
            row.model.removeprefix("sha256:")[:SHORT] if row.model else "-",
            _pairs(row.metrics) if row.problem is None else printable(row.problem),
            _pairs(row.params),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        app.print("  ".join(cells).rstrip())


def _pairs(values: Mapping[str, object]) -> str:
    return printable(" ".join(f"{name}={_text(value)}" for name, value in values.items())) or "-"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _json(row: RunRow) -> dict[str, object]:
    return {
        "run": row.id,
        "status": row.status,
        "model": row.model,
        "metrics": dict(row.metrics),
        "params": dict(row.params),
        "problem": row.problem,
    }
