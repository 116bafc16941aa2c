"""`mllock outdated`: of which locked packages there are newer versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option

if TYPE_CHECKING:
    from mllock.workflows.outdated import Outdated, OutdatedDeb, Report

__all__ = ["command"]


@click.command(
    "outdated",
    short_help="List locked packages that have newer versions.",
    epilog="Example: mllock outdated --json",
)
@json_option
@click.pass_obj
def command(app: App, *, as_json: bool) -> None:
    """List the locked packages of Python and Debian that there are newer versions of.

    ALLOWED is what "mllock lock --upgrade" would take by the spec as it is now, NEWEST what the
    index has for the platform, HELD BY what the spec says against that. A suite of Debian has one
    version of a package: an upgrade takes it. Nothing is changed.
    """
    from mllock.workflows.outdated import outdated

    report = outdated(app.context())
    if as_json:
        app.print_json(
            {
                "total": report.total,
                "packages": list(map(_as_json, report.packages)),
                "debian": {
                    "total": report.total_debs,
                    "packages": list(map(_deb_as_json, report.debs)),
                },
            }
        )
        return
    for line in _table(report):
        app.print(line)
    app.reporter.note(_summary(report))


def _table(report: Report) -> Iterator[str]:
    rows = [
        (_named(item), item.locked, item.allowed, item.newest, item.held_by or "")
        for item in report.packages
    ]
    yield from _lines(("PACKAGE", "LOCKED", "ALLOWED", "NEWEST", "HELD BY"), rows)
    if rows and report.debs:
        yield ""
    debs = [(_named(item), item.locked, item.newest, item.suite) for item in report.debs]
    yield from _lines(("DEBIAN PACKAGE", "LOCKED", "NEWEST", "SUITE"), debs)


def _named(item: Outdated | OutdatedDeb) -> str:
    return item.name + (f" ({', '.join(item.platforms)})" if item.platforms else "")


def _lines(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows) if rows else ():
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _summary(report: Report) -> str:
    lines = []
    if not report.packages:
        lines.append(f"none of {report.total} Python packages has a newer version")
    else:
        movable = sum(item.allowed != item.locked for item in report.packages)
        lines.append(
            f"{len(report.packages)} of {report.total} Python packages have a newer version, "
            f"the spec allows one of {movable}"
        )
    if report.total_debs:
        count = len(report.debs)
        verb = "have" if count > 1 else "has"
        lines.append(
            f"{count or 'none'} of {report.total_debs} Debian packages {verb} a newer version"
        )
    if report.packages or report.debs:
        lines.append('hint: take it with "mllock lock --upgrade NAME"')
    return "\n".join(lines)


def _as_json(item: Outdated) -> dict[str, Any]:
    return {
        "name": item.name,
        "locked": item.locked,
        "allowed": item.allowed,
        "newest": item.newest,
        "held-by": item.held_by,
        **({"platforms": list(item.platforms)} if item.platforms else {}),
    }


def _deb_as_json(item: OutdatedDeb) -> dict[str, Any]:
    return {
        "name": item.name,
        "locked": item.locked,
        "newest": item.newest,
        "suite": item.suite,
        **({"platforms": list(item.platforms)} if item.platforms else {}),
    }
