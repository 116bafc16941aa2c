"""What `mllock build --output registry:...` does after building: the images of the project's layout
go to a registry, with their statements.

The registry is asked before anything is built, so that a wrong name or password costs no minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock.core.digest import Digest, sha256_of
from mllock.errors import InputError
from mllock.image.types import ImageKind
from mllock.store.image_index import image_index
from mllock.store.layout_reader import open_layout
from mllock.store.registry.client import Registry
from mllock.store.registry.images import graph_of, push_graphs
from mllock.store.registry.reference import Reference, is_tag
from mllock.store.registry.transfer import Pushed
from mllock.workflows.build import BuildResult, build_images
from mllock.workflows.context import Context
from mllock.workflows.outputs import Sent

__all__ = ["Published", "build_to_registry", "tag_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What was built, where each image is now under which digest (of its manifest, or of its index
    for several platforms), and what had to be sent."""

    built: BuildResult
    images: dict[str, Reference]
    digests: dict[str, Digest]
    pushed: Pushed

    def sent(self) -> Sent:
        names = tuple(f"{self.images[kind]}@{self.digests[kind]}" for kind in self.built.kinds)
        return Sent(place="registry", names=names, lines=tuple(f"pushed {n}" for n in names))


def build_to_registry(
    ctx: Context,
    kinds: Sequence[ImageKind],
    reference: Reference,
    run_id: str | None = None,
    mount_from: str | None = None,
    output: Path | None = None,
    *,
    platform: str | None = None,
    explained: bool = False,
) -> Published:
    """Build `kinds`, for `platform` or all of the lock, into `output` (default: the project's own
    layout), and push them.

    Raises what building raises, SurroundingsError, IntegrityError."""
    wanted: tuple[ImageKind, ...] = tuple(kinds) or ("train", "serve")
    names = {kind: tag_of(reference, kind, alone=len(wanted) == 1) for kind in wanted}
    with Registry(reference, ctx.environ) as registry:
        registry.greet()
        built = build_images(ctx, kinds, output, run_id, platform=platform, explained=explained)
        layout = open_layout(built.output)
        graphs = tuple(
            graph_of(layout, image) for kind in built.kinds for image in layout.images(kind)
        )
        indexes: dict[Digest, bytes] = {}
        digests: dict[str, Digest] = {}
        for kind in built.kinds:
            images = [b.image for b in built.of(kind)]
            digests[kind] = images[0].manifest_digest
            if len(images) > 1:
                index = image_index(images)
                digests[kind] = sha256_of(index)
                indexes[digests[kind]] = index
        tags: dict[str, Digest] = {names[kind]: digests[kind] for kind in built.kinds}
        pushed = push_graphs(registry, graphs, tags, ctx.reporter, mount_from, indexes)
    return Published(
        built=built,
        images={kind: reference.tagged(names[kind]) for kind in built.kinds},
        digests=digests,
        pushed=pushed,
    )


def tag_of(reference: Reference, kind: str, *, alone: bool) -> str:
    """The tag of an image: TAG where one kind was asked for, TAG-KIND where both were, KIND where
    the reference has none. Raises InputError if the reference is a digest."""
    if reference.digest is not None:
        raise InputError(
            "an image cannot be put under a digest",
            file=str(reference),
            hint="give a tag, or nothing",
        )
    if reference.tag is None:
        return kind
    tag = reference.tag if alone else f"{reference.tag}-{kind}"
    if not is_tag(tag):
        raise InputError("the tag is too long", file=str(reference), found=tag)
    return tag
