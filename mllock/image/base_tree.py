"""The merged tree of a base image: what is where, and the bytes of chosen files.

A base's layers lie in the cache as they came; `open_tree` reads each once, its diff_id computed,
and merges them as engines do (`mllock.image.read`). Contents are not kept: `read` goes through
the layers that hold what is asked for once more. Nothing of the base is executed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mllock.core.digest import Digest
from mllock.core.ports import Blobs
from mllock.errors import ArchiveError, IntegrityError
from mllock.image.read import LayerContents, Member, merge, read_layer
from mllock.image.tree import Node, Stored
from mllock.store.other_json import OCI_TYPE, packing_of

__all__ = ["LAYER", "BaseTree", "LayerBlob", "open_tree"]

LAYER = "layer "
_CHUNK = 1024 * 1024
_MAX_LINKS = 40  # what Linux follows


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerBlob:
    """A layer of a base in the cache. `media_type` is that of its manifest, OCI's or Docker's."""

    digest: Digest
    diff_id: Digest
    media_type: str

    @property
    def name(self) -> str:
        return f"{LAYER}{self.digest}"


class BaseTree:
    """`members` is the merged tree, by relative path."""

    def __init__(
        self, blobs: Blobs, layers: Sequence[LayerBlob], contents: Sequence[LayerContents]
    ) -> None:
        self._blobs = blobs
        self._layers = tuple(layers)
        self._contents = tuple(contents)
        self.members: Mapping[str, Member] = merge(contents)

    @property
    def unpacked(self) -> tuple[int, ...]:
        """The size of each layer's tar in bytes."""
        return tuple(layer.unpacked for layer in self._contents)

    def follow(self, path: str) -> str | None:
        """Where `path` leads when all links are followed; None if nothing is there, or a loop."""
        waiting = [part for part in path.split("/") if part not in ("", ".")]
        at: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                del at[-1:]
                continue
            member = self.members.get("/".join([*at, part]))
            if member is None:
                return None
            if member.kind != "symlink":
                at.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            target = member.target or ""
            if target.startswith("/"):
                at = []
            waiting = [piece for piece in target.split("/") if piece not in ("", ".")] + waiting
        return "/".join(at)

    def file(self, path: str) -> str | None:
        """Where `path` leads, if that is a regular file."""
        real = self.follow(path)
        member = None if real is None else self.members.get(real)
        return real if member is not None and member.kind == "file" else None

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        """The bytes of files of `members`, by path, links not followed. What is no file is left
        out. Raises ArchiveError for one that is larger than is read into memory."""
        wanted = {path for path in paths if self._is_file(path)}
        found: dict[str, bytes] = {}
        for number, contents in enumerate(self._contents):
            here = {path for path in wanted if contents.members.get(path) is self.members[path]}
            if not here:
                continue
            # A hard link is the member that it links to: either name has the bytes.
            asked = {id(self.members[path]) for path in here}
            names = {path for path, member in contents.members.items() if id(member) in asked}
            again = self._layer(number, names)
            data = {id(contents.members[name]): again.members[name].data for name in names}
            for path in here:
                content = data[id(self.members[path])]
                assert content is not None
                found[path] = content
        return found

    def _is_file(self, path: str) -> bool:
        member = self.members.get(path)
        return member is not None and member.kind == "file"

    def nodes(self, contents: Collection[str] = ()) -> dict[str, Node]:
        """The tree as nodes; those of `contents` have their bytes, other files have none."""
        data = self.read(contents)
        return {
            path: Node(
                path=path,
                kind=member.kind,
                mode=member.mode,
                uid=member.uid,
                gid=member.gid,
                content=Stored(data[path]) if path in data else None,
                target=member.target,
            )
            for path, member in self.members.items()
        }

    def _layer(self, number: int, names: Collection[str]) -> LayerContents:
        layer = self._layers[number]
        again = _read(self._blobs, layer, names)
        if again.diff_id != self._contents[number].diff_id:
            raise IntegrityError("a layer of the base changed while it was read", file=layer.digest)
        return again


def open_tree(blobs: Blobs, layers: Sequence[LayerBlob]) -> BaseTree:
    """Read layers that are in the cache. Raises ArchiveError: hostile, damaged, or not what the
    diff_id says; IntegrityError if one is gone from the cache."""
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mllock-base") as pool:
        contents = list(pool.map(lambda layer: _read(blobs, layer, ()), layers))
    for layer, found in zip(layers, contents, strict=True):
        if found.diff_id != layer.diff_id:
            raise ArchiveError(
                "the layer is not the one that the config of the base names",
                file=layer.name,
                expected=layer.diff_id,
                found=found.diff_id,
            )
    return BaseTree(blobs, layers, contents)


def _read(blobs: Blobs, layer: LayerBlob, names: Collection[str]) -> LayerContents:
    path = blobs.get(layer.digest)
    if path is None:
        raise IntegrityError(
            "a layer of the base is gone from the cache",
            file=layer.digest,
            hint="run the same command again: it is fetched again",
        )
    return read_layer(
        _chunks(path),
        layer.name,
        kept=frozenset(names).__contains__,
        packing=packing_of(OCI_TYPE[layer.media_type]),
        other=True,
    )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
