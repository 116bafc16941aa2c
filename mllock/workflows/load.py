"""Putting an image into the engine: only the layers that it lacks, then a look at what it took.

A classic store shares layers by their chain (the diff_ids from the bottom up), so an archive may
leave out every layer below the first new one. If an image is removed in between, the engine says
that a layer is missing; then the whole archive is sent, as it is to every other kind of store.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from mllock.core.digest import Digest
from mllock.engine.ports import Engine
from mllock.engine.types import EngineImage
from mllock.errors import EngineError, IntegrityError
from mllock.image.types import Image
from mllock.store.docker_archive import docker_archive
from mllock.workflows.context import Context

__all__ = ["image_id", "load_image"]


# How long an engine may make an image of what it was sent, in seconds.
_MAKING = 30.0
# Bytes that are sent sooner than an engine with many images is asked for each of them.
_LITTLE = 256 * 1024


def load_image(ctx: Context, engine: Engine, image: Image, tags: Sequence[str]) -> EngineImage:
    """`image` in the engine under `tags`, and nothing else under them; as the engine has it.

    Raises EngineError; IntegrityError if what the engine then has is not this image.
    """
    present = engine.image(image_id(engine, image))
    if present is None:
        _send(ctx, engine, image, tags)
        present = engine.image(image_id(engine, image))
    if present is None:
        raise IntegrityError(
            "the container engine took the image and does not have it",
            expected=image_id(engine, image),
            hint='see "docker images"',
        )
    wanted = tuple(layer.diff_id for layer in image.layers)
    if present.diff_ids != wanted:
        raise IntegrityError(
            "the container engine has other layers under the image's id",
            file=present.id,
            expected=", ".join(wanted),
            found=", ".join(present.diff_ids),
        )
    for tag in tags:
        if tag not in present.tags:
            engine.tag(present.id, tag)
    return present


def image_id(engine: Engine, image: Image) -> Digest:
    return image.manifest_digest if engine.info.image_is_manifest else image.config_digest


def _send(ctx: Context, engine: Engine, image: Image, tags: Sequence[str]) -> None:
    classic = not engine.info.image_is_manifest
    without = _shared(engine, image, tags) if classic else ()
    unsent = sum(layer.diff_id in without for layer in image.layers)
    ctx.reporter.step(
        f"loading {tags[0] if tags else image.kind} into {engine.info.name}: "
        f"{len(image.layers) - unsent} of {len(image.layers)} layers are new"
    )
    try:
        _load(engine, image, docker_archive(image, tags, ctx.cache, without, classic=classic))
    except EngineError:
        if not without:
            raise
        _load(engine, image, docker_archive(image, tags, ctx.cache, classic=classic))


def _load(engine: Engine, image: Image, archive: Iterator[bytes]) -> None:
    """Interrupted when all was sent, it ends when the engine has the image: which it goes on making
    with nobody listening, so that whoever is to remove the image would look too early."""
    sent = False

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        yield from archive
        sent = True

    try:
        engine.load(chunks())
    except KeyboardInterrupt:
        give_up = time.monotonic() + _MAKING
        while sent and time.monotonic() < give_up and engine.image(image_id(engine, image)) is None:
            time.sleep(0.1)
        raise


def _shared(engine: Engine, image: Image, tags: Sequence[str]) -> Collection[Digest]:
    """The diff_ids of the longest beginning of the image's layers that the engine has.

    What the tags named before is asked for first: it usually lacks what was changed, and no more.
    """
    wanted = [layer.diff_id for layer in image.layers]
    longest = 0
    before = (engine.image(tag) for tag in tags)
    for other in chain(before, engine.images()):
        same = 0
        for ours, theirs in zip(wanted, () if other is None else other.diff_ids, strict=False):
            if ours != theirs:
                break
            same += 1
        longest = max(longest, same)
        if longest and sum(layer.size for layer in image.layers[longest:]) <= _LITTLE:
            break
    shared = frozenset(wanted[:longest])
    # A layer that comes twice, once above the shared ones, has to be there.
    return shared - frozenset(wanted[longest:])
