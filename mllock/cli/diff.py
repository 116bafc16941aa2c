"""`mllock diff`: two runs, locks or models, section by section."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, json_option, printable
from mllock.cli.options import policy_option

if TYPE_CHECKING:
    from mllock.diff.types import Diff, Item, Section
    from mllock.spec.gates import Condition

__all__ = ["command"]

_MARKS = {
    "added": ("+", "32"),
    "removed": ("-", "31"),
    "changed": ("~", "33"),
    "moved": (">", "33"),
}


@click.command(
    "diff",
    epilog="Example: mllock diff 20261122 20261123",
    short_help="Say what two runs, locks or models have that differs.",
)
@click.argument("a", metavar="[A]", required=False)
@click.argument("b", metavar="[B]", required=False)
@click.option("--exit-code", is_flag=True, help="Exit code 1 if something differs, as of git diff.")
@policy_option
@json_option
@click.pass_obj
def command(
    app: App, *, a: str | None, b: str | None, exit_code: bool, policy: Path | None, as_json: bool
) -> int:
    """Say what B has that A has not, and the other way round.

    A and B are paths (a lock, a model's folder or file), else runs (an ID or
    the start of one), else git revisions, of which the lock is meant. Without
    B: the newest good run, or the lock of this project. Without both: the two
    newest good runs. Nothing is executed, and no pickle is opened.
    """
    from mllock.workflows.diff import diff

    ctx = app.context(runs_do=True, need_spec=False)
    found = diff(ctx, a, b, policy=policy, base=Path.cwd(), conditions=_conditions(ctx.project))
    if as_json:
        app.print_json(_json(found))
    else:
        for line in _lines(found):
            click.echo(line)
    return 1 if exit_code and found.differs else 0


def _conditions(project: Path) -> tuple[Condition, ...]:
    from mllock.spec.gates import conditions_of
    from mllock.spec.reader import load_spec

    path = project / "mlproject.toml"
    gates = load_spec(path).spec.gates if path.exists() else None
    return () if gates is None else conditions_of(gates)


def _lines(found: Diff) -> Iterator[str]:
    for letter, title in (("A", found.a), ("B", found.b)):
        said = ", ".join(title.facts)
        yield printable(f"{letter}  {title.kind:<5}  {title.name}{f'  ({said})' if said else ''}")
    for section in found.sections:
        if section.items:
            yield ""
            yield _paint("1", section.name)
            yield from _items(section)
    alike = [section.name for section in found.sections if not section.items and not section.notes]
    notes = [(section.name, note) for section in found.sections for note in section.notes]
    if alike or notes:
        yield ""
    if alike:
        yield f"the same: {', '.join(alike)}"
    for name, note in notes:
        yield printable(f"{name}: {note}")


def _items(section: Section) -> Iterator[str]:
    rows = [_row(item) for item in section.items]
    # One long name does not push all values out of sight.
    widths = [min(max(len(row[column]) for row in rows), 40) for column in (0, 1)]
    for item, (name, values, remark) in zip(section.items, rows, strict=True):
        mark, colour = _MARKS[item.change]
        text = f"{name:<{widths[0]}}  {values:<{widths[1]}}  {remark}".rstrip()
        yield f"  {_paint(colour, mark)} {text}"
        for line in item.lines:
            yield f"      {_coloured(printable(line))}"


def _row(item: Item) -> tuple[str, str, str]:
    if item.change == "moved":
        return printable(str(item.old)), f"-> {printable(str(item.new))}", printable(item.remark)
    values = " -> ".join(part for part in (item.old, item.new) if part is not None)
    return printable(item.name), printable(values), printable(item.remark)


def _coloured(line: str) -> str:
    for start, code in (("+++", "1"), ("---", "1"), ("@@", "36"), ("+", "32"), ("-", "31")):
        if line.startswith(start):
            return _paint(code, line)
    return line


def _paint(code: str, text: str) -> str:
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[{code}m{text}\x1b[0m" if wanted else text


def _json(found: Diff) -> dict[str, object]:
    return {
        "a": {"kind": found.a.kind, "name": found.a.name, "facts": list(found.a.facts)},
        "b": {"kind": found.b.kind, "name": found.b.name, "facts": list(found.b.facts)},
        "differs": found.differs,
        "sections": {
            section.name: {
                "items": [
                    {
                        "name": item.name,
                        "change": item.change,
                        "old": item.old,
                        "new": item.new,
                        "remark": item.remark,
                        "lines": list(item.lines),
                        **dict(item.facts),
                    }
                    for item in section.items
                ],
                "notes": list(section.notes),
            }
            for section in found.sections
        },
    }
