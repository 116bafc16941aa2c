"""`mllock pull`: a run from a registry, into the project or an empty folder."""

from __future__ import annotations

from pathlib import Path

import click

from mllock.cli.app import App, json_option, printable, say
from mllock.cli.registry import registry_argument

__all__ = ["command"]


@click.command("pull", epilog="Example: mllock pull registry:example.org/team/wine:v1")
@click.argument("target", metavar="registry:HOST/REPO[:TAG|@DIGEST]")
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Whose signatures count; default: policy.toml of this user, else this machine's key.",
)
@json_option
@click.pass_obj
def command(app: App, *, target: str, policy: Path | None, as_json: bool) -> None:
    """Restore a run that "mllock push" put into a registry: run folder and images.

    Into this project, or into an empty folder. Everything is verified while it is read; a record
    whose signature your policy refuses is not taken. Then "mllock check" works from it alone.
    """
    from mllock.workflows.pull import pull_run

    done = pull_run(app.context(need_spec=False), registry_argument(target), policy)
    signed = f"{done.trust.status} {done.trust.fingerprint}"
    if as_json:
        app.print_json(
            {
                "run": done.run.id,
                "path": str(done.run.path),
                "project": done.record.project,
                "model": done.record.model,
                "digest": done.digest,
                "images": list(done.images),
                "releases": list(done.releases),
                "signature": done.trust.status,
                "signed-by": done.trust.fingerprint,
                "there": done.there,
            }
        )
        return
    app.print(f"run      {done.run.id}{' (was here)' if done.there else ''}")
    app.print(printable(f"project  {done.record.project}"))
    app.print(f"model    {done.record.model}")
    app.print(f"signed   {signed}")
    for ref in done.images:
        app.print(f"image    oci:.mllock/oci:{ref}")
    for name in done.releases:
        app.print(f"release  .mllock/releases/{name}")
    if not done.trust.trusted:
        say(f"the signer is not known here: {done.trust.hint or 'see your policy'}")
    if "serve" in done.images:
        say("next: mllock check oci:.mllock/oci")
    else:
        say(f"next: mllock check .mllock/runs/{done.run.id}/model")
