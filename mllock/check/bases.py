"""Layers of a base image, which any tool may have written: which ones these are, and no others.

An image says itself how many of its layers are a base's own (a label). That is a hint, by which
they are read: as engines read them, with the reason why the strict reader would refuse. Whether it
is right is decided here, by the lock that the record names: `settled` makes a layer that is read
loosely and is not in the place of the locked base's a problem, as if it had been read strictly. An
environment that an engine's own builder made is like a base: its layers are those of the record.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mllock.check.document import document_of
from mllock.check.evidence import ImageFacts, LayerSeen, LockFound, Problem
from mllock.core.platform import KNOWN
from mllock.image.types import BASE_LAYERS_LABEL
from mllock.train.record import Record

__all__ = ["base_diff_ids", "hinted", "settled", "unless_base"]


def hinted(config: Mapping[str, Any]) -> int:
    """How many layers the config of an image says are a base's own; 0 where it does not."""
    value: object = config
    for key in ("config", "Labels", BASE_LAYERS_LABEL):
        value = value.get(key) if isinstance(value, dict) else None
    right = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 5
    return int(str(value)) if right else 0


def base_diff_ids(
    locks: Sequence[LockFound], record: Record | None, config: Mapping[str, Any]
) -> tuple[str, ...]:
    """The diff_ids of the base's own layers by the lock that the record names, bottom up."""
    if record is None:
        return ()
    platform = f"{config.get('os')}/{config.get('architecture')}"
    for found in locks:
        lock = found.lock
        if lock is not None and lock.content_digest == record.lock_content and platform in KNOWN:
            image = lock.base.on(platform)
            return () if image is None else tuple(layer.diff_id for layer in image.layers)
    return ()


def _loose(
    locks: Sequence[LockFound], record: Record | None, config: Mapping[str, Any]
) -> tuple[str, ...]:
    """The diff_ids of layers, bottom up, that others than mllock have written: a base's own; with
    `[builder] kind = "docker"` all of the environment that the record, which is signed, names."""
    if record is not None:
        for found in locks:
            lock = found.lock
            if lock is not None and lock.content_digest == record.lock_content:
                document = document_of(record)
                if lock.inputs.builder.get("kind") == "docker" and document is not None:
                    return document.diff_ids
    return base_diff_ids(locks, record, config)


def unless_base(layer: LayerSeen, mine: bool) -> LayerSeen:
    """`layer`, with a problem if it was read loosely and is not a base's (`mine`)."""
    if mine or layer.contents is None or layer.contents.loose is None:
        return layer
    problem = Problem(path=layer.name, reason=layer.contents.loose)
    return replace(layer, contents=None, problem=problem)


def settled(image: ImageFacts, locks: Sequence[LockFound], record: Record | None) -> ImageFacts:
    """`image`, with only the layers of the base that the record's lock names read as a base's, and
    those that its builder made."""
    count = len(_loose(locks, record, image.config))
    # One in a base's place that is another layer is not what was signed: its diff_id says so.
    layers = tuple(unless_base(layer, number < count) for number, layer in enumerate(image.layers))
    if layers == image.layers:
        return image
    return replace(image, layers=layers, merged={})
