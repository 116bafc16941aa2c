"""`mllock gates`: ask of the data what has to hold before it is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option

if TYPE_CHECKING:  # the command's own imports wait until it runs
    from mllock.gates.types import Result
    from mllock.workflows.gates import GatesResult

__all__ = ["command"]


@click.command("gates", epilog="Example: mllock gates")
@click.argument("run", metavar="[RUN]", required=False)
@json_option
@click.pass_obj
def command(app: App, *, run: str | None, as_json: bool) -> int:
    """Ask the data: rows, keys and groups in two splits, time, label, columns, drift.

    Gates that [gates] declares are enforced: exit code 1 if one fails, and "mllock train" does
    not start. The others are asked as far as roles and columns of [data] permit, and stop
    nothing. With RUN, those that are declared today are asked about the data of that run, and
    the answers signed beside its record. With -q, only what is not as it should be. Needs
    pip install "mllock[gates]".
    """
    from mllock.workflows.gates import ask_gates, judge_run

    result = ask_gates(app.context()) if run is None else judge_run(app.context(), run)
    if as_json:
        app.print_json(_document(result))
    else:
        _print(app, result)
    _tell(app, result)
    return 1 if result.failed else 0


def _print(app: App, result: GatesResult) -> None:
    for declared in result.answers.declared:
        _lines(app, declared)
    if result.answers.advice:
        # What nobody asked for is said where there is something to say.
        hold = [each for each in result.answers.advice if each.verdict == "passed"]
        others = [each for each in result.answers.advice if each.verdict != "passed"]
        if others and result.answers.declared:
            app.print("")
        if others:
            app.print("not declared in [gates], and stopping nothing:")
        for advice in result.answers.advice if app.verbosity > 0 else others:
            _lines(app, advice)
        if hold and app.verbosity == 0:
            more = " more" if others else ""
            app.print(f"{len(hold)}{more} that are not declared would hold; -v shows them")


def _lines(app: App, result: Result) -> None:
    from mllock.gates.types import MAX_BROKEN
    from mllock.gates.words import SHOWN, lines_of

    if _shown(app, result):
        for line in lines_of(result, shown=MAX_BROKEN if app.verbosity > 0 else SHOWN):
            app.print(line)


def _shown(app: App, result: Result) -> bool:
    return app.verbosity >= 0 or result.verdict != "passed"


def _tell(app: App, result: GatesResult) -> None:
    """What is said about the answer, on standard error."""
    from mllock.gates.words import ways_out

    say, warn = app.reporter.note, app.reporter.warn
    answers = result.answers
    for text in dict.fromkeys(str(unread.error) for unread in answers.unread):
        families = (one.family for one in answers.unread if str(one.error) == text)
        warn(f"not asked: {', '.join(families)}: {text}")
    failed, counted = len(result.failed), len(answers.declared)
    if failed:
        say(f"{failed} of {counted} declared gates failed: training does not start")
    elif counted:
        say(f"{'the declared gate holds' if counted == 1 else f'{counted} declared gates hold'}")
    for way in ways_out((*answers.declared, *answers.advice)):
        say(f"hint: {way}")
    found = [one for one in answers.advice if one.verdict == "warned"]
    if found and not failed:
        tables = dict.fromkeys(f"[gates.{one.gate.partition('.')[0]}]" for one in found)
        say(f"hint: to be stopped by it, declare {', '.join(tables)} in mlproject.toml")
    if result.run is not None:
        say(f"signed   {result.fingerprint}")


def _document(result: GatesResult) -> dict[str, Any]:
    from mllock.gates.document import result_document

    answers = result.answers
    return {
        "run": result.run,
        "declared": [result_document(one) for one in answers.declared],
        "not-declared": [result_document(one) for one in answers.advice],
        "not-asked": [
            {"family": unread.family, "why": unread.error.message, "file": unread.error.file}
            for unread in answers.unread
        ],
        "failed": len(result.failed),
        "signed-by": result.fingerprint,
    }
