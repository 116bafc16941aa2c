"""Reading an OCI image layout that may lie: strict, bounded, every byte against its digest.

For `check` and for whoever keeps an image that is already there. Not for writing, not for unpacking
layers (`mllock.image.read`). The order: `oci-layout` version, index.json, the one descriptor with
the asked reference name, manifest bytes by size and digest, then config; layers are streamed
when asked. A name may stand for an index of one image for several platforms: then the manifest is
that of the platform that is asked for. Nothing else is followed: no links, no URLs. What two
readers could understand differently (duplicate keys, unknown keys and media types) is refused.

Every refusal is an ArchiveError whose `file` is the path inside of the layout.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mllock.core import canonical
from mllock.core.digest import Digest, hex_of
from mllock.core.platform import image_platform
from mllock.errors import ArchiveError, InputError
from mllock.store.oci_json import (
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    Descriptor,
    Manifest,
    read_config,
    read_image_index,
    read_index,
    read_manifest,
)

__all__ = ["INDEX", "MARKER", "Layout", "LayoutImage", "open_layout", "read_document"]

CHUNK = 1024 * 1024
MAX_DOCUMENT = 16 * 1024 * 1024

INDEX = "index.json"
MARKER = "oci-layout"
VERSION = "1.0.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutImage:
    """An image of a layout: documents whose digests were verified, layers still to be read.
    `media_type` is of the manifest. An index that names it may say `listed_as` of which platform it
    is."""

    ref: str
    manifest: bytes
    manifest_digest: Digest
    config: bytes
    config_digest: Digest
    config_value: dict[str, Any]
    layers: tuple[Descriptor, ...]
    media_type: str = MEDIA_MANIFEST
    listed_as: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """An opened layout: where it is and what its index.json lists. `platform` is the one that is
    taken where an image is there for several; default: that of this machine's images."""

    folder: Path
    manifests: tuple[Descriptor, ...]
    platform: str | None = None

    @property
    def refs(self) -> tuple[str, ...]:
        """The reference names, in the order of index.json."""
        return tuple(entry.ref for entry in self.manifests if entry.ref is not None)

    def image(self, ref: str) -> LayoutImage:
        """The image with this reference name. Raises InputError if there is none, ArchiveError."""
        entries = self.entries(self._named(ref))
        wanted = self.platform or image_platform()
        for entry in entries:
            if len(entries) == 1 or entry.name == wanted:
                return self._image(ref, entry)
        raise InputError(
            f'no image "{ref}" for {wanted} in this layout',
            file=str(self.folder),
            expected="a platform that is there",
            found=", ".join(entry.name for entry in entries)[:500],
            hint="name one of these with --platform",
        )

    def images(self, ref: str) -> tuple[LayoutImage, ...]:
        """The image with this reference name for every platform. Raises as `image` does."""
        return tuple(self._image(ref, entry) for entry in self.entries(self._named(ref)))

    def entries(self, named: Descriptor) -> tuple[Descriptor, ...]:
        """The manifests that an entry of index.json stands for: itself, or those of its index."""
        if named.media_type != MEDIA_INDEX:
            return (named,)
        place = _blob_name(named.digest)
        entries = read_image_index(self.read(named, max_bytes=MAX_DOCUMENT), place)
        if not entries:
            raise ArchiveError("an index of no images", file=place)
        return entries

    def _named(self, ref: str) -> Descriptor:
        named = [entry for entry in self.manifests if entry.ref == ref]
        if not named:
            raise InputError(
                f'no image "{ref}" in this layout',
                file=str(self.folder),
                expected=f'a reference "{ref}"',
                found=", ".join(repr(name) for name in self.refs)[:500] or "no references",
            )
        if len(named) > 1:
            raise ArchiveError(f'the reference "{ref}" is there {len(named)} times', file=INDEX)
        return named[0]

    def _image(self, ref: str, entry: Descriptor) -> LayoutImage:
        data = self.read(entry, max_bytes=MAX_DOCUMENT)
        manifest = self._manifest(entry, data)
        place = _blob_name(entry.digest)
        if manifest.subject is not None or manifest.artifact_type is not None:
            raise ArchiveError("an artifact, expected an image", file=place)
        config = self.read(manifest.config, max_bytes=MAX_DOCUMENT)
        value = read_config(config, _blob_name(manifest.config.digest), len(manifest.layers))
        _same(ref, entry, value)
        return LayoutImage(
            ref=ref,
            manifest=data,
            manifest_digest=entry.digest,
            config=config,
            config_digest=manifest.config.digest,
            config_value=value,
            layers=manifest.layers,
        )

    def referrers(self, subject: Digest | None, artifact_type: str) -> tuple[bytes, ...]:
        """The contents of artifacts about `subject` (None: about anything), in index order.

        OCI image-spec, manifest.md: an artifact of one blob, with `subject` and `artifactType`.
        """
        found = []
        for entry in self.manifests:
            if entry.ref is not None or entry.media_type == MEDIA_INDEX:
                continue
            manifest = self._manifest(entry, self.read(entry, max_bytes=MAX_DOCUMENT))
            if entry.artifact_type not in (None, manifest.artifact_type):
                raise ArchiveError(
                    "index.json names another type of artifact",
                    file=_blob_name(entry.digest),
                    expected=str(manifest.artifact_type),
                    found=entry.artifact_type,
                )
            if manifest.artifact_type != artifact_type or manifest.subject is None:
                continue
            if subject is not None and manifest.subject.digest != subject:
                continue
            if len(manifest.layers) != 1:
                raise ArchiveError(
                    f"{len(manifest.layers)} blobs in an artifact, expected 1",
                    file=_blob_name(entry.digest),
                )
            found.append(self.read(manifest.layers[0], max_bytes=canonical.MAX_BYTES))
        return tuple(found)

    def read(self, descriptor: Descriptor, *, max_bytes: int) -> bytes:
        """The whole of a small blob. Raises ArchiveError."""
        if descriptor.size > max_bytes:
            raise ArchiveError(
                f"{descriptor.size} bytes, at most {max_bytes} are read",
                file=_blob_name(descriptor.digest),
            )
        return b"".join(self.stream(descriptor))

    def stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob in chunks. Size and digest are verified before the iterator ends:
        whoever reads to the end has read the blob that the descriptor names, or ArchiveError.
        """
        name = _blob_name(descriptor.digest)
        hasher = hashlib.sha256()
        left = descriptor.size
        with _open(self.folder, name) as handle:
            there = os.fstat(handle.fileno()).st_size
            if there != descriptor.size:
                raise ArchiveError(
                    "not the size that its descriptor says",
                    file=name,
                    expected=f"{descriptor.size} bytes",
                    found=f"{there} bytes",
                )
            while left:
                chunk = handle.read(min(CHUNK, left))
                if not chunk:
                    raise ArchiveError("ended early", file=name)
                left -= len(chunk)
                hasher.update(chunk)
                yield chunk
            if handle.read(1):
                raise ArchiveError("grew while it was read", file=name)
        if hasher.hexdigest() != hex_of(descriptor.digest):
            raise ArchiveError(
                "not the bytes that its digest names",
                file=name,
                expected=descriptor.digest,
                found=f"sha256:{hasher.hexdigest()}",
            )

    def stop(self) -> None:
        """For whoever streams in threads: reads of a folder end by themselves."""

    def _manifest(self, entry: Descriptor, data: bytes) -> Manifest:
        return read_manifest(data, _blob_name(entry.digest))


def _same(ref: str, entry: Descriptor, config: dict[str, Any]) -> None:
    """What an index says of an image (no digest covers index.json) is what it says itself."""
    if entry.artifact_type is not None:
        raise ArchiveError(
            "an artifact type for an image",
            file=INDEX,
            key=f"{ref}.artifactType",
            found=entry.artifact_type,
        )
    if entry.platform is None:
        return
    expected, found = (
        [str(names.get(name, "")) for name in ("os", "architecture", "variant")]
        for names in (config, entry.platform)
    )
    if expected != found:
        raise ArchiveError(
            "not the platform of the image",
            file=INDEX,
            key=f"{ref}.platform",
            expected="/".join(filter(None, expected)),
            found="/".join(filter(None, found)),
        )


def open_layout(folder: Path, platform: str | None = None) -> Layout:
    """Open a layout folder. Raises InputError if it is none, ArchiveError if it is not strict."""
    if not folder.is_dir():
        raise InputError("no such folder", file=str(folder), expected="an OCI layout folder")
    marker = read_document(folder, MARKER)
    if marker != {"imageLayoutVersion": VERSION}:
        raise ArchiveError(
            "not an OCI layout of a version that is known",
            file=MARKER,
            expected=f'{{"imageLayoutVersion": "{VERSION}"}}',
            found=str(marker)[:200],
        )
    return Layout(
        folder=folder, manifests=read_index(read_document(folder, INDEX), INDEX), platform=platform
    )


def read_document(folder: Path, name: str) -> Any:
    """A JSON document of the layout, read strictly. Raises ArchiveError."""
    with _open(folder, name) as handle:
        data = handle.read(MAX_DOCUMENT + 1)
    try:
        return canonical.loads(data, max_bytes=MAX_DOCUMENT)
    except ValueError as error:
        raise ArchiveError(f"not strict JSON: {error}", file=name) from None


def _blob_name(digest: Digest) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _open(folder: Path, name: str) -> BinaryIO:
    """Open a regular file below `folder`, following no link on the way."""
    parts = name.split("/")
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    at = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        handle = os.open(parts[-1], flags | os.O_NONBLOCK, dir_fd=at)
    except FileNotFoundError:
        raise ArchiveError("missing", file=name) from None
    except OSError as error:
        # open(2): O_NOFOLLOW on a link is ELOOP, with O_DIRECTORY it is ENOTDIR; a socket is ENXIO.
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise
        raise ArchiveError("not a regular file below real folders", file=name) from None
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ArchiveError("not a regular file below real folders", file=name)
    return os.fdopen(handle, "rb")
