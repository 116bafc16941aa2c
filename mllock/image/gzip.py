"""The gzip of a layer: members in a fixed division, so that the bytes depend on content alone.

RFC 1952 lets a gzip file be many members. The uncompressed tar is divided into runs of bytes and,
between them, large deflate streams that a wheel already holds. A run is cut into pieces of `PIECE`
bytes, each a member compressed by libdeflate at a level; a deflate stream is a member that wraps
the wheel's own bytes, with the CRC and size that were verified while it was inflated. The diff_id
is taken on the way; whoever writes the blob takes its digest. See
docs/reference/builder-format.md; a change here is a new builder format.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

import deflate

from mllock.core.digest import Digest
from mllock.image.content import GZIP_HEADER, gzip_trailer

__all__ = ["LEVEL", "PIECE", "GzipSink", "Written"]

PIECE = 1 << 20
LEVEL = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was written: sizes in bytes, of the blob (`size`) and of the tar (`unpacked`)."""

    diff_id: Digest
    size: int
    unpacked: int


class Output(Protocol):
    def write(self, data: bytes | bytearray, /) -> object: ...


class GzipSink:
    """Takes a tar in order, writes the blob to `file`.

    With a `pool` pieces are compressed in parallel; the bytes are the same.
    """

    def __init__(
        self, file: Output, pool: Executor | None = None, ahead: int = 8, level: int = LEVEL
    ) -> None:
        self._file = file
        self._level = level
        self._pool = pool
        self._ahead = ahead
        self._waiting: deque[Future[bytes]] = deque()
        self._run = bytearray()
        self._diff = hashlib.sha256()
        self._size = 0
        self._unpacked = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add uncompressed bytes to the current run."""
        if len(self._run) + len(data) < PIECE:
            self._run += data
            return
        view = memoryview(data)
        taken = PIECE - len(self._run)
        self._run += view[:taken]
        self._flush()
        while len(view) - taken >= PIECE:
            self._piece(bytes(view[taken : taken + PIECE]))
            taken += PIECE
        self._run += view[taken:]

    def copy(self, member: bytes | bytearray, plain: bytes | bytearray) -> None:
        """End the run; add a whole member and what it inflates to, verified by the caller."""
        self._flush()
        self._settle(0)
        self._emit(member)
        self._diff.update(plain)
        self._unpacked += len(plain)

    def copy_stream(self, pairs: Iterator[tuple[bytes, bytes]], size: int, crc: int) -> None:
        """End the run; write one member from pairs of (raw deflate, inflated) bytes.

        The caller's iterator verifies `size` and `crc` before it ends.
        """
        self._flush()
        self._settle(0)
        self._emit(GZIP_HEADER)
        for raw, plain in pairs:
            self._emit(raw)
            self._diff.update(plain)
            self._unpacked += len(plain)
        self._emit(gzip_trailer(crc, size))

    def finish(self) -> Written:
        self._flush()
        self._settle(0)
        return Written(
            diff_id=Digest(f"sha256:{self._diff.hexdigest()}"),
            size=self._size,
            unpacked=self._unpacked,
        )

    def _flush(self) -> None:
        if self._run:
            self._piece(bytes(self._run))
            self._run.clear()

    def _piece(self, data: bytes) -> None:
        if self._pool is None:
            self._emit(_member(data, self._level))
        else:
            self._waiting.append(self._pool.submit(_member, data, self._level))
        self._diff.update(data)
        self._unpacked += len(data)
        self._settle(self._ahead)

    def _settle(self, ahead: int) -> None:
        while len(self._waiting) > ahead:
            self._emit(self._waiting.popleft().result())

    def _emit(self, data: bytes | bytearray) -> None:
        self._file.write(data)
        self._size += len(data)


def _member(data: bytes, level: int) -> bytes:
    body = deflate.deflate_compress(data, level)
    return b"".join((GZIP_HEADER, body, gzip_trailer(deflate.crc32(data), len(data))))
