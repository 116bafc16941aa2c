"""`mllock build`: the images of this project, in an OCI layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option
from mllock.cli.registry import registry_argument
from mllock.errors import InputError, NotAvailableError

if TYPE_CHECKING:  # the workflow imports cryptography; --help does not need it
    from mllock.image.types import ImageKind, Layer
    from mllock.workflows.build import BuildResult

__all__ = ["command"]

_KINDS: dict[str, tuple[ImageKind, ...]] = {"train": ("train",), "serve": ("serve",)}


@click.command(
    "build",
    epilog="Example: mllock build serve --output oci:out --run 20261123-081501-k3f9",
)
@click.argument("kind", required=False, type=click.Choice(("train", "serve")))
@click.option(
    "--output",
    metavar="OUTPUT",
    help="Where the images go: oci:DIR or registry:HOST/REPO[:TAG]; default: oci:.mllock/oci of "
    "the project.",
)
@click.option("--run", "run_id", metavar="ID", help="The run to serve; default: the newest good.")
@click.option(
    "--mount-from",
    metavar="REPO",
    help="With registry: another repository there whose layers are used and not sent.",
)
@json_option
@click.pass_obj
def command(
    app: App,
    *,
    kind: str | None,
    output: str | None,
    run_id: str | None,
    mount_from: str | None,
    as_json: bool,
) -> None:
    """Make the images for training and serving, bit for bit the same each time.

    Without an argument both are made; the image for serving needs a run of this lock.
    """
    if kind == "train" and run_id is not None:
        raise InputError("--run is about the serve image", hint='try "mllock build serve --run ID"')
    if output is not None and output.startswith("registry:"):
        _to_registry(app, kind, output, run_id, mount_from=mount_from, as_json=as_json)
        return
    if mount_from is not None:
        raise InputError("--mount-from is about --output registry:HOST/REPO")
    folder = None if output is None else _folder(output)
    from mllock.workflows.build import build_images

    result = build_images(app.context(), _KINDS.get(kind or "", ()), folder, run_id)
    if as_json:
        app.print_json(_document(result))
    else:
        app.print(_text(result))


def _folder(output: str) -> Path:
    """The DIR of `oci:DIR`."""
    prefix, _, rest = output.partition(":")
    if prefix == "docker":
        raise NotAvailableError(
            "not available in this version",
            key=f"--output {output}",
            hint="use oci:DIR or registry:HOST/REPO",
        )
    if prefix != "oci" or not rest:
        raise InputError(
            "not an output",
            key=f"--output {output}",
            expected="oci:DIR or registry:HOST/REPO[:TAG]",
        )
    return Path(rest).absolute()


def _to_registry(
    app: App,
    kind: str | None,
    output: str,
    run_id: str | None,
    *,
    mount_from: str | None,
    as_json: bool,
) -> None:
    from mllock.workflows.publish import build_to_registry

    reference = registry_argument(output)
    if mount_from is not None:
        mount_from = registry_argument(f"registry:{reference.host}/{mount_from}").repository
    done = build_to_registry(
        app.context(), _KINDS.get(kind or "", ()), reference, run_id, mount_from
    )
    if as_json:
        document = _document(done.built) | {"output": f"registry:{reference}"}
        for image in document["images"]:
            image["reference"] = str(done.images[image["kind"]])
        app.print_json(document)
        return
    lines = [
        f"pushed {done.images[built.image.kind]}@{built.image.manifest_digest}"
        for built in done.built.images
    ]
    app.print("\n".join([_text(done.built), *lines]))


def _text(result: BuildResult) -> str:
    environment = result.environment.layers
    lines = ["environment, the same in each image"]
    lines += [_layer_line(layer) for layer in environment]
    lines += [f"  {result.environment.digest}"]
    for built in result.images:
        run = f", run {built.run}" if built.run else ""
        lines += ["", f"{built.image.kind}{run}"]
        lines += [_layer_line(layer) for layer in built.image.layers[len(environment) :]]
        lines += [f"  {built.image.manifest_digest}"]
    lines += ["", f"signed by {result.fingerprint}", f"written to oci:{result.output}"]
    return "\n".join(lines)


def _layer_line(layer: Layer) -> str:
    return f"  {_size(layer.size):>9}  {layer.kind:<6}  {layer.title}"


def _size(size: int) -> str:
    if size < 1_000_000:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.1f} MB"


def _document(result: BuildResult) -> dict[str, Any]:
    return {
        "output": f"oci:{result.output}",
        "environment": result.environment.digest,
        "signedBy": result.fingerprint,
        "images": [
            {
                "kind": built.image.kind,
                "platform": built.image.platform,
                "manifest": built.image.manifest_digest,
                "config": built.image.config_digest,
                "environment": built.image.environment,
                "run": built.run,
                "layers": [
                    {
                        "kind": layer.kind,
                        "title": layer.title,
                        "digest": layer.digest,
                        "diffId": layer.diff_id,
                        "size": layer.size,
                        "unpacked": layer.unpacked,
                    }
                    for layer in built.image.layers
                ],
            }
            for built in result.images
        ],
    }
