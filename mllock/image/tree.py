"""Trees of nodes: what a layer's tar will hold, resolved before a byte is written.

Makers (`mllock.image.wheel`, `mllock.image.debian`, `mllock.image.folder`) produce nodes;
`mllock.image.tar` writes them. Metadata is data here, never taken from stat: mode, uid and gid are
given, the time is always 0. Paths are relative, without leading "./" or slash. Structs, not
dataclasses: an image has tens of thousands, and these are made five times as fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["Content", "Deflated", "Node", "OnDisk", "Packed", "Stored"]


class Stored(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are at hand."""

    data: bytes | memoryview

    @property
    def size(self) -> int:
        return len(self.data)


class Deflated(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A raw deflate stream inside of a zip: copied into the layer's gzip as it is.

    `offset` and `compressed` locate the stream in `archive` (bytes); `size` and `crc` are of the
    uncompressed content as the zip states them, and are verified while the diff_id is made; so is
    `digest` (`sha256:HEX`, of the uncompressed content as RECORD states it) where there is one.
    """

    archive: Path
    offset: int
    compressed: int
    size: int
    crc: int
    digest: str | None = None


class Packed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Bytes that lie in a zip uncompressed; `crc` and `digest` are verified while reading."""

    archive: Path
    offset: int
    size: int
    crc: int
    digest: str | None = None


class OnDisk(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file of the project's or of a run's, whose digest is known and verified while reading."""

    path: Path
    size: int
    digest: str


Content = Stored | Deflated | Packed | OnDisk


class Node(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One member of a layer. `target` is for symbolic and hard links, `content` for files."""

    path: str
    kind: Literal["file", "folder", "symlink", "hardlink"]
    mode: int
    uid: int = 0
    gid: int = 0
    content: Content | None = None
    target: str | None = None
