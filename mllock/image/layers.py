"""Finished layers, kept in the cache: nodes in, blob and both digests out, once for each key.

A key is everything that the bytes depend on: digests of packages, prefix, Python version, builder
format. Nothing else may change the bytes, and nothing else belongs in a key. The entry under
`layers` says which blob a key gave; the blob is hashed when it is used, and one that is damaged or
gone is made again. Titles are for people and are not part of a key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from mllock import __version__
from mllock.core import canonical
from mllock.core.digest import hex_of, parse_digest
from mllock.image.gzip import GzipSink
from mllock.image.tar import write_tar
from mllock.image.tree import Node
from mllock.image.types import BUILDER_FORMAT, Layer, LayerKind
from mllock.store import atomic
from mllock.store.cache import Cache

__all__ = ["cached_layer", "find_layer", "make_layer"]

MAX_ENTRY = 1024 * 1024


def make_layer(
    cache: Cache,
    kind: LayerKind,
    title: str,
    nodes: Iterable[Node],
    pool: Executor | None = None,
) -> Layer:
    """Write one layer to the blob store. Raises ArchiveError, IntegrityError, SurroundingsError."""
    with cache.writer() as blob:
        sink = GzipSink(blob, pool)
        write_tar(nodes, sink)
        written = sink.finish()
        digest = blob.commit()
    return Layer(
        kind=kind,
        title=title,
        digest=digest,
        diff_id=written.diff_id,
        size=written.size,
        unpacked=written.unpacked,
    )


def cached_layer(
    cache: Cache,
    kind: LayerKind,
    title: str,
    key: Mapping[str, Any],
    nodes: Callable[[], Iterable[Node]],
    pool: Executor | None = None,
) -> Layer:
    """The layer of `key`, made from `nodes()` if the cache does not have it."""
    found = find_layer(cache, kind, title, key)
    if found is not None:
        return found
    layer = make_layer(cache, kind, title, nodes(), pool)
    entry = {"key": _full(kind, key), "layer": dataclasses.asdict(layer) | {"title": ""}}
    path = cache.folder("layers") / _name(kind, key)
    atomic.write_bytes(path, canonical.dumps(entry))
    return layer


def find_layer(cache: Cache, kind: LayerKind, title: str, key: Mapping[str, Any]) -> Layer | None:
    """The layer that was made from `key` before, its blob verified now; or None."""
    path = cache.folder("layers") / _name(kind, key)
    try:
        with path.open("rb") as file:
            entry = canonical.loads(file.read(MAX_ENTRY + 1), max_bytes=MAX_ENTRY)
        if entry["key"] != canonical.loads(canonical.dumps(_full(kind, key))):
            return None
        raw = entry["layer"]
        layer = Layer(
            kind=kind,
            title=title,
            digest=parse_digest(raw["digest"]),
            diff_id=parse_digest(raw["diff_id"]),
            size=int(raw["size"]),
            unpacked=int(raw["unpacked"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # An entry that cannot be read is as good as none: the layer is made again.
        return None
    blob = cache.get(layer.digest)
    if blob is None or blob.stat().st_size != layer.size:
        return None
    return layer


def _full(kind: LayerKind, key: Mapping[str, Any]) -> dict[str, Any]:
    # Until builder format 1 the bytes may change with every version.
    return {"kind": kind, "builder-format": BUILDER_FORMAT, "mllock": __version__, **key}


def _name(kind: LayerKind, key: Mapping[str, Any]) -> str:
    return f"{hex_of(canonical.digest_of(_full(kind, key)))}.json"
