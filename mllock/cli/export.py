"""`mllock export`: the project in the forms of other tools, one sub-command for each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, say
from mllock.core.platform import KNOWN
from mllock.errors import InputError

if TYPE_CHECKING:  # the workflow imports cryptography; --help does not need it
    from mllock.image.types import ImageKind

__all__ = ["command"]

_KINDS: dict[str, ImageKind] = {"train": "train", "serve": "serve"}


@click.group("export", epilog="Example: mllock export sbom --image serve -o sbom.cdx.json")
def command() -> None:
    """Write what the lock pins in the form of another tool."""


output_option = click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it there, whole or not at all; default: standard output.",
)


@command.command("sbom", epilog="Example: mllock export sbom --image serve -o sbom.cdx.json")
@click.option(
    "--image",
    "kind",
    type=click.Choice(("train", "serve")),
    default="serve",
    show_default=True,
    help="The image that it is of.",
)
@click.option("--run", "run_id", metavar="ID", help="The run to serve; default: the newest good.")
@click.option(
    "--platform",
    metavar="PLATFORM",
    type=click.Choice(tuple(KNOWN)),
    help="Which image of a lock for several platforms; default: that for this machine.",
)
@output_option
@click.pass_obj
def sbom(
    app: App, *, kind: str, run_id: str | None, platform: str | None, output: Path | None
) -> None:
    """Write an image's bill of materials (CycloneDX 1.6).

    For serving it is an ML-BOM as well: it has a card of the model. The same bytes are beside the
    image that "mllock build" makes, in layout and registry.
    """
    if kind == "train" and run_id is not None:
        raise InputError("--run is about the serve image", hint='try "mllock export sbom --run ID"')
    from mllock.workflows.export import export_sbom

    deliver(export_sbom(app.context(), _KINDS[kind], run_id, platform), output)


def deliver(data: bytes, output: Path | None) -> None:
    """To standard output as it is, or into a file by one rename."""
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():
        raise InputError("this is no file, and is not written over", file=str(output))
    from mllock.store import atomic

    # Through a link, so that it stays one.
    atomic.write_bytes(output.resolve(), data)
    say(f"wrote {output}")
