"""`mllock revoke RUN`: withdraws a run from every stage, for good."""

from __future__ import annotations

import click

from mllock.cli.app import App, json_option

__all__ = ["command"]


@click.command(
    "revoke",
    epilog='Example: mllock revoke 20261123-081501-k3f9 --reason "trained on leaked labels"',
    short_help="Withdraw a run.",
)
@click.argument("run")
@click.option("--reason", metavar="TEXT", default="", help="Shown wherever the run is refused.")
@json_option
@click.pass_obj
def command(app: App, *, run: str, reason: str, as_json: bool) -> None:
    """Sign that RUN (an ID or the start of one) is withdrawn from every stage, for good.

    A new list of all revoked runs of the project goes to .mllock/releases: commit it. A run that is
    gone from here can be named if it was released. To withdraw a key: mllock keys revoke.
    """
    from mllock.spec.reader import load_spec
    from mllock.workflows.revoke import revoke_run

    ctx = app.context()
    project = load_spec(ctx.project / "mlproject.toml").spec.project.name
    done = revoke_run(ctx, run, reason=reason, project=project)
    for name in done.left_out:
        app.reporter.warn(f"{name} is not trusted: what it revokes is not in the new list")
    if done.stages:
        app.reporter.note(
            f"it was the released run of {', '.join(done.stages)}: release another one there"
        )
    if as_json:
        app.print_json(
            {
                "run": done.run,
                "project": project,
                "number": done.number,
                "stages": list(done.stages),
                "file": None if done.path is None else str(done.path),
                "signer": done.fingerprint,
            }
        )
        return
    if done.path is None:
        app.print(f"revoked  {done.run} (list {done.number} says so already)")
        return
    app.print(f"revoked  {done.run}")
    app.print(f"in       list {done.number} of {project}")
    app.print(f"file     {done.path}")
    app.print(f"signed   {done.fingerprint}")
