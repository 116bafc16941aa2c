"""An image as `docker save` writes it, read while it streams: nothing is kept but what is asked.

The archive names its parts at its end (`manifest.json`), so every part is read as what it is when
it comes: a document is kept, a layer (plain or gzipped tar) is read strictly and its diff_id
computed. Then the names are followed: one image, its config by digest, its layers in order.
Three forms are known: folders of engine 20.10 (`ID/layer.tar`), blobs of later classic stores
(`blobs/sha256/DIFF_ID`), blobs of a containerd store (compressed). Never writes to the disk.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mllock.check.bases import hinted, unless_base
from mllock.check.evidence import ImageFacts, LayerSeen, Problem
from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.errors import ArchiveError
from mllock.image.read import LayerContents, Member, gunzip, merge, read_layer
from mllock.image.read_tar import Source
from mllock.image.stream_tar import StreamMember, stream_members
from mllock.store.oci_json import read_config
from mllock.store.other_json import Packing

__all__ = ["list_layers", "problem_of", "read_saved"]

MAX_PARTS = 10_000
MAX_LISTED = 10_000
MAX_DOCUMENT = 16 * 1024 * 1024
MAX_DOCUMENTS = 64 * 1024 * 1024
MANIFEST = "manifest.json"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LAYER = "layer.tar"
_BLOBS = "blobs/sha256/"


@dataclass(frozen=True, kw_only=True, slots=True)
class _How:
    """What is wanted of the files of a layer: see `mllock.image.read.read_layer`."""

    hashed: Callable[[str], bool]
    kept: Callable[[str], bool]
    md5: bool


@dataclass(slots=True)
class _Parts:
    """What the archive holds, by name: documents, layers, and links between names."""

    documents: dict[str, bytes] = field(default_factory=dict)
    layers: dict[str, LayerContents | Problem] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def follow(self, name: str) -> str:
        """Engine 20.10 writes a layer that comes twice once, and a link to it."""
        return self.links.get(name, name)


def read_saved(
    chunks: Iterator[bytes],
    ref: str,
    image: Digest,
    *,
    is_manifest: bool,
    hashed: Callable[[str], bool],
    kept: Callable[[str], bool],
    md5: bool = False,
) -> ImageFacts:
    """The image whose id is `image`: of its config, or of its manifest if `is_manifest`.

    What cannot be read strictly is a `Problem`, not an exception.
    """
    try:
        parts = _read(chunks, _How(hashed=hashed, kept=kept, md5=md5))
        return _image(parts, ref, image, is_manifest=is_manifest)
    except ArchiveError as error:
        return ImageFacts(ref=ref, store="engine", problem=problem_of(error))


def list_layers(chunks: Iterator[bytes], names: Collection[str]) -> dict[str, dict[str, str]]:
    """What is in layers that cannot be read strictly: by layer, path and kind of each member.

    Says where to look and proves nothing: another reader may see something else.
    """
    found: dict[str, dict[str, str]] = {}
    source = Source(chunks)
    try:
        for member in stream_members(source):
            if member.kind != "file":
                continue
            pieces = _Pieces(source, member.size)
            if member.path in names:
                found[member.path] = _listed(_first(pieces), pieces)
            for _ in pieces:
                pass
    except ArchiveError:
        # What was listed before is still worth saying.
        return found
    return found


def _listed(first: bytes, rest: Iterator[bytes]) -> dict[str, str]:
    whole = chain([first], rest)
    inner = Source(gunzip(whole) if first.startswith(_GZIP) else whole)
    listed: dict[str, str] = {}
    try:
        for member in stream_members(inner):
            listed[member.path] = member.kind
            for _ in inner.pieces(member.size):
                pass
            if len(listed) >= MAX_LISTED:
                break
    except ArchiveError:
        return listed
    return listed


def problem_of(error: ArchiveError, place: str = "the image as the engine writes it") -> Problem:
    where = error.file or place
    if error.key is not None:
        where = f"{where}: {error.key}"
    if error.expected is None:
        return Problem(path=where, reason=error.message, found=error.found)
    return Problem(path=where, reason=error.message, expected=error.expected, found=error.found)


def _read(chunks: Iterator[bytes], how: _How) -> _Parts:
    parts = _Parts()
    source = Source(chunks)
    seen: set[str] = set()
    held = 0
    for member in stream_members(source):
        if member.path in seen or len(seen) >= MAX_PARTS:
            raise ArchiveError("a part that comes twice, or too many parts", file=member.path)
        seen.add(member.path)
        if member.kind == "symlink":
            folder = posixpath.dirname(member.path)
            parts.links[member.path] = posixpath.normpath(f"{folder}/{member.target}")
        if member.kind != "file":
            continue
        pieces = _Pieces(source, member.size)
        first = _first(pieces)
        if _is_layer(member, first):
            parts.layers[member.path] = _layer(member.path, first, pieces, how)
        else:
            held += member.size
            if member.size > MAX_DOCUMENT or held > MAX_DOCUMENTS:
                raise ArchiveError(f"a document of {member.size} bytes", file=member.path)
            parts.documents[member.path] = first + b"".join(pieces)
        for _ in pieces:
            # What a reader that gave up has left: the next header comes after it.
            pass
    return parts


class _Pieces:
    """The bytes of one part, as an iterator that another reader may end for us."""

    __slots__ = ("_pieces",)

    def __init__(self, source: Source, size: int) -> None:
        self._pieces = source.pieces(size)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return bytes(next(self._pieces))


def _first(pieces: Iterator[bytes]) -> bytes:
    """Enough to tell what a part is; pieces may be as short as a byte."""
    first = b""
    while len(first) < len(_ZSTD) and (piece := next(pieces, b"")):
        first += piece
    return first


def _is_layer(member: StreamMember, first: bytes) -> bool:
    if member.path.rpartition("/")[2] == _LAYER:
        return True
    return member.path.startswith(_BLOBS) and not first.startswith((b"{", b"["))


def _packing(first: bytes) -> Packing:
    if first.startswith(_GZIP):
        return "gzip"
    return "zstd" if first.startswith(_ZSTD) else "none"


def _layer(name: str, first: bytes, rest: Iterator[bytes], how: _How) -> LayerContents | Problem:
    try:
        return read_layer(
            chain([first], rest),
            name,
            hashed=how.hashed,
            kept=how.kept,
            md5=how.md5,
            packing=_packing(first),
            # Whose layer this is, is known when all of the archive was read.
            other=True,
        )
    except ArchiveError as error:
        return problem_of(error)


def _image(parts: _Parts, ref: str, image: Digest, *, is_manifest: bool) -> ImageFacts:
    names = _names(parts)
    config = parts.documents.get(names.config)
    if config is None:
        raise ArchiveError("missing", file=names.config)
    config_digest = sha256_of(config)
    manifest = _manifest(parts, image, config_digest) if is_manifest else None
    if not is_manifest and config_digest != image:
        raise ArchiveError(
            "the engine wrote another image than it was asked for",
            file=names.config,
            expected=image,
            found=config_digest,
        )
    value = read_config(config, names.config, len(names.layers))
    declared: list[Digest] = value["rootfs"]["diff_ids"]
    mine = hinted(value)
    layers = tuple(
        unless_base(_seen(parts, name, wanted), number < mine)
        for number, (name, wanted) in enumerate(zip(names.layers, declared, strict=True))
    )
    merged, problem = _merged(layers)
    return ImageFacts(
        ref=ref,
        store="engine",
        manifest_digest=manifest,
        config_digest=config_digest,
        config=value,
        layers=layers,
        merged=merged,
        problem=problem,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Names:
    config: str
    layers: tuple[str, ...]


def _names(parts: _Parts) -> _Names:
    value = _json(parts, MANIFEST)
    entry = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(entry, dict):
        raise ArchiveError("not a list of one image", file=MANIFEST)
    config, layers = entry.get("Config"), entry.get("Layers")
    if not isinstance(config, str) or not isinstance(layers, list):
        raise ArchiveError("no Config and Layers", file=MANIFEST)
    return _Names(config=config, layers=tuple(str(layer) for layer in layers))


def _manifest(parts: _Parts, image: Digest, config: Digest) -> Digest:
    """The manifest that the id names, itself or through an index: the one with this config."""
    named: list[object] = [image]
    by_digest = {sha256_of(data): name for name, data in parts.documents.items()}
    top = by_digest.get(image)
    if top is None:
        raise ArchiveError("the document that the image's id names is missing", found=image)
    value = _json(parts, top)
    entries = value.get("manifests") if isinstance(value, dict) else None
    if isinstance(entries, list):
        named = [entry.get("digest") for entry in entries if isinstance(entry, dict)]
    for digest in named:
        name = by_digest.get(Digest(str(digest)))
        document = None if name is None else _json(parts, name)
        if isinstance(document, dict) and _digest_in(document) == config:
            return Digest(str(digest))
    raise ArchiveError("no manifest of the image's id has this config", file=top, found=config)


def _digest_in(manifest: Mapping[str, Any]) -> object:
    config = manifest.get("config")
    return config.get("digest") if isinstance(config, dict) else None


def _json(parts: _Parts, name: str) -> Any:
    data = parts.documents.get(name)
    if data is None:
        raise ArchiveError("missing", file=name)
    try:
        return canonical.loads(data, max_bytes=MAX_DOCUMENT)
    except ValueError as error:
        raise ArchiveError(f"not strict JSON: {error}", file=name) from None


def _seen(parts: _Parts, name: str, declared: Digest) -> LayerSeen:
    found = parts.layers.get(parts.follow(name))
    if found is None:
        found = Problem(path=name, reason="missing", expected=declared)
    if isinstance(found, Problem):
        return LayerSeen(digest=declared, size=0, declared=declared, contents=None, problem=found)
    return LayerSeen(
        digest=found.diff_id,
        size=found.unpacked,
        declared=declared,
        contents=found,
        name=parts.follow(name),
    )


def _merged(layers: tuple[LayerSeen, ...]) -> tuple[Mapping[str, Member], Problem | None]:
    contents = [layer.contents for layer in layers if layer.contents is not None]
    if len(contents) != len(layers):
        return {}, None
    try:
        return merge(contents), None
    except ArchiveError as error:
        return {}, Problem(
            path="the files of all layers together",
            reason=error.message,
            expected="layers that every engine unpacks to the same files",
        )
