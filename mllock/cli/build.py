"""`mllock build`: the images of this project, in an OCI layout and in the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option
from mllock.cli.explained import explanation_document, explanation_lines, size_text, total_line
from mllock.core.digest import sha256_of
from mllock.errors import InputError

if TYPE_CHECKING:  # the workflow imports cryptography; --help does not need it
    from mllock.image.types import ImageKind, Layer
    from mllock.workflows.build import BuildResult
    from mllock.workflows.outputs import Sent

__all__ = ["command"]

_KINDS: dict[str, tuple[ImageKind, ...]] = {"train": ("train",), "serve": ("serve",)}


@click.command(
    "build",
    epilog="Example: mllock build serve --output oci:out --run 20261123-081501-k3f9",
)
@click.argument("kind", required=False, type=click.Choice(("train", "serve")))
@click.option(
    "--output",
    "outputs",
    metavar="OUTPUT",
    multiple=True,
    help="Where the images go: oci:DIR (default: .mllock/oci of the project), docker (default: "
    "where an engine answers), registry:HOST/REPO[:TAG]. Repeatable.",
)
@click.option("--run", "run_id", metavar="ID", help="The run to serve; default: the newest good.")
@click.option(
    "--mount-from",
    metavar="REPO",
    help="With registry: another repository there whose layers are used and not sent.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Say of each layer whether it is new, and what changed since the last build.",
)
@json_option
@click.pass_obj
def command(
    app: App,
    *,
    kind: str | None,
    outputs: tuple[str, ...],
    run_id: str | None,
    mount_from: str | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Make the images for training and serving, bit for bit the same each time.

    Without an argument both are made; the image for serving needs a run of this lock.
    """
    if kind == "train" and run_id is not None:
        raise InputError("--run is about the serve image", hint='try "mllock build serve --run ID"')
    from mllock.workflows.build import build_images
    from mllock.workflows.outputs import read_outputs, send
    from mllock.workflows.publish import build_to_registry

    wanted = read_outputs(outputs, mount_from)
    ctx = app.context()
    kinds = _KINDS.get(kind or "", ())
    pushed: tuple[Sent, ...] = ()
    if wanted.registry is None:
        result = build_images(ctx, kinds, wanted.layout, run_id, explained=explain)
    else:
        published = build_to_registry(
            ctx,
            kinds,
            wanted.registry,
            run_id,
            wanted.mount_from,
            wanted.layout,
            explained=explain,
        )
        result, pushed = published.built, (published.sent(),)
    sent = send(ctx, wanted, result.project, [built.image for built in result.images]) + pushed
    if as_json:
        app.print_json(_document(result, sent))
    else:
        app.print(_text(result, sent))


def _text(result: BuildResult, sent: tuple[Sent, ...]) -> str:
    environment = result.environment.layers
    lines = ["environment, the same in each image"]
    if not result.explanations:
        lines += [_layer_line(layer) for layer in environment]
    lines += [f"  {result.environment.digest}"]
    explained = {item.kind: explanation_lines(item) for item in result.explanations}
    for built in result.images:
        run = f", run {built.run}" if built.run else ""
        lines += ["", f"{built.image.kind}{run}"]
        own = [_layer_line(layer) for layer in built.image.layers[len(environment) :]]
        lines += explained.get(built.image.kind, own)
        lines += [f"  {total_line(built.image.layers)}", f"  {built.image.manifest_digest}"]
    lines += ["", f"signed by {result.fingerprint}", f"written to oci:{result.output}"]
    lines += [line for place in sent for line in place.lines]
    return "\n".join(lines)


def _layer_line(layer: Layer) -> str:
    return f"  {size_text(layer.size):>9}  {layer.kind:<6}  {layer.title}"


def _document(result: BuildResult, sent: tuple[Sent, ...]) -> dict[str, Any]:
    return {
        "sent": {place.place: list(place.names) for place in sent},
        "output": f"oci:{result.output}",
        "environment": result.environment.digest,
        "signedBy": result.fingerprint,
        **(
            {"explain": [explanation_document(item) for item in result.explanations]}
            if result.explanations
            else {}
        ),
        "images": [
            {
                "kind": built.image.kind,
                "platform": built.image.platform,
                "manifest": built.image.manifest_digest,
                "config": built.image.config_digest,
                "environment": built.image.environment,
                "run": built.run,
                "sbom": sha256_of(result.sboms[built.image.kind]),
                "size": sum(layer.size for layer in built.image.layers),
                "unpacked": sum(layer.unpacked for layer in built.image.layers),
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
