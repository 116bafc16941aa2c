"""Where a base image comes from: a registry, or an OCI layout folder.

`find` resolves what the spec names once, for one platform: index, manifest, config, each verified
while it is read; from then on digests are used. `fetch` puts layers into the cache by digest, side
by side, every byte hashed; what breaks off is gone on with. What is not there, or not what was
asked for, is an error that says so and what is there instead.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mllock.core import canonical
from mllock.core.digest import Digest
from mllock.core.offline import is_offline, not_asked, not_here
from mllock.core.platform import KNOWN
from mllock.core.ports import Reporter
from mllock.errors import ArchiveError, InputError, IntegrityError, ResolutionError
from mllock.store.cache import Cache
from mllock.store.layout_reader import INDEX, MARKER, Layout, read_document
from mllock.store.oci_json import Descriptor
from mllock.store.other_json import (
    INDEXES,
    MANIFESTS,
    BaseConfig,
    BaseManifest,
    base_config,
    base_index,
    base_manifest,
)
from mllock.store.registry.client import Registry
from mllock.store.registry.limits import MAX_DOCUMENT, Limits
from mllock.store.registry.parallel import run_all
from mllock.store.registry.reference import Reference, parse_reference

__all__ = ["BaseSource", "FoundBase", "LayoutSource", "RegistrySource", "base_source"]

MAX_INDEXES = 4
_OCI = "oci:"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundBase:
    """A base for one platform: verified documents."""

    digest: Digest
    manifest: BaseManifest
    config: BaseConfig
    config_data: bytes


class BaseSource(Protocol):
    """Raises InputError, ArchiveError, IntegrityError, SurroundingsError."""

    def find(self, platform: str) -> FoundBase:
        """What the base is now, for `platform`."""

    def fetch(self, wanted: Sequence[Descriptor], cache: Cache, reporter: Reporter) -> None:
        """Put these blobs into the cache, unless it has them."""


def base_source(
    base: str, project: Path, environ: Mapping[str, str], limits: Limits | None = None
) -> BaseSource:
    """The source of `[environment] base` other than "debian:SUITE". Raises InputError."""
    if base.startswith(_OCI):
        return LayoutSource(project / base.removeprefix(_OCI), base)
    # A tag beside a digest is for people: the digest says which image is meant.
    reference = parse_reference(re.sub(r":[\w.-]+(?=@)", "", base))
    if reference.tag is None and reference.digest is None:
        raise InputError(
            "a base without tag or digest: which one is meant would depend on the registry",
            file=base,
            hint=f'write the tag, e.g. "{base}:1.0"',
        )
    return RegistrySource(reference, environ, limits)


def _missing(wanted: Sequence[Descriptor], cache: Cache) -> list[Descriptor]:
    unique = {descriptor.digest: descriptor for descriptor in wanted}
    there = cache.get_all(unique)
    for digest, path in there.items():
        if path is not None:
            _refuse_other_size(unique[digest], path.stat().st_size)
    return [descriptor for digest, descriptor in unique.items() if there[digest] is None]


def _refuse_other_size(descriptor: Descriptor, size: int) -> None:
    """What has the right digest came another way than by its descriptor: the images that are made
    of it would have a size that engines refuse."""
    if size != descriptor.size:
        raise IntegrityError(
            "the base says another size than it has",
            file=descriptor.digest,
            expected=f"{descriptor.size} bytes",
            found=f"{size} bytes",
            hint="whoever made the image has to push it again",
        )


class RegistrySource:
    """A tag or digest of a registry."""

    def __init__(
        self, reference: Reference, environ: Mapping[str, str], limits: Limits | None = None
    ) -> None:
        self._reference = reference
        self._environ = environ
        self._limits = limits

    def find(self, platform: str) -> FoundBase:
        reference = self._reference
        if is_offline(self._environ):
            raise not_asked(f"the registry {reference.host}")
        with Registry(reference, self._environ, self._limits) as registry:
            name = reference.digest or reference.tag
            assert name is not None
            document = registry.document(name, (*MANIFESTS, *INDEXES))
            for _ in range(MAX_INDEXES):
                if document.media_type in MANIFESTS:
                    break
                entries = base_index(document.data, document.digest)
                chosen = _choose(entries, platform, str(reference))
                document = registry.document(chosen.digest, (chosen.media_type,))
                _refuse_other_size(chosen, len(document.data))
            else:
                raise ArchiveError("indexes within indexes", file=document.digest)
            manifest = base_manifest(document.data, document.digest)
            config = registry.read(manifest.config, max_bytes=MAX_DOCUMENT)
        return _found(document.digest, manifest, config, platform, str(reference))

    def fetch(self, wanted: Sequence[Descriptor], cache: Cache, reporter: Reporter) -> None:
        missing = _missing(wanted, cache)
        if not missing:
            return
        if is_offline(self._environ):
            raise not_here([f"{item.digest} of {self._reference.name}" for item in missing])
        total = sum(descriptor.size for descriptor in missing)
        text = f"fetching {self._reference.name}"
        with (
            Registry(self._reference, self._environ, self._limits) as registry,
            reporter.progress(text, total) as advance,
        ):
            run_all(
                registry,
                [
                    functools.partial(_keep, registry.stream, descriptor, cache, advance)
                    for descriptor in missing
                ],
            )


class LayoutSource:
    """An OCI layout in the project. `name` is how the spec writes it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._layout = Layout(folder=folder, manifests=())
        self._name = name

    def find(self, platform: str) -> FoundBase:
        folder = self._layout.folder
        if not folder.is_dir():
            raise InputError(
                "no such folder",
                file=self._name,
                expected="an OCI layout folder, relative to the project",
            )
        try:
            return self._find(folder, platform)
        except ArchiveError as error:
            if error.file is not None and not error.file.startswith(_OCI):
                error.file = f"{self._name}: {error.file}"
            raise

    def _find(self, folder: Path, platform: str) -> FoundBase:
        marker = read_document(folder, MARKER)
        if not isinstance(marker, dict) or marker.get("imageLayoutVersion") != "1.0.0":
            raise ArchiveError(
                "not an OCI layout of a version that is known",
                file=MARKER,
                expected='"imageLayoutVersion": "1.0.0"',
                found=str(marker)[:200],
            )
        entries = base_index(canonical.dumps(read_document(folder, INDEX)), INDEX)
        for _ in range(MAX_INDEXES):
            chosen = self._choose(entries, platform)
            data = self._layout.read(chosen, max_bytes=MAX_DOCUMENT)
            if chosen.media_type in MANIFESTS:
                manifest = base_manifest(data, chosen.digest)
                config = self._layout.read(manifest.config, max_bytes=MAX_DOCUMENT)
                return _found(chosen.digest, manifest, config, platform, self._name)
            entries = base_index(data, chosen.digest)
        raise ArchiveError("indexes within indexes", file=INDEX)

    def _choose(self, entries: Sequence[Descriptor], platform: str) -> Descriptor:
        """The entry for `platform`; a single one may leave out what it is for."""
        images = {entry.digest: entry for entry in entries}
        if len(images) == 1:
            (only,) = images.values()
            if only.platform is None or only.media_type in INDEXES:
                return only
        named = [entry for entry in images.values() if entry.platform is None]
        if len(named) > 1:
            names = ", ".join(str(entry.ref or entry.digest) for entry in named[:10])
            raise InputError(
                "several images in this layout, and nothing says which is the base",
                file=self._name,
                found=names,
                hint="copy the one that is meant to a layout of its own, e.g. with skopeo copy",
            )
        return _choose(tuple(images.values()), platform, self._name)

    def fetch(self, wanted: Sequence[Descriptor], cache: Cache, reporter: Reporter) -> None:
        missing = _missing(wanted, cache)
        if not missing:
            return
        total = sum(descriptor.size for descriptor in missing)
        with reporter.progress(f"reading {self._name}", total) as advance:
            keep = functools.partial(
                _keep, self._layout.stream, cache=cache, advance=advance, name=self._name
            )
            with ThreadPoolExecutor(4, thread_name_prefix="mllock-base") as pool:
                for _ in pool.map(keep, missing):
                    pass


