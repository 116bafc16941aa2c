"""The documents of images that others made: index, manifest and config, of OCI's or Docker's types.

`mllock.store.oci_json` accepts what mllock writes. Here are bases: any tool may have made them, so
keys that are not known are passed over, as OCI image-spec 1.1 asks of readers. What is used is read
as strictly as ever: strict JSON, digests, sizes, media types that are known. Foreign layers, which
lie elsewhere than in the registry, are refused. No IO. Each refusal is an ArchiveError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mllock.core import canonical
from mllock.core.digest import Digest, is_digest
from mllock.errors import ArchiveError
from mllock.store.oci_json import (
    MAX_LAYERS,
    MAX_SIZE,
    MEDIA_CONFIG,
    MEDIA_INDEX,
    MEDIA_LAYER,
    MEDIA_MANIFEST,
    MEDIA_TAR,
    MEDIA_ZSTD,
    Descriptor,
    read_config,
)

__all__ = [
    "INDEXES",
    "MANIFESTS",
    "OCI_TYPE",
    "BaseConfig",
    "BaseManifest",
    "Packing",
    "base_config",
    "base_index",
    "base_manifest",
    "image_manifest",
    "packing_of",
]

Packing = Literal["gzip", "zstd", "none"]

_DOCKER = "application/vnd.docker."
MANIFESTS = (MEDIA_MANIFEST, f"{_DOCKER}distribution.manifest.v2+json")
INDEXES = (MEDIA_INDEX, f"{_DOCKER}distribution.manifest.list.v2+json")
_CONFIGS = (MEDIA_CONFIG, f"{_DOCKER}container.image.v1+json")
# What a layer of each type is called in a manifest of OCI's: the same bytes.
OCI_TYPE = {
    MEDIA_LAYER: MEDIA_LAYER,
    MEDIA_TAR: MEDIA_TAR,
    MEDIA_ZSTD: MEDIA_ZSTD,
    f"{_DOCKER}image.rootfs.diff.tar.gzip": MEDIA_LAYER,
    f"{_DOCKER}image.rootfs.diff.tar.zstd": MEDIA_ZSTD,
    f"{_DOCKER}image.rootfs.diff.tar": MEDIA_TAR,
}
_FOREIGN = (".nondistributable.", ".foreign.")
_PACKING: dict[str, Packing] = {MEDIA_LAYER: "gzip", MEDIA_ZSTD: "zstd", MEDIA_TAR: "none"}


def packing_of(media_type: str) -> Packing:
    """How a layer of this type is compressed. Law: the type is one of `OCI_TYPE`'s values."""
    return _PACKING[media_type]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseManifest:
    """An image manifest; the types of `layers` are those of the document, all in `OCI_TYPE`."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseConfig:
    """What of an image config is used: `platform` is "os/architecture", `variables` its `Env`,
    `history` its entries as they are."""

    platform: str
    variant: str
    variables: Mapping[str, str]
    diff_ids: tuple[Digest, ...]
    history: tuple[Mapping[str, Any], ...]


def base_index(data: bytes, file: str) -> tuple[Descriptor, ...]:
    """The images and indexes of an index, in order; with their platforms where they have one."""
    value = _object(_load(data, file), file, "the index")
    entries = value.get("manifests")
    if not isinstance(entries, list) or len(entries) > MAX_LAYERS:
        raise _wrong(file, "manifests", f"a list of at most {MAX_LAYERS}", entries)
    return tuple(
        _descriptor(entry, file, f"manifests[{number}]")
        for number, entry in enumerate(entries)
        if isinstance(entry, dict) and entry.get("mediaType") in (*MANIFESTS, *INDEXES)
    )


def base_manifest(data: bytes, file: str) -> BaseManifest:
    value = _object(_load(data, file), file, "the manifest")
    if value.get("schemaVersion") != 2:
        raise _wrong(file, "schemaVersion", "2", value.get("schemaVersion"))
    media_type = value.get("mediaType", MEDIA_MANIFEST)
    if media_type not in MANIFESTS:
        raise _wrong(file, "mediaType", " or ".join(MANIFESTS), media_type)
    config = _descriptor(value.get("config"), file, "config")
    if config.media_type not in _CONFIGS or value.get("artifactType") is not None:
        kind = value.get("artifactType") or config.media_type
        raise ArchiveError("an artifact, expected an image", file=file, found=str(kind)[:200])
    layers = value.get("layers")
    if not isinstance(layers, list) or not 0 < len(layers) <= MAX_LAYERS:
        raise _wrong(file, "layers", f"1 to {MAX_LAYERS} layers", layers)
    return BaseManifest(
        config=config,
        layers=tuple(_layer(entry, file, f"layers[{n}]") for n, entry in enumerate(layers)),
    )


def image_manifest(data: bytes, file: str) -> BaseManifest:
    """The same, with the types of layers as OCI calls them."""
    manifest = base_manifest(data, file)
    layers = [replace(layer, media_type=OCI_TYPE[layer.media_type]) for layer in manifest.layers]
    return replace(manifest, layers=tuple(layers))


def base_config(data: bytes, file: str, layers: int) -> BaseConfig:
    """The config of an image with this many layers."""
    value = read_config(data, file, layers)
    names = {key: value.get(key, "") for key in ("os", "architecture", "variant")}
    for key, name in names.items():
        if not isinstance(name, str):
            raise _wrong(file, key, "a name", name)
    runtime = value.get("config") or {}
    if not isinstance(runtime, dict):
        raise _wrong(file, "config", "an object", runtime)
    return BaseConfig(
        platform=f"{names['os']}/{names['architecture']}",
        variant=names["variant"],
        variables=_variables(runtime.get("Env"), file),
        diff_ids=tuple(value["rootfs"]["diff_ids"]),
        history=_history(value.get("history"), file, layers),
    )


def _variables(listed: object, file: str) -> dict[str, str]:
    entries = [] if listed is None else listed
    if not isinstance(entries, list):
        raise _wrong(file, "config.Env", "a list", entries)
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, text = str(entry).partition("=")
        if not isinstance(entry, str) or not name or not equals or name in found or "\0" in entry:
            raise _wrong(file, "config.Env", "NAME=VALUE, each name once", entry)
        found[name] = text
    return found


def _history(listed: object, file: str, layers: int) -> tuple[Mapping[str, Any], ...]:
    """OCI image-spec, config.md: an entry for each layer, others are marked as empty. Tools that
    squash leave it out, or do not count: then there is nothing that could be kept."""
    entries = [] if listed is None else listed
    if not isinstance(entries, list) or len(entries) > 2 * MAX_LAYERS:
        raise _wrong(file, "history", "a list", entries)
    if not all(isinstance(entry, dict) for entry in entries):
        raise _wrong(file, "history", "a list of objects", entries)
    filled = sum(not entry.get("empty_layer", False) for entry in entries)
    return tuple(entries) if filled == layers else ()


def _layer(value: object, file: str, key: str) -> Descriptor:
    entry = _object(value, file, key)
    media_type = entry.get("mediaType")
    foreign = isinstance(media_type, str) and any(word in media_type for word in _FOREIGN)
    if foreign or entry.get("urls"):
        raise ArchiveError(
            "a foreign layer, to be fetched from elsewhere than the registry",
            file=file,
            key=key,
            hint="take a base whose layers may be distributed",
        )
    if media_type not in OCI_TYPE:
        raise _wrong(file, f"{key}.mediaType", "a tar, plain or with gzip or zstd", media_type)
    return _descriptor(entry, file, key)


def _descriptor(value: object, file: str, key: str) -> Descriptor:
    entry = _object(value, file, key)
    media_type, digest, size = entry.get("mediaType"), entry.get("digest"), entry.get("size")
    if not isinstance(media_type, str):
        raise _wrong(file, f"{key}.mediaType", "a string", media_type)
    if not is_digest(digest):
        raise _wrong(file, f"{key}.digest", "a sha256 digest", digest)
    # bool is an int in Python, and is no size.
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise _wrong(file, f"{key}.size", "a number of bytes", size)
    annotations = entry.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise _wrong(file, f"{key}.annotations", "an object", annotations)
    platform = entry.get("platform")
    return Descriptor(
        media_type=media_type,
        digest=Digest(str(digest)),
        size=size,
        annotations={k: v for k, v in annotations.items() if isinstance(v, str)},
        platform=_platform(platform) if isinstance(platform, dict) else None,
    )


def _platform(value: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value.get(key, "")) for key in ("os", "architecture", "variant")}


def _load(data: bytes, file: str) -> Any:
    try:
        return canonical.loads(data)
    except ValueError as error:
        raise ArchiveError(f"not strict JSON: {error}", file=file) from None


def _object(value: object, file: str, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(file, key, "an object", value)
    return value


def _wrong(file: str, key: str, expected: str, found: object) -> ArchiveError:
    text = found if isinstance(found, str) and found.isprintable() else repr(found)
    return ArchiveError("not as expected", file=file, key=key, expected=expected, found=text[:120])
