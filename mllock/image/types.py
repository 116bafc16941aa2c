"""The values of the image room: file trees, layers, plans, images. All frozen, none does IO.

A layer's content is a `Tree` of nodes (what a tar will hold) resolved before any byte is written;
a `Layer` is the finished thing, known by two digests: `diff_id` of the uncompressed tar (OCI
image-spec, layer.md) and `digest` of the compressed blob. An `ImagePlan` says what goes into an
image; an `Image` is what came out. The bytes are specified in docs/reference/builder-format.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mllock.core.digest import Digest
from mllock.image.builder_format import BUILDER_FORMAT

__all__ = [
    "BASE_LAYERS_LABEL",
    "BUILDER_FORMAT",
    "Image",
    "ImageConfig",
    "ImageKind",
    "ImagePlan",
    "Layer",
    "LayerKind",
]

MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"

# How many layers, from the bottom, are a base's own, which any tool may have written. A hint: it
# decides how they are read, never whether they are right.
BASE_LAYERS_LABEL = "mllock.base-layers"

ImageKind = Literal["train", "serve"]
LayerKind = Literal["base", "system", "python", "bytecode", "code", "model", "record"]

# The layers that make up the environment: what train and serve must share byte for byte.
ENVIRONMENT_KINDS: tuple[LayerKind, ...] = ("base", "system", "python", "bytecode")


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A finished layer; its blob is in the store. `size` is of the blob, `unpacked` of the tar."""

    kind: LayerKind
    title: str
    digest: Digest
    diff_id: Digest
    size: int
    unpacked: int
    media_type: str = MEDIA_LAYER


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig:
    """What a runtime reads: the part of the OCI config that is not layers and history. `health`
    is the command of a health check, where there is one."""

    command: tuple[str, ...]
    variables: Mapping[str, str]
    user: str = "10001:10001"
    workdir: str = "/app"
    port: int | None = None
    health: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlan:
    """What to assemble: finished layers, bottom up, and the configuration. `history` is that of a
    base image, for its layers, which come first."""

    kind: ImageKind
    platform: str
    layers: tuple[Layer, ...]
    config: ImageConfig
    history: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image as bytes: what an OCI layout, archive or registry is given."""

    kind: ImageKind
    platform: str
    layers: tuple[Layer, ...]
    config: bytes
    config_digest: Digest
    manifest: bytes
    manifest_digest: Digest
    environment: Digest
