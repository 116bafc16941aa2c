"""Writing an OCI image layout: images under their names, signed statements beside them.

OCI image-spec 1.1, image-layout.md. Order: blobs first, each whole before it has its name; then
`oci-layout`; index.json last, by rename, so that a reader sees the old images or all of the new
ones; then blobs that nothing names any more are removed. Images of others stay, and a layout that
cannot be read is refused before all of it. Layers are hard links into the cache where
the file system allows it. One process at a time writes a layout (`flock`); reading needs no lock.
Not for reading what others made: `mllock.store.layout_reader`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, hex_of, sha256_of
from mllock.core.ports import Blobs
from mllock.errors import ArchiveError, InputError, IntegrityError
from mllock.store import atomic
from mllock.store.image_index import ImageBlobs, image_entry, image_index, plain_entry
from mllock.store.layout_place import refuse_links, remove_blobs
from mllock.store.layout_reader import INDEX, MAX_DOCUMENT, Layout, LayoutImage, open_layout
from mllock.store.layout_undo import nothing_half, remove_folders
from mllock.store.oci_json import (
    MEDIA_BUNDLE,
    MEDIA_EMPTY,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    MEDIA_SBOM,
    REF_NAME,
    Descriptor,
    read_manifest,
)
from mllock.store.turns import turn

__all__ = ["refuse_loss", "refuse_other_folders", "write_layout"]

_MARKER = canonical.dumps({"imageLayoutVersion": "1.0.0"})
_EMPTY = b"{}"
_REPLACED = "replaced"
_HEX = re.compile(r"[0-9a-f]{64}")


def write_layout(
    folder: Path,
    images: Mapping[str, ImageBlobs | Sequence[ImageBlobs]],
    statements: Mapping[str, bytes | Sequence[bytes]],
    blobs: Blobs,
    keep: Callable[[LayoutImage], bool] = lambda _: False,
    ours: Callable[[LayoutImage], bool] = lambda _: True,
    sboms: Mapping[str, bytes | Sequence[bytes]] | None = None,
) -> Mapping[str, str]:
    """Put `images` into `folder` by reference name; `statements` are bundles about them, `sboms`
    their bills of materials.

    Several images under one name are one for several platforms: the name is that of their index.
    Images that are not `ours` stay; of ours those of other names that are whole and that `keep`
    accepts, with their statements. Answers which ones went, and why. Raises InputError if `folder`
    holds something else or what would be lost (before anything is written), IntegrityError if the
    cache lost a blob, SurroundingsError.
    """
    refuse_other_folders(folder)
    place = folder / "blobs" / "sha256"
    new = [path for path in (place, *place.parents) if not path.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remove_folders(new)
        raise atomic.cannot_write(folder, error) from error
    with turn(folder):
        refuse_links(folder)  # another may have put them there since
        with nothing_half(folder, new):
            atomic.remove_old_temporaries(place)
            there = _sort_out(folder, images, keep, ours, blobs)
            several = [image for named in images.values() for image in _several(named)]
            _put_layers(folder, [layer.digest for i in several for layer in i.layers], blobs)
            entries = list(there.entries)
            for ref, image in images.items():
                about = {
                    MEDIA_BUNDLE: statements.get(ref, ()),
                    MEDIA_SBOM: (sboms or {}).get(ref, ()),
                }
                entries += _put_named(folder, ref, image, about)
            entries.sort(key=_order)
            index = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": entries}
            _put_marker(folder / "oci-layout")
            atomic.write_bytes(folder / "index.json", canonical.dumps(index))
        _remove_unnamed(folder)
    return there.removed


def _put_named(
    folder: Path,
    ref: str,
    images: ImageBlobs | Sequence[ImageBlobs],
    about: Mapping[str, bytes | Sequence[bytes]],
) -> list[dict[str, Any]]:
    """The entries of index.json for a name: the image or its index, and what is `about` them."""
    several = _several(images)
    found: list[dict[str, Any]] = []
    for number, image in enumerate(several):
        own = {kind: _nth(data, number) for kind, data in about.items()}
        found += _put_image(folder, image, own)
    names = {"annotations": {REF_NAME: ref}}
    plain = [entry for entry in found if "artifactType" not in entry]
    if len(plain) == 1:
        return [entry | names if entry is plain[0] else entry for entry in found]
    index = image_index(several)
    entry = {"mediaType": MEDIA_INDEX, "digest": _put(folder, index), "size": len(index)}
    return [entry | names, *(item for item in found if "artifactType" in item)]


def _several(images: ImageBlobs | Sequence[ImageBlobs]) -> tuple[ImageBlobs, ...]:
    return tuple(images) if isinstance(images, Sequence) else (images,)


def _nth(data: bytes | Sequence[bytes], number: int) -> bytes | None:
    several = (data,) if isinstance(data, bytes) else data
    return several[number] if number < len(several) else None


def _put_image(
    folder: Path, image: ImageBlobs, about: Mapping[str, bytes | None]
) -> list[dict[str, Any]]:
    _put(folder, image.config)
    _put(folder, image.manifest)
    entries = [image_entry(image)]
    descriptor = {key: value for key, value in entries[0].items() if key != "platform"}
    for artifact_type, data in about.items():
        if data is not None:
            entries.append(_put_artifact(folder, artifact_type, data, descriptor))
    return entries


def _put_artifact(
    folder: Path, artifact_type: str, data: bytes, subject: Mapping[str, Any]
) -> dict[str, Any]:
    """An artifact of one blob, of its own type, about `subject`; its entry of the index."""
    referrer = canonical.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "artifactType": artifact_type,
            # OCI image-spec, manifest.md: the empty descriptor stands for "no config".
            "config": _descriptor(MEDIA_EMPTY, _put(folder, _EMPTY), _EMPTY),
            "layers": [_descriptor(artifact_type, _put(folder, data), data)],
            "subject": subject,
        }
    )
    entry = _descriptor(MEDIA_MANIFEST, _put(folder, referrer), referrer)
    return entry | {"artifactType": artifact_type}


def _descriptor(media_type: str, digest: Digest, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _order(entry: Mapping[str, Any]) -> tuple[bool, str, str]:
    name = entry.get("annotations", {}).get(REF_NAME, "")
    return (not name, name, entry["digest"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sorted:
    """What of a layout stays, as entries of index.json; `removed` says why others do not."""

    entries: tuple[dict[str, Any], ...] = ()
    removed: Mapping[str, str] = field(default_factory=dict)


def _sort_out(
    folder: Path,
    replaced: Iterable[str],
    keep: Callable[[LayoutImage], bool],
    ours: Callable[[LayoutImage], bool],
    blobs: Blobs | None,
) -> _Sorted:
    """What of an existing layout stays. Raises InputError where something would be lost that is
    not ours to lose, or where it cannot be told whose it is."""
    if not os.path.lexists(folder / INDEX):
        return _Sorted()  # what was begun and never finished names nothing
    try:
        layout = open_layout(folder)
        removed: dict[str, str] = {}
        gone: set[Digest] = set()
        left: set[Digest] = set()
        entries: list[dict[str, Any]] = []
        for descriptor in layout.manifests:
            if descriptor.ref is None:
                continue
            why = _why_not(layout, descriptor, set(replaced), keep, ours, blobs)
            if why is None:
                entries.append(plain_entry(descriptor))
                left |= {entry.digest for entry in layout.entries(descriptor)}
                continue
            gone |= _manifests(layout, descriptor)
            if why != _REPLACED:
                removed[descriptor.ref] = why
        gone -= left  # what is about an image that goes, goes with it, and nothing else does
        entries += [
            plain_entry(descriptor)
            for descriptor in layout.manifests
            if descriptor.ref is None and _subject(layout, descriptor) not in gone
        ]
    except ArchiveError as error:
        raise InputError(
            "this layout holds what cannot be read here, and would lose it",
            file=str(folder),
            found=": ".join(filter(None, (error.file, error.key, error.message))),
            hint="name another folder with --output oci:DIR, or remove this one",
        ) from error
    return _Sorted(entries=tuple(entries), removed=removed)


def _manifests(layout: Layout, named: Descriptor) -> set[Digest]:
    """Those that a name stands for; of a damaged index, none but itself."""
    try:
        return {entry.digest for entry in layout.entries(named)}
    except ArchiveError:
        return {named.digest}


def _why_not(
    layout: Layout,
    named: Descriptor,
    replaced: set[str],
    keep: Callable[[LayoutImage], bool],
    ours: Callable[[LayoutImage], bool],
    blobs: Blobs | None,
) -> str | None:
    """Why what has the name goes; None if it stays."""
    ref = named.ref
    assert ref is not None
    images = _undamaged(layout, ref) if ref in replaced else layout.images(ref)
    others = [image for image in images if not ours(image)]
    if others:
        if ref not in replaced:
            return None
        raise InputError(
            f'an image "{ref}" that mllock did not make is in this layout',
            file=str(layout.folder),
            found=others[0].manifest_digest,
            hint="name another folder with --output oci:DIR, or give that image another name",
        )
    if not images or ref in replaced:
        return _REPLACED
    if not all(keep(image) for image in images):
        return "made in another environment"
    return None if all(_is_whole(layout, image, blobs) for image in images) else "damaged"


def _undamaged(layout: Layout, ref: str) -> tuple[LayoutImage, ...]:
    """The images, or none if their documents are not those of their digests: nobody can use it."""
    for named in layout.manifests:
        if named.ref != ref:
            continue
        if not _reads(layout, named):
            return ()
        for descriptor in layout.entries(named):
            if not _reads(layout, descriptor):
                return ()
            data = layout.read(descriptor, max_bytes=MAX_DOCUMENT)
            if not _reads(layout, read_manifest(data, descriptor.digest).config):
                return ()
    return layout.images(ref)


def _reads(layout: Layout, descriptor: Descriptor) -> bool:
    try:
        layout.read(descriptor, max_bytes=MAX_DOCUMENT)
    except ArchiveError:
        return False
    return True


def _is_whole(layout: Layout, image: LayoutImage, blobs: Blobs | None) -> bool:
    """A layer that is the very file that the cache has is not read again."""
    digests = [layer.digest for layer in image.layers]
    cached = {} if blobs is None else blobs.unchanged(digests)
    try:
        for layer in image.layers:
            source, place = cached.get(layer.digest), _blob(layout.folder, layer.digest)
            if source is not None and os.path.lexists(place) and _is_same(place, source):
                continue
            for _ in layout.stream(layer):
                pass
    except ArchiveError:
        return False
    return True


def _subject(layout: Layout, descriptor: Descriptor) -> Digest | None:
    data = layout.read(descriptor, max_bytes=MAX_DOCUMENT)
    subject = read_manifest(data, descriptor.digest).subject
    return None if subject is None else subject.digest


def _put_marker(path: Path) -> None:
    if path.is_symlink() or not path.is_file() or path.read_bytes() != _MARKER:
        atomic.write_bytes(path, _MARKER)


def _put(folder: Path, data: bytes) -> Digest:
    digest = sha256_of(data)
    path = _blob(folder, digest)
    if not _holds(path, digest):
        atomic.write_bytes(path, data)
    return digest


def _put_layers(folder: Path, digests: Iterable[Digest], blobs: Blobs) -> None:
    missing: dict[Digest, Path] = {}
    # All at once: hashed with all cores, and each once.
    for digest, source in blobs.unchanged(digests).items():
        if source is None:
            raise IntegrityError(
                "a layer is gone from the cache",
                file=digest,
                hint="run the same command again: the layer is made anew",
            )
        if not _holds(_blob(folder, digest), digest, source):
            missing[digest] = _blob(folder, digest)
    blobs.link(missing)


def _holds(path: Path, digest: Digest, same_as: Path | None = None) -> bool:
    """Whether the right bytes are there already; a link to the verified source needs no hash."""
    if path.is_symlink() or not path.is_file():
        return False
    if same_as is not None and _is_same(path, same_as):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == hex_of(digest)


def _is_same(path: Path, other: Path) -> bool:
    return not path.is_symlink() and os.path.samefile(path, other)


def _blob(folder: Path, digest: Digest) -> Path:
    return Path(f"{folder}/blobs/sha256/{hex_of(digest)}")


def refuse_loss(folder: Path, names: Iterable[str], ours: Callable[[LayoutImage], bool]) -> None:
    """Writing `names` would lose nothing that is not `ours`, and all that is there can be read.

    Raises InputError. `write_layout` asks this itself; asking before the work is done is kind.
    """
    if (folder / "oci-layout").is_file():
        with turn(folder):
            _sort_out(folder, names, lambda _: False, ours, None)


def refuse_other_folders(folder: Path) -> None:
    """Writing removes what nothing names: only where it is certain that this is a layout.

    Raises InputError. `write_layout` asks this itself; asking before the work is done is kind.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("not a folder", file=str(folder), expected="an OCI layout, or nothing")
    refuse_links(folder)
    if not folder.exists() or (folder / "oci-layout").is_file():
        return
    # Another build may be making it one just now.
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path.name != "blobs" and not path.name.startswith(atomic.TEMP_PREFIX)
    )
    if others and not (folder / "oci-layout").is_file():
        raise InputError(
            "this folder holds something that is not an OCI layout",
            file=str(folder),
            found=", ".join(others[:3]),
            hint="name another folder with --output oci:DIR",
        )


def _remove_unnamed(folder: Path) -> None:
    layout = open_layout(folder)
    named: set[str] = set()
    for top in layout.manifests:
        named.add(hex_of(top.digest))
        for descriptor in layout.entries(top):
            manifest = read_manifest(
                layout.read(descriptor, max_bytes=1 << 24), f"blobs/{descriptor.digest}"
            )
            parts = (descriptor, manifest.config, *manifest.layers)
            named |= {hex_of(part.digest) for part in parts}
    remove_blobs(folder, lambda name: _HEX.fullmatch(name) is not None and name not in named)
