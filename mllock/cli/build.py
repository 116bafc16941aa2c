"""`mllock build`: the images of this project, in an OCI layout and in the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mllock.cli.app import App, json_option
from mllock.cli.explained import explanation_document, explanation_lines, size_text, total_line
from mllock.cli.options import platform_option
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
@platform_option("Only for this platform of the lock, e.g. linux/arm64; default: for all of them.")
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
    platform: str | None,
    as_json: bool,
) -> None:
    """Make the images for training and serving, bit for bit the same each time.

    Without an argument both are made; the image for serving needs a run of this lock. An image for
    several platforms is an index of one manifest for each.
    """
    if kind == "train" and run_id is not None:
        raise InputError("--run is about the serve image", hint='try "mllock build serve --run ID"')
    from mllock.workflows.build import build_images
    from mllock.workflows.outputs import read_outputs, send

    wanted = read_outputs(outputs, mount_from)
    ctx = app.context()
    kinds = _KINDS.get(kind or "", ())
    pushed: tuple[Sent, ...] = ()
    if wanted.registry is None:
        result = build_images(
            ctx, kinds, wanted.layout, run_id, platform=platform, explained=explain
        )
    else:
        from mllock.workflows.publish import build_to_registry

        published = build_to_registry(
            ctx,
            kinds,
            wanted.registry,
            run_id,
            wanted.mount_from,
            wanted.layout,
            platform=platform,
            explained=explain,
        )
        result, pushed = published.built, (published.sent(),)
    sent = send(ctx, wanted, result.project, [built.image for built in result.images]) + pushed
    if as_json:
        app.print_json(_document(result, sent))
    else:
        app.print(_text(result, sent))


def _text(result: BuildResult, sent: tuple[Sent, ...]) -> str:
    lines = []
    several = len(result.environments) > 1
    for platform, environment in result.environments.items():
        where = f" on {platform}" if several else ""
        lines += [f"environment{where}, the same in each image"]
        if not result.explanations:
            lines += [_layer_line(layer) for layer in environment.layers]
        lines += [f"  {environment.digest}", ""]
    explained = {(item.kind, item.platform): item for item in result.explanations}
    for kind in result.kinds:
        images = result.of(kind)
        run = f", run {images[0].run}" if images[0].run else ""
        lines += [f"{kind}{run}"]
        for built in images:
            image = built.image
            item = explained.get((kind, image.platform))
            if item is not None:
                lines += explanation_lines(item)
            elif built is images[0]:
                # What is above the environment is the same on every platform.
                own = image.layers[len(result.environments[image.platform].layers) :]
                lines += [_layer_line(layer) for layer in own]
            where = f"  {image.platform}" if several else ""
            lines += [f"  {total_line(image.layers)}", f"  {image.manifest_digest}{where}"]
        lines += [""]
    lines += [f"signed by {result.fingerprint}", f"written to oci:{result.output}"]
    lines += [line for place in sent for line in place.lines]
    return "\n".join(lines)


def _environments(result: BuildResult) -> dict[str, Any]:
    """By platform, and of the one platform under the name that it always had."""
    digests = {name: built.digest for name, built in result.environments.items()}
    alone = {"environment": next(iter(digests.values()))} if len(digests) == 1 else {}
    return {**alone, "environments": digests}


def _layer_line(layer: Layer) -> str:
    return f"  {size_text(layer.size):>9}  {layer.kind:<6}  {layer.title}"


def _document(result: BuildResult, sent: tuple[Sent, ...]) -> dict[str, Any]:
    return {
        "sent": {place.place: list(place.names) for place in sent},
        "output": f"oci:{result.output}",
        **_environments(result),
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
                "sbom": sha256_of(result.sbom_of(built)),
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
