"""`mllock evaluate`: judge a trained model by the test sources, and by the model gates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option, pass_on, printable
from mllock.cli.options import runtime_option

if TYPE_CHECKING:  # the workflow imports cryptography; --help does not need it
    from mllock.gates.types import Judgement
    from mllock.workflows.evaluate import EvaluateResult
    from mllock.workflows.runtimes import RuntimeName

__all__ = ["command", "gates_json", "print_gates"]

EPILOG = """\b
Examples:
  mllock evaluate
  mllock evaluate 20261123-081501-k3f9 --json
"""


@click.command(
    "evaluate", epilog=EPILOG, short_help="Judge a run's model by every test source and gate."
)
@click.argument("run", required=False)
@runtime_option
@json_option
@click.pass_obj
def command(app: App, run: str | None, runtime: RuntimeName | None, as_json: bool) -> int:
    """Run [evaluate] command with the model of RUN, once for each source with role "test".

    RUN is an ID or the start of one; default: the newest good run of this lock. The program finds
    the model where [train] writes it, one test source, and nothing else of the data. What it wrote
    is signed and kept in .mllock/runs/ID/evaluation/, in the place of what was there; then the
    gates of metrics and slices are judged. Without [evaluate], the metrics of the training program
    are. Exit code 1: the program or a gate failed.
    """
    from mllock.workflows.evaluate import evaluate

    result = evaluate(
        app.context(), run=run, runtime=runtime, output=None if app.verbosity < 0 else pass_on
    )
    if as_json:
        app.print_json(_json(result))
    else:
        _print(app, result)
    return 1 if result.judgement is not None and result.judgement.blocks else 0


def _print(app: App, result: EvaluateResult) -> None:
    app.print(f"run      {result.run.id}")
    for name, evaluated in result.sources.items():
        for metric, value in evaluated.metrics.items():
            shown = value if isinstance(value, int) else format(value, "g")
            app.print(printable(f"metric   {name}: {metric} = {shown}"))
    print_gates(app, result.judgement)
    app.print(f"signed   {result.fingerprint}")
    if result.judgement is None:
        app.reporter.note("no gates of metrics or slices are declared: see [gates]")
    elif result.judgement.blocks:
        app.reporter.warn("a gate failed: the run is kept, and cannot be released")
    else:
        app.reporter.note(f"next:\n  mllock release {result.run.id} --stage NAME")


def print_gates(app: App, judgement: Judgement | None) -> None:
    """Each result on a line, and how many there are of each verdict."""
    from mllock.gates.words import lines_of

    if judgement is None:
        return
    for result in judgement.results:
        for line in lines_of(result):
            app.print(printable(line))
    counts = Counter(result.verdict for result in judgement.results)
    app.print("gates    " + ", ".join(f"{number} {verdict}" for verdict, number in counts.items()))


def gates_json(judgement: Judgement | None) -> dict[str, Any] | None:
    """The results as they are kept."""
    from mllock.gates.document import result_document

    if judgement is None:
        return None
    results = [result_document(result) for result in judgement.results]
    return {"failed": judgement.blocks, "results": results}


def _json(result: EvaluateResult) -> dict[str, Any]:
    return {
        "run": result.run.id,
        "path": str(result.run.path),
        "runtime": result.runtime,
        "sources": {
            name: {
                "metrics": dict(one.metrics),
                "predictions": None if one.predictions is None else str(one.predictions),
            }
            for name, one in result.sources.items()
        },
        "gates": gates_json(result.judgement),
        "signed-by": result.fingerprint,
    }
