"""What is in each layer, file by file, by diff_id: made once, kept in the cache of this user.

A listing holds path, type, mode, owner, size, sha256 or link target of every member, and what the
layer hides of the layers below. It is made only from bytes whose diff_id was computed while they
were read. No digest is behind the listing itself, so it counts only if this very user wrote it
(`mllock.store.own`, ADR 0017), and under the diff_id that stands in it.

Order of sources: kept listings, OCI layouts, blobs of the cache, and what the caller has at last
(`docker save`), each asked only for what is still missing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from mllock.core import canonical
from mllock.core.digest import Digest, hex_of, is_digest
from mllock.core.ports import Blobs
from mllock.errors import MllockError, SurroundingsError
from mllock.image.read import LayerContents, Member, read_layer
from mllock.store import atomic
from mllock.store.layout_reader import Layout, open_layout
from mllock.store.oci_json import MEDIA_LAYER
from mllock.store.other_json import OCI_TYPE, Packing, packing_of
from mllock.store.own import make_folder, read_own

__all__ = ["Listings", "everything"]

VERSION = 1
MAX_LISTING = 64 * 1024 * 1024
MAX_ENTRY = 1024 * 1024
_CHUNK = 1024 * 1024

_Row = tuple[str, str, int, int, int, int, str | None, str | None]


class _Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: int
    diff_id: str
    unpacked: int
    members: list[_Row]
    whiteouts: tuple[str, ...]
    opaques: tuple[str, ...]


def everything(_: str) -> bool:
    """All files of a layer are hashed for its listing."""
    return True


class Listings:
    """Listings in `folder` (of the cache), made of what lies in `layouts`, `entries` and `blobs`.

    `entries` is the folder of the cache that says which blob is of which layer.
    """

    def __init__(
        self,
        folder: Path,
        layouts: Sequence[Path] = (),
        entries: Path | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        self._folder = folder
        self._layouts = layouts
        self._entries = entries
        self._blobs = blobs

    def find(self, wanted: Sequence[Digest]) -> dict[Digest, LayerContents]:
        """Those of `wanted` that are kept, or can be made from what lies on this machine."""
        found: dict[Digest, LayerContents] = {}
        for diff_id in wanted:
            kept = self._read(diff_id)
            if kept is not None:
                found[diff_id] = kept
        for source in (self._of_layouts, self._of_cache):
            missing = {diff_id for diff_id in wanted if diff_id not in found}
            if missing:
                for contents in source(missing):
                    self.keep(contents)
                    found[contents.diff_id] = contents
        return found

    def keep(self, contents: LayerContents) -> None:
        """Write the listing of a layer all of whose files were hashed. A cache that cannot be
        written to costs time later, and no check."""
        rows: list[_Row] = [
            (path, m.kind, m.mode, m.uid, m.gid, m.size, m.digest, m.target)
            for path, m in contents.members.items()
        ]
        listing = _Listing(
            v=VERSION,
            diff_id=contents.diff_id,
            unpacked=contents.unpacked,
            members=rows,
            whiteouts=contents.whiteouts,
            opaques=contents.opaques,
        )
        data = msgspec.json.encode(listing)
        if len(data) <= MAX_LISTING:
            with contextlib.suppress(OSError, SurroundingsError):
                make_folder(self._folder)
                atomic.write_bytes(self._path(contents.diff_id), data)

    def _path(self, diff_id: Digest) -> Path:
        return self._folder / f"{hex_of(diff_id)}-{os.geteuid()}.json"

    def _read(self, diff_id: Digest) -> LayerContents | None:
        data = read_own(self._path(diff_id), MAX_LISTING)
        if data is None:
            return None
        try:
            listing = msgspec.json.decode(data, type=_Listing)
        except msgspec.DecodeError:
            # As good as none: it is made again.
            return None
        if listing.v != VERSION or listing.diff_id != diff_id:
            return None
        members: dict[str, Member] = {}
        for path, kind, mode, uid, gid, size, digest, target in listing.members:
            if kind not in ("file", "folder", "symlink") or (digest is None) == (kind == "file"):
                return None
            members[path] = Member(
                kind=kind,  # type: ignore[arg-type]
                mode=mode,
                uid=uid,
                gid=gid,
                size=size,
                digest=None if digest is None else Digest(digest),
                target=target,
            )
        return LayerContents(
            diff_id=diff_id,
            unpacked=listing.unpacked,
            members=members,
            whiteouts=listing.whiteouts,
            opaques=listing.opaques,
        )

    def _of_layouts(self, missing: set[Digest]) -> Iterator[LayerContents]:
        for folder in self._layouts:
            if not folder.is_dir():
                continue
            try:
                layout = open_layout(folder)
                yield from _in_layout(layout, missing)
            except MllockError:
                # A layout that cannot be read is no source; what it would have said is not lost:
                # the layers are asked for elsewhere.
                continue

    def _of_cache(self, missing: set[Digest]) -> Iterator[LayerContents]:
        if self._entries is None or self._blobs is None:
            return
        for path in sorted(self._entries.glob(f"*-{os.geteuid()}.json")):
            entry = _entry(read_own(path, MAX_ENTRY))
            diff_id, digest = entry.get("diff_id"), entry.get("digest")
            media_type = str(entry.get("media_type", MEDIA_LAYER))
            if diff_id not in missing or not is_digest(digest) or media_type not in OCI_TYPE:
                continue
            blob = self._blobs.get(Digest(str(digest)))
            if blob is not None:
                packing = packing_of(OCI_TYPE[media_type])
                yield from _verified(lambda blob=blob: _chunks(blob), packing, missing)  # type: ignore[misc]


def _entry(data: bytes | None) -> Mapping[str, object]:
    try:
        value = None if data is None else canonical.loads(data)
    except ValueError:
        return {}
    inner = value.get("value") if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _in_layout(layout: Layout, missing: set[Digest]) -> Iterator[LayerContents]:
    for image in (image for ref in layout.refs for image in layout.images(ref)):
        declared: Iterable[Digest] = image.config_value["rootfs"]["diff_ids"]
        for descriptor, diff_id in zip(image.layers, declared, strict=True):
            if diff_id in missing:
                packing = packing_of(descriptor.media_type)
                yield from _verified(lambda d=descriptor: layout.stream(d), packing, missing)  # type: ignore[misc]


def _verified(
    stream: Callable[[], Iterator[bytes]], packing: Packing, missing: set[Digest]
) -> Iterator[LayerContents]:
    """The layer, if it is one of `missing`: what was said about it decides nothing."""
    try:
        # Its diff_id is a signed one, or it is not used: how it was written decides nothing.
        contents = read_layer(stream(), "a layer", hashed=everything, packing=packing, other=True)
    except MllockError:
        return
    if contents.diff_id in missing:
        missing.discard(contents.diff_id)
        yield contents
