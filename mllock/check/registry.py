"""An image of a registry as `check` reads it: a source of images, like a layout, that may lie.

The tag is resolved once; what comes after is asked for by digest, streamed and never kept. What the
registry sends instead of what it should (other bytes, another size, another type) is an
ArchiveError here, as it is in a layout: the claim whose bytes they are is refuted. What it does not
send at all is SurroundingsError: nothing was found out. Of an index, the manifest for the platform
is taken that was asked for, or for this machine's, as an engine of that platform would.
What a classic engine pushed has a manifest of Docker's type: config and layers are the same,
compressed anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, is_digest
from mllock.core.platform import KNOWN, image_platform
from mllock.errors import ArchiveError, InputError, IntegrityError
from mllock.store.layout_reader import MAX_DOCUMENT, LayoutImage
from mllock.store.oci_json import (
    MEDIA_MANIFEST,
    Descriptor,
    Manifest,
    read_config,
    read_manifest,
)
from mllock.store.other_json import INDEXES, MANIFESTS, BaseManifest, image_manifest
from mllock.store.registry.client import Document, Registry
from mllock.store.registry.referrers import find_referrers

__all__ = ["RegistryImages"]


class RegistryImages:
    """Implements `mllock.check.image.ImageSource` for one repository."""

    def __init__(self, registry: Registry, platform: str | None = None) -> None:
        self._registry = registry
        self._platform = platform or image_platform()
        self._image: LayoutImage | None = None

    def image(self, ref: str) -> LayoutImage:
        """The image of a tag or digest. Read once: asked again, the same one is answered."""
        if self._image is None or self._image.ref != ref:
            try:
                self._image = self._resolve(ref)
            except IntegrityError as error:
                raise _lie(error) from error
        return self._image

    @property
    def digest(self) -> Digest | None:
        """Of the manifest that was read; None if it could not be."""
        return None if self._image is None else self._image.manifest_digest

    def _resolve(self, ref: str) -> LayoutImage:
        document = self._registry.document(ref, (*MANIFESTS, *INDEXES))
        listed_as = None
        if document.media_type in INDEXES:
            digest = manifest_for(document, self._platform, str(self._registry.reference))
            document = self._registry.document(digest, MANIFESTS)
            listed_as = self._platform
        manifest = _manifest(document)
        config = self._registry.read(manifest.config, max_bytes=MAX_DOCUMENT)
        return LayoutImage(
            ref=ref,
            manifest=document.data,
            manifest_digest=document.digest,
            config=config,
            config_digest=manifest.config.digest,
            config_value=read_config(config, manifest.config.digest, len(manifest.layers)),
            layers=manifest.layers,
            media_type=document.media_type,
            listed_as=listed_as,
        )

    def stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        try:
            yield from self._registry.stream(descriptor)
        except IntegrityError as error:
            raise _lie(error) from error

    def stop(self) -> None:
        self._registry.wire.abort()

    def referrers(self, subject: Digest | None, artifact_type: str) -> tuple[bytes, ...]:
        """The contents of artifacts about `subject`. A registry lists none about "anything": None
        stands for the image that was read."""
        if subject is None:
            subject = None if self._image is None else self._image.manifest_digest
        if subject is None:
            return ()
        found = []
        try:
            for digest, manifest in find_referrers(self._registry, subject, artifact_type):
                if len(manifest.layers) != 1:
                    raise ArchiveError(
                        f"{len(manifest.layers)} blobs in an artifact, expected 1", file=digest
                    )
                found.append(self._registry.read(manifest.layers[0], max_bytes=canonical.MAX_BYTES))
        except IntegrityError as error:
            raise _lie(error) from error
        return tuple(found)


def _manifest(document: Document) -> Manifest | BaseManifest:
    if document.media_type != MEDIA_MANIFEST:
        return image_manifest(document.data, document.digest)
    manifest = read_manifest(document.data, document.digest)
    if manifest.subject is not None or manifest.artifact_type is not None:
        raise ArchiveError("an artifact, expected an image", file=document.digest)
    return manifest


def manifest_for(index: Document, platform: str, name: str) -> Digest:
    """The digest of the one manifest for `platform` that an index names.

    Raises InputError if there is none, ArchiveError if there are several, or it does not read.
    """
    wanted = KNOWN[platform]
    there: list[str] = []
    found: list[Digest] = []
    for entry in _entries(index):
        names = entry.get("platform")
        if not isinstance(names, dict):
            continue
        there.append(f"{names.get('os')}/{names.get('architecture')}")
        if there[-1] == platform and names.get("variant", "") in ("", wanted.variant):
            found.append(entry["digest"])
    if len(found) > 1:
        raise ArchiveError(f"{len(found)} manifests for {platform}", file=index.digest)
    if not found:
        raise InputError(
            f"no image for {platform} in this index",
            file=name,
            found=", ".join(there[:10]) or "no platforms",
            hint="name one of these with --platform" if there else None,
        )
    return found[0]


def _entries(index: Document) -> list[dict[str, Any]]:
    value = canonical.loads(index.data)  # it was read as strict JSON before
    entries = value.get("manifests")
    right = isinstance(entries, list) and all(
        isinstance(entry, dict) and is_digest(entry.get("digest")) for entry in entries
    )
    if not right:
        raise ArchiveError("not an index of manifests", file=index.digest, key="manifests")
    return list(entries)


def _lie(error: IntegrityError) -> ArchiveError:
    return ArchiveError(error.message, file=error.file, expected=error.expected, found=error.found)
