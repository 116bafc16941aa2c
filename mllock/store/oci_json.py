"""The JSON documents of OCI as strict values: descriptors, index, manifest, config.

No IO. Accepts the part of OCI image-spec 1.1 that mllock writes and refuses everything else:
unknown keys and media types, foreign layers (`urls`), inlined `data`, indexes in an image's index,
numbers that are not integers. Each refusal is an ArchiveError with the file and the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, is_digest
from mllock.errors import ArchiveError

__all__ = ["Descriptor", "Manifest", "read_config", "read_image_index"]
__all__ += ["read_index", "read_manifest"]

MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Layers of bases from elsewhere; those of mllock are gzip.
MEDIA_TAR = "application/vnd.oci.image.layer.v1.tar"
MEDIA_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
MEDIA_EMPTY = "application/vnd.oci.empty.v1+json"
# What artifacts about images and models hold: a signed statement, a bill of materials.
MEDIA_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MEDIA_SBOM = "application/vnd.cyclonedx+json"
REF_NAME = "org.opencontainers.image.ref.name"

MAX_SIZE = 2**62
MAX_LAYERS = 1000

_INDEX = frozenset({"schemaVersion", "mediaType", "manifests", "annotations"})
_MANIFEST = frozenset(
    {"schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"}
)
_DESCRIPTOR = frozenset(
    {"mediaType", "digest", "size", "annotations", "artifactType", "platform", "data", "urls"}
)
_PLATFORM = frozenset({"os", "architecture", "variant"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """Where a blob is: its digest, size in bytes, and what it says it is."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str]
    artifact_type: str | None = None
    platform: Mapping[str, str] | None = None

    @property
    def ref(self) -> str | None:
        return self.annotations.get(REF_NAME)

    @property
    def name(self) -> str:
        """What it says it is for, e.g. "linux/arm64"; the variant is no part of it."""
        names = self.platform or {}
        return f"{names.get('os', '?')}/{names.get('architecture', '?')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """An image manifest, or an artifact if `artifact_type` or `subject` is there."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None


def read_index(value: Any, file: str) -> tuple[Descriptor, ...]:
    """The descriptors of an index.json: images, artifacts, and indexes of images. Raises
    ArchiveError."""
    return _index(value, file, (MEDIA_MANIFEST, MEDIA_INDEX))


def read_image_index(data: bytes, file: str) -> tuple[Descriptor, ...]:
    """The descriptors of an index of one image for several platforms: manifests, each with its
    platform, no platform twice. Raises ArchiveError."""
    entries = _index(_load(data, file), file, (MEDIA_MANIFEST,))
    seen = set()
    for i, entry in enumerate(entries):
        if entry.platform is None:
            raise _wrong(file, f"manifests[{i}].platform", "the platform of the image", None)
        if entry.name in seen:
            raise ArchiveError(f"two manifests for {entry.name}", file=file)
        seen.add(entry.name)
    return entries


def _index(value: Any, file: str, media_types: tuple[str, ...]) -> tuple[Descriptor, ...]:
    index = _object(value, file, "index", _INDEX)
    _version(index, file)
    _media_type(index, file, MEDIA_INDEX, required=False)
    _annotations(index, file, "annotations")
    return tuple(
        _descriptor(entry, file, f"manifests[{i}]", media_types)
        for i, entry in enumerate(_list(index, file, "manifests"))
    )


def read_manifest(
    data: bytes, file: str, *, config_types: tuple[str, ...] | None = None
) -> Manifest:
    """Read an image manifest or artifact manifest, whose config has one of `config_types` (default:
    an image's, or the empty one of an artifact). Raises ArchiveError."""
    manifest = _object(_load(data, file), file, "manifest", _MANIFEST)
    _version(manifest, file)
    _media_type(manifest, file, MEDIA_MANIFEST, required=True)
    _annotations(manifest, file, "annotations")
    artifact = manifest.get("artifactType")
    if artifact is not None and not isinstance(artifact, str):
        raise _wrong(file, "artifactType", "a string", artifact)
    is_artifact = artifact is not None or "subject" in manifest
    if config_types is None:
        config_types = (MEDIA_EMPTY,) if is_artifact else (MEDIA_CONFIG,)
    layer_types = None if is_artifact else (MEDIA_LAYER, MEDIA_TAR, MEDIA_ZSTD)
    layers = _list(manifest, file, "layers")
    if len(layers) > MAX_LAYERS:
        raise _wrong(file, "layers", f"at most {MAX_LAYERS} layers", f"{len(layers)} layers")
    return Manifest(
        config=_descriptor(manifest.get("config"), file, "config", config_types),
        layers=tuple(
            _descriptor(entry, file, f"layers[{i}]", layer_types) for i, entry in enumerate(layers)
        ),
        subject=_descriptor(manifest["subject"], file, "subject", (MEDIA_MANIFEST,))
        if "subject" in manifest
        else None,
        artifact_type=artifact,
    )


