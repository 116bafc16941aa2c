"""Small things to push and read: an opened registry with short waits, images by hand."""

from __future__ import annotations

from collections.abc import Mapping

from mllock.core.digest import Digest
from mllock.store.oci_json import Descriptor
from mllock.store.registry.client import Registry
from mllock.store.registry.limits import Limits
from mllock.store.registry.reference import parse_reference
from mllock.store.registry.upload import BlobSource, push_blob, push_manifest
from support.layers import CONFIG, LAYER, MANIFEST, compact, sha

QUICK = Limits(connect=2.0, read=0.5, retries=2, backoff=0.01, max_wait=0.05, grace=10.0)


def opened(
    reference: str, environ: Mapping[str, str] | None = None, limits: Limits = QUICK
) -> Registry:
    return Registry(parse_reference(reference), environ or {}, limits)


def descriptor(data: bytes, media_type: str = LAYER) -> Descriptor:
    return Descriptor(
        media_type=media_type, digest=Digest(sha(data)), size=len(data), annotations={}
    )


def image_by_hand(layers: list[bytes]) -> tuple[bytes, bytes]:
    """(config, manifest) of an image whose layers need not be any."""
    config = compact({"architecture": "amd64", "os": "linux", "rootfs": {}})

    def entry(data: bytes, media_type: str) -> dict:
        return {"mediaType": media_type, "digest": sha(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": entry(config, CONFIG),
        "layers": [entry(data, LAYER) for data in layers],
    }
    return config, compact(manifest)


def push_by_hand(registry: Registry, layers: list[bytes], tag: str) -> str:
    config, manifest = image_by_hand(layers)
    for data in (config, *layers):
        push_blob(registry, BlobSource.of_bytes(data))
    push_manifest(registry, manifest, MANIFEST, tag)
    return sha(manifest)
