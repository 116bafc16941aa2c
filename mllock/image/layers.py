"""Finished layers, kept in the cache: nodes in, blob and both digests out, once for each key.

A key is everything that the bytes depend on: digests of packages, prefix, Python version, builder
format. Nothing else may change the bytes, and nothing else belongs in a key. The entry under
`layers` says which blob a key gave; it counts only if this user wrote it (`mllock.store.own`), for
no digest of the lock is behind it. The blob is hashed unless it is known (`Cache.unchanged`), and
one that is damaged or gone is made again. Titles are for people and are not part of a key.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from mllock.core import canonical
from mllock.core.digest import hex_of, parse_digest, sha256_of
from mllock.image.gzip import LEVEL, GzipSink
from mllock.image.tar import write_tar
from mllock.image.tree import Node
from mllock.image.types import BUILDER_FORMAT, Layer, LayerKind
from mllock.store import atomic
from mllock.store.cache import Cache
from mllock.store.own import read_own

__all__ = [
    "cached_layer",
    "find_layer",
    "find_layers",
    "keep_layer",
    "make_layer",
    "recall",
    "remember",
]

MAX_ENTRY = 1024 * 1024
# Of a Python layer nearly all bytes are a wheel's own; what is left is quick rather than small.
_LEVELS: Mapping[LayerKind, int] = {"python": 1}


def make_layer(
    cache: Cache,
    kind: LayerKind,
    title: str,
    nodes: Iterable[Node],
    pool: Executor | None = None,
) -> Layer:
    """Write one layer to the blob store. Raises ArchiveError, IntegrityError, SurroundingsError."""
    with cache.writer() as blob:
        sink = GzipSink(blob, pool, level=_LEVELS.get(kind, LEVEL))
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
    keep_layer(cache, key, layer)
    return layer


def keep_layer(cache: Cache, key: Mapping[str, Any], layer: Layer) -> None:
    """Remember that `key` gives this layer, whose blob is in the cache."""
    remember(cache, layer.kind, key, dataclasses.asdict(layer) | {"title": ""})


def find_layer(cache: Cache, kind: LayerKind, title: str, key: Mapping[str, Any]) -> Layer | None:
    """The layer that was made from `key` before, its blob hashed, now or before; or None."""
    (found,) = find_layers(cache, [(kind, title, key)])
    return found


def find_layers(
    cache: Cache, wanted: Iterable[tuple[LayerKind, str, Mapping[str, Any]]]
) -> list[Layer | None]:
    """The same for several (kind, title, key): what is to be hashed is, with all cores."""
    noted = [_noted(cache, kind, title, key) for kind, title, key in wanted]
    blobs = cache.unchanged(layer.digest for layer in noted if layer is not None)
    return [
        layer
        if layer is not None
        and (blob := blobs[layer.digest]) is not None
        and blob.stat().st_size == layer.size
        else None
        for layer in noted
    ]


def _noted(cache: Cache, kind: LayerKind, title: str, key: Mapping[str, Any]) -> Layer | None:
    try:
        raw = recall(cache, kind, key)
        if raw is None:
            return None
        return Layer(
            kind=kind,
            title=title,
            digest=parse_digest(raw["digest"]),
            diff_id=parse_digest(raw["diff_id"]),
            size=int(raw["size"]),
            unpacked=int(raw["unpacked"]),
            media_type=str(raw["media_type"]),
        )
    except (ValueError, KeyError, TypeError):
        # An entry that cannot be read is as good as none: the layer is made again.
        return None


def recall(cache: Cache, what: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `remember` was given with these before; None if nothing was, or it cannot be read."""
    full = _full(what, key)
    data = read_own(cache.folder("layers") / _name(full), MAX_ENTRY)
    # Canonical JSON: a key is written in one way only.
    begin = b'{"key":' + full + b',"value":'
    if data is None or not data.startswith(begin) or not data.endswith(b"}"):
        return None
    try:
        value = canonical.loads(data[len(begin) : -1])
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def remember(cache: Cache, what: str, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
    """Keep a small JSON `value` that follows from `key`, for this user."""
    full = _full(what, key)
    data = b'{"key":' + full + b',"value":' + canonical.dumps(value) + b"}"
    atomic.write_bytes(cache.folder("layers") / _name(full), data)


def _full(what: str, key: Mapping[str, Any]) -> bytes:
    return canonical.dumps({"kind": what, "builder-format": BUILDER_FORMAT, **key})


def _name(full: bytes) -> str:
    # Users of one cache have entries of their own, and do not take turns replacing them.
    return f"{hex_of(sha256_of(full))}-{os.geteuid()}.json"
