"""The layers of a base image, as they are: fetched by digest, read once, never rewritten.

A layer of the base goes into our images byte for byte, under the digest that its registry has, so
that engines and registries which have the base have these layers. Reading one once proves that its
diff_id is the locked one; that is remembered, and the blob is hashed whenever it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from mllock.core.digest import Digest
from mllock.core.ports import Reporter
from mllock.errors import IntegrityError
from mllock.image.base_resolve import blobs_of, layer_blobs
from mllock.image.base_tree import open_tree
from mllock.image.layers import cached_layer, find_layer, keep_layer
from mllock.image.resolve import refuse_reserved
from mllock.image.types import Layer
from mllock.lock.types import BaseLayer, BasePlatform, DebianPackage, Lock
from mllock.store.cache import Cache
from mllock.store.oci_json import Descriptor
from mllock.store.other_json import OCI_TYPE, base_config

__all__ = ["base_history", "base_layers", "system_layer"]

Fetch = Callable[[Sequence[Descriptor]], None]


def base_layers(
    lock: Lock, image: BasePlatform, fetch: Fetch, cache: Cache, reporter: Reporter
) -> tuple[Layer, ...]:
    """The layers, bottom up, blobs in the cache. Raises ArchiveError, and what `fetch` raises."""
    total = len(image.layers)
    titles = [f"{lock.base.reference} ({n} of {total})" for n in range(1, total + 1)]
    known = [
        find_layer(cache, "base", title, _key(layer))
        for title, layer in zip(titles, image.layers, strict=True)
    ]
    found = tuple(layer for layer in known if layer is not None)
    if len(found) == total:
        return found
    reporter.step(f"looking into {lock.base.reference}")
    fetch(blobs_of(image))
    tree = open_tree(cache, layer_blobs(image))
    made = []
    for title, layer, unpacked in zip(titles, image.layers, tree.unpacked, strict=True):
        made.append(
            Layer(
                kind="base",
                title=title,
                digest=Digest(layer.digest),
                diff_id=Digest(layer.diff_id),
                size=layer.size,
                unpacked=unpacked,
                media_type=OCI_TYPE[layer.type],
            )
        )
        keep_layer(cache, _key(layer), made[-1])
    return tuple(made)


def _key(layer: BaseLayer) -> dict[str, Any]:
    return {
        "layer": layer.digest,
        "diff-id": layer.diff_id,
        "size": layer.size,
        "type": layer.type,
    }


def system_layer(
    system: Sequence[DebianPackage],
    image: BasePlatform,
    debs: Callable[[Sequence[DebianPackage]], Mapping[str, Path]],
    cache: Cache,
    reporter: Reporter,
    pool: Executor,
) -> Layer:
    """The layer of Debian packages above the base, whose layers are in the cache."""
    title = ", ".join(deb.name for deb in system)
    key = {
        "base": [layer.diff_id for layer in image.layers],
        "system": [f"sha256:{deb.sha256}" for deb in system],
    }
    found = find_layer(cache, "system", title, key)
    if found is not None:
        return found
    from mllock.image.base_system import nodes_above

    reporter.step(f"putting {len(system)} Debian packages above the base")
    files = debs(system)
    nodes = nodes_above(
        open_tree(cache, layer_blobs(image)),
        [(deb, files[deb.filename]) for deb in system],
        cache.folder("tmp"),
    )
    refuse_reserved(nodes)
    return cached_layer(cache, "system", title, key, lambda: nodes, pool)


def base_history(image: BasePlatform, fetch: Fetch, cache: Cache) -> tuple[Mapping[str, Any], ...]:
    """The history of the base's config, entry by entry. Raises IntegrityError."""
    path = cache.get(Digest(image.config))
    if path is None:
        fetch(blobs_of(image)[:1])
        path = cache.get(Digest(image.config))
    if path is None:
        raise IntegrityError("fetched, and not in the cache any more", file=image.config)
    return base_config(path.read_bytes(), image.config, len(image.layers)).history
