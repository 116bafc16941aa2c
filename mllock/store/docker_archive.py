"""Writing images as one tar that both kinds of engine take: docker-archive and OCI layout in one.

`docker load` of every version reads `manifest.json` (classic stores), engines with a containerd
store, podman and skopeo may read `oci-layout` and `index.json` instead; both name the same blobs.
Layers that the engine has already can be left out: a classic store looks at a layer's bytes only
if it has no layer of that chain. Then the archive is a docker-archive only, because a layout with
blobs missing would be a damaged one. Streams; holds one chunk at a time.
Source: OCI image-spec 1.1 image-layout.md; moby image/tarexport/load.go (engine 20.10 and later).
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mllock.core import canonical
from mllock.core.digest import Digest, hex_of
from mllock.core.platform import KNOWN
from mllock.core.ports import Blobs
from mllock.errors import IntegrityError
from mllock.store.oci_json import MEDIA_INDEX, MEDIA_MANIFEST, MEDIA_ZSTD, REF_NAME
from mllock.store.zstd import unzstd

__all__ = ["docker_archive"]

_CHUNK = 1024 * 1024
_BLOCK = 512


class ArchiveLayer(Protocol):
    @property
    def digest(self) -> Digest: ...
    @property
    def diff_id(self) -> Digest: ...
    @property
    def unpacked(self) -> int: ...
    @property
    def media_type(self) -> str: ...


class ArchiveImage(Protocol):
    """What an archive needs of an image; `mllock.image.types.Image` is one."""

    @property
    def platform(self) -> str: ...
    @property
    def layers(self) -> Sequence[ArchiveLayer]: ...
    @property
    def config(self) -> bytes: ...
    @property
    def config_digest(self) -> Digest: ...
    @property
    def manifest(self) -> bytes: ...
    @property
    def manifest_digest(self) -> Digest: ...


def docker_archive(
    image: ArchiveImage,
    tags: Sequence[str],
    blobs: Blobs,
    without: Collection[Digest] = (),
    *,
    classic: bool = True,
) -> Iterator[bytes]:
    """The archive of `image` under `tags` ("name:tag"), in chunks.

    `without` are diff_ids of layers to leave out. `classic` stores know no zstd: such layers of a
    base are sent as plain tars. Raises IntegrityError if the cache lost a blob.
    """
    layers = {layer.digest: layer for layer in image.layers}
    paths = {
        digest: _blob(blobs, digest)
        for digest, layer in layers.items()
        if layer.diff_id not in without
    }
    plain = {
        digest: layer.diff_id
        for digest, layer in layers.items()
        if classic and layer.media_type == MEDIA_ZSTD
    }
    if len(paths) == len(layers) and not plain:
        yield from _file("oci-layout", canonical.dumps({"imageLayoutVersion": "1.0.0"}))
        yield from _file("index.json", canonical.dumps(_index(image, tags)))
        yield from _file(_name(image.manifest_digest), image.manifest)
    yield from _file("manifest.json", canonical.dumps([_manifest(image, tags, plain)]))
    yield from _file(_name(image.config_digest), image.config)
    for digest, path in paths.items():
        if digest in plain:
            yield from _plain(path, layers[digest])
            continue
        size = path.stat().st_size
        yield _header(_name(digest), size)
        sent = 0
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                sent += len(chunk)
                yield chunk
        if sent != size:
            raise IntegrityError("a blob of the cache changed while it was read", file=str(path))
        yield _padding(size)
    yield bytes(2 * _BLOCK)


def _blob(blobs: Blobs, digest: Digest) -> Any:
    path = blobs.get(digest)
    if path is None:
        raise IntegrityError(
            "a layer is gone from the cache",
            found=digest,
            hint="run the same command again: it is made again",
        )
    return path


def _plain(path: Path, layer: ArchiveLayer) -> Iterator[bytes]:
    """A layer as the tar that its diff_id is of."""
    yield _header(_name(layer.diff_id), layer.unpacked)
    hasher = hashlib.sha256()
    sent = 0
    with open(path, "rb") as file:
        for chunk in unzstd(iter(lambda: file.read(_CHUNK), b"")):
            sent += len(chunk)
            if sent > layer.unpacked:
                break
            hasher.update(chunk)
            yield chunk
    if sent != layer.unpacked or f"sha256:{hasher.hexdigest()}" != layer.diff_id:
        raise IntegrityError("a layer is not the one that its diff_id names", file=str(path))
    yield _padding(layer.unpacked)


def _manifest(
    image: ArchiveImage, tags: Sequence[str], plain: Mapping[Digest, Digest]
) -> dict[str, Any]:
    return {
        "Config": _name(image.config_digest),
        "RepoTags": list(tags),
        "Layers": [_name(plain.get(layer.digest, layer.digest)) for layer in image.layers],
    }


def _index(image: ArchiveImage, tags: Sequence[str]) -> dict[str, Any]:
    platform = KNOWN[image.platform]
    names = {"os": platform.os, "architecture": platform.architecture}
    if platform.variant:
        names["variant"] = platform.variant
    descriptor: dict[str, Any] = {
        "mediaType": MEDIA_MANIFEST,
        "digest": image.manifest_digest,
        "size": len(image.manifest),
        "platform": names,
    }
    entries = [descriptor | {"annotations": _annotations(tag)} for tag in tags] or [descriptor]
    return {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": entries}


def _annotations(tag: str) -> Mapping[str, str]:
    # What containerd reads the whole name from; OCI's own annotation holds the tag only.
    name = tag if "/" in tag else f"docker.io/library/{tag}"
    return {"io.containerd.image.name": name, REF_NAME: tag.rpartition(":")[2]}


def _name(digest: Digest) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data)) + data + _padding(len(data))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
