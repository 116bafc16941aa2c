"""The index of one image for several platforms, and entries of indexes, as bytes. Pure.

OCI image-spec, image-index.md. Not for `index.json` of a layout, and not for the index of a shared
run (`mllock.store.registry.share`). Entries are sorted by architecture; nothing but digests, sizes
and platforms is in it, so that the same images give the same index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mllock.core import canonical
from mllock.core.digest import Digest
from mllock.core.platform import KNOWN
from mllock.store.oci_json import MEDIA_INDEX, MEDIA_MANIFEST, Descriptor

__all__ = ["ImageBlobs", "LayerBlob", "image_entry", "image_index", "plain_entry"]


class LayerBlob(Protocol):
    @property
    def digest(self) -> Digest: ...


class ImageBlobs(Protocol):
    """What a layout needs of an image; `mllock.image.types.Image` is one."""

    @property
    def platform(self) -> str: ...
    @property
    def layers(self) -> Sequence[LayerBlob]: ...
    @property
    def config(self) -> bytes: ...
    @property
    def manifest(self) -> bytes: ...
    @property
    def manifest_digest(self) -> Digest: ...


def image_index(images: Sequence[ImageBlobs]) -> bytes:
    """The index of one image for several platforms: docs/reference/builder-format.md."""
    entries = sorted((image_entry(image) for image in images), key=lambda entry: entry["digest"])
    entries.sort(key=lambda entry: entry["platform"]["architecture"])
    return canonical.dumps({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": entries})


def image_entry(image: ImageBlobs) -> dict[str, Any]:
    platform = KNOWN[image.platform]
    names = {"os": platform.os, "architecture": platform.architecture}
    if platform.variant:
        names["variant"] = platform.variant
    return {
        "mediaType": MEDIA_MANIFEST,
        "digest": image.manifest_digest,
        "size": len(image.manifest),
        "platform": names,
    }


def plain_entry(descriptor: Descriptor) -> dict[str, Any]:
    """An entry that was read, as it is written again."""
    entry: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.annotations:
        entry["annotations"] = dict(descriptor.annotations)
    if descriptor.artifact_type is not None:
        entry["artifactType"] = descriptor.artifact_type
    if descriptor.platform is not None:
        entry["platform"] = dict(descriptor.platform)
    return entry
