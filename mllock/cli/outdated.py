"""`mllock outdated`: of which locked Python packages there are newer versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option

if TYPE_CHECKING:
    from mllock.workflows.outdated import Outdated, Report

__all__ = ["command"]


@click.command(
    "outdated",
    short_help="List locked packages that have newer versions.",
    epilog="Example: mllock outdated --json",
)
@json_option
@click.pass_obj
def command(app: App, *, as_json: bool) -> None:
    """List the locked Python packages that the index has newer versions of.

    ALLOWED is what "mllock lock --upgrade" would take by the spec as it is now, NEWEST what the
    index has for the platform, HELD BY what the spec says against that. Nothing is changed.
    """
    from mllock.workflows.outdated import outdated

    report = outdated(app.context())
    if as_json:
        app.print_json({"total": report.total, "packages": list(map(_as_json, report.packages))})
        return
    for line in _table(report):
        app.print(line)
    app.reporter.note(_summary(report))


def _table(report: Report) -> Iterator[str]:
    rows = [("PACKAGE", "LOCKED", "ALLOWED", "NEWEST", "HELD BY")]
    for item in report.packages:
        where = f" ({', '.join(item.platforms)})" if item.platforms else ""
        held = item.held_by or ""
        rows.append((f"{item.name}{where}", item.locked, item.allowed, item.newest, held))
    if len(rows) > 1:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            yield "  ".join(cells).rstrip()


def _summary(report: Report) -> str:
    if not report.packages:
        return f"none of {report.total} Python packages has a newer version"
    movable = sum(item.allowed != item.locked for item in report.packages)
    return (
        f"{len(report.packages)} of {report.total} Python packages have a newer version, "
        f"the spec allows one of {movable}\n"
        'hint: take it with "mllock lock --upgrade NAME"'
    )


def _as_json(item: Outdated) -> dict[str, Any]:
    return {
        "name": item.name,
        "locked": item.locked,
        "allowed": item.allowed,
        "newest": item.newest,
        "held-by": item.held_by,
        **({"platforms": list(item.platforms)} if item.platforms else {}),
    }