def _keep(
    stream: Callable[[Descriptor], Iterator[bytes]],
    descriptor: Descriptor,
    cache: Cache,
    advance: Callable[[int], None],
    name: str | None = None,
) -> None:
    try:
        with cache.writer(expected=descriptor.digest, max_bytes=descriptor.size) as writer:
            for chunk in stream(descriptor):
                writer.write(chunk)
                advance(len(chunk))
            writer.commit()
    except ArchiveError as error:
        raise IntegrityError(
            f"a part of the base is {error.message}",
            file=f"{name}: {error.file}",
            expected=error.expected,
            found=error.found,
            hint='bring it back; "mllock lock --upgrade" takes what the layout has now',
        ) from error


def _choose(entries: Sequence[Descriptor], platform: str, name: str) -> Descriptor:
    """OCI image-spec, image-index.md: the first entry that matches."""
    wanted = KNOWN[platform]
    there: list[str] = []
    for entry in entries:
        names = entry.platform or {}
        text = f"{names.get('os', '')}/{names.get('architecture', '')}"
        if text == platform and names.get("variant", "") in ("", wanted.variant):
            return entry
        if entry.platform is None and entry.media_type in INDEXES:
            there.append("an index within the index")
        if entry.platform is not None and text != "unknown/unknown":
            there.append("/".join(filter(None, (text, names.get("variant", "")))))
    raise ResolutionError(
        f"the base has no image for {platform}",
        file=name,
        found=", ".join(dict.fromkeys(there[:20])) or "no platforms",
        hint="take a base that has one, or leave the platform out of [environment] platforms",
    )


def _found(
    digest: Digest, manifest: BaseManifest, data: bytes, platform: str, name: str
) -> FoundBase:
    config = base_config(data, manifest.config.digest, len(manifest.layers))
    if config.platform != platform:
        raise ResolutionError(
            f"the base is not for {platform}", file=name, found=config.platform or "no platform"
        )
    return FoundBase(
        digest=digest,
        manifest=manifest,
        config=config,
        config_data=data,
    )
