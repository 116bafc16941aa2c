"""`mllock push`: a run, with its images, into a registry."""

from __future__ import annotations

import click

from mllock.cli.app import App, json_option, say
from mllock.cli.registry import registry_argument

__all__ = ["command"]


@click.command(
    "push", epilog="Example: mllock push registry:example.org/team/wine:v1 --run 20261123"
)
@click.argument("target", metavar="registry:HOST/REPO[:TAG]")
@click.option("--run", "run_id", metavar="RUN", help="The run; default: the newest good one.")
@click.option(
    "--mount-from",
    metavar="REPO",
    help="Another repository of the registry whose layers are used and not sent.",
)
@json_option
@click.pass_obj
def command(
    app: App, *, target: str, run_id: str | None, mount_from: str | None, as_json: bool
) -> None:
    """Put a run into a registry: model, record, lock, statements, and its images.

    TAG (default: latest) names all of it, TAG-serve and TAG-train the images. Blobs that are there
    are not sent: after an interruption, the same command goes on. The log of the run travels along.
    """
    from mllock.workflows.push import push_run

    reference = registry_argument(target)
    if mount_from is not None:
        mount_from = registry_argument(f"registry:{reference.host}/{mount_from}").repository
    done = push_run(app.context(runs_do=True), reference, run_id, mount_from)
    if as_json:
        app.print_json(
            {
                "run": done.run,
                "model": done.model,
                "reference": str(done.reference),
                "digest": done.digest,
                "images": {kind: str(image) for kind, image in done.images.items()},
                "blobs": {
                    "there": done.pushed.there,
                    "mounted": done.pushed.mounted,
                    "uploaded": done.pushed.uploaded,
                },
                "sent-bytes": done.pushed.sent,
            }
        )
        return
    app.print(f"run      {done.run}")
    app.print(f"model    {done.model}")
    for kind, image in done.images.items():
        app.print(f"{kind:<7}  {image}")
    app.print(f"pushed   {done.reference}@{done.digest}")
    say(f"next: mllock pull registry:{done.reference}")