def read_config(data: bytes, file: str, layers: int) -> dict[str, Any]:
    """An image config whose rootfs lists as many diff_ids as there are layers."""
    config = _load(data, file)
    if not isinstance(config, dict):
        raise _wrong(file, "config", "an object", config)
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.keys() != {"type", "diff_ids"}:
        raise _wrong(file, "rootfs", 'an object of "type" and "diff_ids"', rootfs)
    if rootfs["type"] != "layers":
        raise _wrong(file, "rootfs.type", '"layers"', rootfs["type"])
    diff_ids = rootfs["diff_ids"]
    if not isinstance(diff_ids, list) or not all(is_digest(digest) for digest in diff_ids):
        raise _wrong(file, "rootfs.diff_ids", "a list of sha256 digests", diff_ids)
    if len(diff_ids) != layers:
        raise _wrong(file, "rootfs.diff_ids", f"{layers} digests", f"{len(diff_ids)} digests")
    return config


def _load(data: bytes, file: str) -> Any:
    try:
        return canonical.loads(data)
    except ValueError as error:
        raise ArchiveError(f"not strict JSON: {error}", file=file) from None


def _descriptor(value: Any, file: str, key: str, media_types: tuple[str, ...] | None) -> Descriptor:
    entry = _object(value, file, key, _DESCRIPTOR)
    if "urls" in entry:
        raise ArchiveError("a foreign blob, to be fetched from elsewhere", file=file, key=key)
    if "data" in entry:
        raise ArchiveError("inlined data", file=file, key=key)
    media_type, digest, size = entry.get("mediaType"), entry.get("digest"), entry.get("size")
    if not isinstance(media_type, str):
        raise _wrong(file, f"{key}.mediaType", "a string", media_type)
    if media_types is not None and media_type not in media_types:
        raise _wrong(file, f"{key}.mediaType", " or ".join(media_types), media_type)
    if not is_digest(digest):
        raise _wrong(file, f"{key}.digest", "a sha256 digest", digest)
    # bool is an int in Python, and is no size.
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise _wrong(file, f"{key}.size", "a number of bytes", size)
    artifact = entry.get("artifactType")
    if artifact is not None and not isinstance(artifact, str):
        raise _wrong(file, f"{key}.artifactType", "a string", artifact)
    return Descriptor(
        media_type=media_type,
        digest=Digest(str(digest)),
        size=size,
        annotations=_annotations(entry, file, f"{key}.annotations"),
        artifact_type=artifact,
        platform=_platform(entry["platform"], file, f"{key}.platform")
        if "platform" in entry
        else None,
    )


def _platform(value: Any, file: str, key: str) -> dict[str, str]:
    """What a descriptor says the image is for; engines choose by it."""
    platform = _object(value, file, key, _PLATFORM)
    for name in ("os", "architecture"):
        if not isinstance(platform.get(name), str) or not platform[name]:
            raise _wrong(file, f"{key}.{name}", "a name", platform.get(name))
    if not isinstance(platform.get("variant", ""), str):
        raise _wrong(file, f"{key}.variant", "a name", platform["variant"])
    return platform


def _annotations(value: dict[str, Any], file: str, key: str) -> dict[str, str]:
    annotations = value.get("annotations", {})
    if not isinstance(annotations, dict) or not all(
        isinstance(text, str) for text in annotations.values()
    ):
        raise _wrong(file, key, "an object of strings", annotations)
    return annotations


def _object(value: Any, file: str, key: str, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(file, key, "an object", value)
    for name in value:
        if name not in known:
            raise ArchiveError(f"unknown key {name!r}", file=file, key=key)
    return value


def _list(value: dict[str, Any], file: str, key: str) -> list[Any]:
    entries = value.get(key)
    if not isinstance(entries, list):
        raise _wrong(file, key, "a list", entries)
    return entries


def _version(value: dict[str, Any], file: str) -> None:
    version = value.get("schemaVersion")
    if type(version) is not int or version != 2:
        raise _wrong(file, "schemaVersion", "2", version)


def _media_type(value: dict[str, Any], file: str, expected: str, *, required: bool) -> None:
    found = value.get("mediaType", None if required else expected)
    if found != expected:
        raise _wrong(file, "mediaType", expected, found)


def _wrong(file: str, key: str, expected: str, found: object) -> ArchiveError:
    return ArchiveError(
        "not as expected", file=file, key=key, expected=expected, found=_short(found)
    )


def _short(value: object) -> str:
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
