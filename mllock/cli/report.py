"""`mllock report`: one run as a page, a comment for a pull request, or a model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App
from mllock.cli.options import policy_option
from mllock.errors import InputError

if TYPE_CHECKING:
    from mllock.workflows.report import Format

__all__ = ["command"]


@click.command(
    "report",
    epilog="Example: mllock report 20261123-081501-k3f9 --output report.html",
    short_help="Write a run as a page, a comment or a model card.",
)
@click.argument("run", metavar="[RUN]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "card"]),
    default="html",
    help="A page for browsers, a comment for a pull request, or a model card of the Hugging Face "
    "hub.  [default: html]",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help='Where it is written, "-" for standard output; default: of html '
    ".mllock/reports/RUN.html, else standard output.",
)
@click.option(
    "--keys/--no-keys",
    default=None,
    help="Whether rows that broke a gate are named by their keys too; default: in html only.",
)
@click.option("--license", "licence", metavar="ID", help="Of a card: the model's licence.")
@click.option(
    "--task", metavar="ID", help='Of a card: the hub\'s name of the task; default "other".'
)
@policy_option
@click.pass_obj
def command(
    app: App,
    *,
    run: str | None,
    form: Format,
    output: str | None,
    keys: bool | None,
    licence: str | None,
    task: str | None,
    policy: Path | None,
) -> None:
    """Write what is known of RUN (an ID or the start of one; default: the newest good run).

    Lineage, data, params, metrics, gates with the rows that broke them, environment, how to
    reproduce and check, signatures. The page needs no network, no script and no other file. Whole
    rows are never in it.
    """
    from mllock.store import atomic
    from mllock.workflows.report import facts_of, render

    _refuse(form, keys, licence, task)
    ctx = app.context(runs_do=True)
    facts = facts_of(ctx, run, policy)
    shown = form == "html" if keys is None else keys
    text = render(facts, form, keys=shown, licence=licence, task=task or "other")
    if output == "-" or (output is None and form != "html"):
        click.echo(text.encode("utf-8"), nl=False)
        return
    path = ctx.state / "reports" / f"{facts.run}.html" if output is None else Path(output)
    if path.is_dir():
        raise InputError("a folder, not a file", file=str(path))
    atomic.write_text(path, text)
    app.print(str(path))


def _refuse(form: str, keys: bool | None, licence: str | None, task: str | None) -> None:
    if form != "card" and (licence is not None or task is not None):
        name = "--license" if licence is not None else "--task"
        raise InputError(f"{name} is for a model card", hint="add --format card")
    if form == "card" and keys:
        raise InputError(
            "a model card names no rows", hint="leave out --keys, or use another format"
        )
