"""`mllock runs`: the runs of a project, newest first or best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, json_option, printable

if TYPE_CHECKING:
    from mllock.spec.gates import Condition
    from mllock.workflows.context import Context
    from mllock.workflows.runs import RunRow

__all__ = ["command"]

SHORT = 12
# So many metrics and params have a column; more would fit on no screen.
MAX_COLUMNS = 10


@click.command(
    "runs",
    epilog="Example: mllock runs --sort rmse",
    short_help="List the runs.",
)
@click.option("--sort", metavar="METRIC", help="By this metric, the best run first.")
@click.option("--reverse", is_flag=True, help="Oldest first; with --sort, the worst.")
@json_option
@click.pass_obj
def command(app: App, *, sort: str | None, reverse: bool, as_json: bool) -> None:
    """List the runs of this project, newest first, failed ones too.

    METRIC is one of [train] metrics, or SOURCE/METRIC of an evaluation. Whether more of it is
    better says a condition of [gates] on it, else its name.
    """
    from mllock.workflows.ranking import metric_named, ranked
    from mllock.workflows.runs import runs_of

    ctx = app.context(runs_do=True)
    rows = runs_of(ctx)
    if sort is not None and rows:
        sort = metric_named(rows, sort)
        rows = ranked(rows, sort, _conditions(ctx), reverse=reverse)
    elif reverse:
        rows = rows[::-1]
    if as_json:
        app.print_json([_json(row) for row in rows])
        return
    if not rows:
        app.reporter.note('there are no runs yet\nhint: make one with "mllock train"')
        return
    table, left_out = _table(rows, sort)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        app.print("  ".join(cells).rstrip())
    if left_out:
        app.reporter.note(f"not shown: {', '.join(left_out)} (--json has everything)")


def _conditions(ctx: Context) -> tuple[Condition, ...]:
    """Those of the spec; none in a folder of runs without one."""
    from mllock.spec.gates import conditions_of
    from mllock.spec.reader import load_spec

    path = ctx.project / "mlproject.toml"
    gates = load_spec(path).spec.gates if path.exists() else None
    return () if gates is None else conditions_of(gates)


def _table(rows: Sequence[RunRow], sort: str | None) -> tuple[list[list[str]], list[str]]:
    """Header and lines, and the names of what has no column. What all runs have alike is what one
    looks for least: it is left out first."""
    metrics = _names(row.metrics for row in rows)
    params = _names(row.params for row in rows)
    if sort is not None:
        metrics = [sort, *(name for name in metrics if name != sort)]
    named = [(name, "metric") for name in metrics] + [(name, "param") for name in params]
    first = [item for item in named if item[0] == sort or _varies(rows, *item)]
    chosen = [*first, *(item for item in named if item not in first)][:MAX_COLUMNS]
    shown = [item for item in named if item in chosen]
    problems = any(row.problem for row in rows)
    header = ["RUN", "STATUS", "GATES", "RELEASED", *(_header(*item, metrics) for item in shown)]
    lines = [[*header, "MODEL", *(["PROBLEM"] if problems else [])]]
    for row in rows:
        values = [_cell(row, *item) for item in shown]
        lines.append(
            [
                row.id,
                row.status,
                "-" if row.gates in (None, "not judged") else str(row.gates),
                "revoked" if row.revoked else printable(",".join(row.stages)) or "-",
                *values,
                row.model.removeprefix("sha256:")[:SHORT] if row.model else "-",
                *([printable(row.problem or "")] if problems else []),
            ]
        )
    return lines, [_header(*item, metrics) for item in named if item not in shown]


def _names(tables: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _varies(rows: Sequence[RunRow], name: str, kind: str) -> bool:
    return len({_cell(row, name, kind) for row in rows if row.status == "good"}) > 1


def _header(name: str, kind: str, metrics: Sequence[str]) -> str:
    return printable(f"params.{name}" if kind == "param" and name in metrics else name)


def _cell(row: RunRow, name: str, kind: str) -> str:
    values: Mapping[str, object] = row.metrics if kind == "metric" else row.params
    return printable(_text(values[name])) if name in values else "-"


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
        "gates": row.gates,
        "released": list(row.stages),
        "revoked": row.revoked,
    }
