"""`mllock export`: the project in the forms of other tools, one sub-command for each."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mllock.cli.app import App, say
from mllock.cli.explained import size_text
from mllock.cli.options import platform_option
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
@platform_option("Which image of a lock for several platforms; default: that for this machine.")
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


@command.command("dockerfile", epilog="Example: mllock export dockerfile -o docker")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder of the build context; default: .mllock/dockerfile of the project.",
)
@click.option("--run", "run_id", metavar="ID", help="The run to serve; default: the newest good.")
@click.option(
    "--wheels/--no-wheels",
    default=True,
    help="Put the wheels into the context (default), or let pip ask an index for them, by hash.",
)
@platform_option("Which platform of a lock for several; default: that of this machine.")
@click.pass_obj
def dockerfile(
    app: App, *, output: Path | None, run_id: str | None, wheels: bool, platform: str | None
) -> None:
    """Write a Dockerfile, and all that it needs.

    A container engine builds training and serving images from it, without mllock: the same
    environment, code and model as in the images of "mllock build", pinned, not bit-identical.
    """
    from mllock.workflows.export_dockerfile import export_dockerfile

    folder = None if output is None else output.absolute()
    done = export_dockerfile(app.context(), folder, run_id, wheels=wheels, platform=platform)
    shown = done.folder if output is None else output
    run = "" if done.run is None else f", run {done.run}"
    say(f"wrote {shown}: {done.files} files, {size_text(done.size)}{run}")
    for stage in done.stages:
        app.print(f"docker build --target {stage} {shlex.quote(str(shown))}")


@command.command("pylock", epilog="Example: mllock export pylock --wheels -o deploy/pylock.toml")
@platform_option("Only for this one; default: for all that the lock is for.")
@click.option("--wheels", is_flag=True, help="Put the wheels into wheels/, beside FILE.")
@output_option
@click.pass_obj
def pylock(app: App, *, platform: str | None, wheels: bool, output: Path | None) -> None:
    """Write the Python packages as a pylock.toml (PEP 751).

    It names every wheel as wheels/NAME, beside itself: --wheels puts them there, from the cache or
    fetched. Then "pip install -r" and "uv pip sync" need no index.
    """
    if wheels and output is None:
        raise InputError(
            "--wheels puts them beside the file", hint="say where it is to be: -o FILE"
        )
    if output is not None:
        _refuse_other_names(output)
    from mllock.workflows.export_python import export_pylock

    beside = Path(os.path.realpath(output)).parent if output is not None and wheels else None
    deliver(export_pylock(app.context(), platform, beside), output)


@command.command("requirements", epilog="Example: mllock export requirements -o requirements.txt")
@platform_option("Which one of a lock for several; default: that of this machine.")
@output_option
@click.pass_obj
def requirements(app: App, *, platform: str | None, output: Path | None) -> None:
    """Write the Python packages as a requirements.txt with hashes.

    For "pip install --require-hashes -r" and "uv pip sync", which look for these very wheels in
    the index that they are set to.
    """
    from mllock.workflows.export_python import export_requirements

    deliver(export_requirements(app.context(), platform), output)


def _refuse_other_names(output: Path) -> None:
    """PEP 751: "pylock.toml", or "pylock.NAME.toml" with no dot in NAME; pip goes by it."""
    from packaging.pylock import is_valid_pylock_path

    if not is_valid_pylock_path(output):
        raise InputError(
            "installers take a file for a pylock by its name",
            file=str(output),
            expected="pylock.toml, or pylock.NAME.toml",
            hint="give it such a name",
        )


def deliver(data: bytes, output: Path | None) -> None:
    """To standard output as it is, or into a file by one rename."""
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    if output.exists() and not output.is_file():
        raise InputError("this is no file, and is not written over", file=str(output))
    if Path(os.path.realpath(output)).name in ("mlproject.toml", "mlproject.lock"):
        raise InputError(
            "this is a project's own file, and is not written over",
            file=str(output),
            hint="choose another name",
        )
    from mllock.store import atomic

    # Through a link, so that it stays one.
    atomic.write_bytes(Path(os.path.realpath(output)), data)
    say(f"wrote {output}")
