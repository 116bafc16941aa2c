"""`mllock train`: train from the lock, sign what went in and what came out."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, json_option, pass_on, printable
from mllock.cli.evaluate import gates_json, print_gates
from mllock.cli.options import runtime_option

if TYPE_CHECKING:  # the workflow imports cryptography; --help does not need it
    from mllock.workflows.runtimes import RuntimeName

__all__ = ["command"]


@click.command(
    "train",
    epilog="Example: mllock train --set alpha=0.7",
    short_help="Train from the lock and sign what went in and came out.",
)
@runtime_option
@click.option(
    "--set",
    "overrides",
    metavar="NAME=VALUE",
    multiple=True,
    help="Another value for a declared param; may be given more than once.",
)
@click.option(
    "--despite-gates",
    is_flag=True,
    help="Train although gates of the data fail; such a run is marked, and cannot be released.",
)
@json_option
@click.pass_obj
def command(
    app: App,
    *,
    runtime: RuntimeName | None,
    overrides: tuple[str, ...],
    despite_gates: bool,
    as_json: bool,
) -> int:
    """Run [train] command with the locked environment, in a fresh copy of the declared code.

    Data, code and environment are hashed before and after; a change in between voids the run.
    The signed record, the model, the log and the metrics are in .mllock/runs/ID/. Exit code 1: the
    program failed, or gates of its metrics did, where there is no [evaluate].
    """
    from mllock.workflows.train import train

    say = app.reporter.note
    result = train(
        app.context(),
        overrides=overrides,
        runtime=runtime,
        despite_gates=despite_gates,
        output=None if app.verbosity < 0 else pass_on,
    )
    code = 1 if result.model_gates is not None and result.model_gates.blocks else 0
    if as_json:
        app.print_json(
            {
                "run": result.run.id,
                "path": str(result.run.path),
                "runtime": result.runtime,
                "model": result.model,
                "metrics": dict(result.metrics),
                "signed-by": result.fingerprint,
                "probes": result.probes,
                "data-gates": result.data_gates,
                "model-gates": gates_json(result.model_gates),
            }
        )
        return code
    app.print(f"run      {result.run.id}")
    for name, value in result.metrics.items():
        shown = value if isinstance(value, int) else format(value, "g")
        app.print(printable(f"metric   {name} = {shown}"))
    if result.probes:
        app.print(f"probes   {result.probes}")
    if result.data_gates is not None:
        app.print(f"gates    of the data: {result.data_gates}")
    print_gates(app, result.model_gates)
    app.print(f"model    {result.model}")
    app.print(f"signed   {result.fingerprint}")
    if code:
        app.reporter.warn("a gate failed: the run is kept, and cannot be released")
    say("next:")
    say("  mllock show             what went in, what came out")
    say("  mllock build serve      an image that serves this model")
    say(f"  mllock check {shlex.quote(os.path.relpath(result.run.model_path()))}")
    return code
