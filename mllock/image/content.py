"""Reading the content of nodes, verified: the bytes that come out are the bytes that were promised.

For every kind of content the size, and the CRC and digest where they are known, are checked before
the last bytes are handed on; a mismatch is an error, never a shorter file. Memory is bounded by
`CHUNK` and `AT_ONCE`, whatever an archive claims about itself.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import deflate

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError, IntegrityError
from mllock.image.aside import let_go
from mllock.image.tree import Deflated, Node, OnDisk, Packed, Stored

__all__ = ["CHUNK", "GZIP_HEADER", "Sources", "gzip_trailer"]

CHUNK = 1 << 20
# A stream and its content that are in memory because they are inflated in one call. The same on
# every machine: it also says which of two decoders has the word.
AT_ONCE = 80 << 20

# RFC 1952: magic, deflate, no flags, no time, no extra flags, unknown OS.
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def gzip_trailer(crc: int, size: int) -> bytes:
    # RFC 1952: ISIZE is the size modulo 2^32.
    return crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


class Sources:
    """Open files, each once; closes them at the end. Used by one thread."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}
        self._mapped: dict[int, memoryview] = {}
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def read(self, node: Node) -> Iterator[bytes | bytearray | memoryview]:
        """The uncompressed content of a file node. Raises ArchiveError or IntegrityError."""
        match node.content:
            case Stored(memoryview() as data):
                return self._held(data)
            case Stored(data):
                return iter((data,))
            case Deflated() as content:
                at_once = self.member(content) if content.size <= CHUNK else None
                if at_once is not None:
                    return iter((at_once[1],))
                return (plain for _, plain in self.inflate(node, content))
            case Packed() as content:
                return self._packed(node, content)
            case OnDisk() as content:
                return self._on_disk(content)
            case None:
                return iter(())

    def inflate(self, node: Node, content: Deflated) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of (raw deflate bytes, what they inflate to); either may be empty.

        The stream must end exactly where the archive says: bytes after its end would be taken for
        another gzip member in a layer.
        """
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        check = _Check(node, content.archive, content.size, content.crc, content.digest)
        for raw in self._slice(content.archive, content.offset, content.compressed):
            if stream.eof:
                raise check.error("bytes after the end of its deflate stream")
            plain = _inflate(stream, raw, check)
            check.update(plain)
            yield raw, plain
            while stream.unconsumed_tail:
                plain = _inflate(stream, stream.unconsumed_tail, check)
                check.update(plain)
                yield b"", plain
        if not stream.eof:
            # What the decoder still holds may be more than a chunk.
            while plain := _inflate(stream, b"", check):
                check.update(plain)
                yield b"", plain
        if not stream.eof or stream.unused_data:
            raise check.error("its deflate stream does not end where the archive says")
        check.finish()

    def member(self, content: Deflated) -> tuple[bytearray, bytearray] | None:
        """(gzip member, inflated content) of a stream, inflated at once by libdeflate.

        None where that cannot be done, or not be trusted: then `inflate` does it, or says why not.
        libdeflate does not tell where a stream ended. It compares CRC and size of what it inflated
        with the bytes after that place, and nothing after those. If the CRC of what it inflated is
        the one that the archive says, those bytes are our trailer, and where that occurs nowhere
        before, the stream ended at its end. Of nothing, it looks at nothing.
        """
        if not content.size or content.size + content.compressed > AT_ONCE:
            return None
        trailer = gzip_trailer(content.crc, content.size)
        begin, end = len(GZIP_HEADER), len(GZIP_HEADER) + content.compressed
        member = bytearray(end + len(trailer))
        member[:begin] = GZIP_HEADER
        member[end:] = trailer
        if not self._fill(memoryview(member)[begin:end], content.archive, content.offset):
            return None
        if member.find(trailer, begin) != end:
            return None
        try:
            plain = deflate.gzip_decompress(member)
        except deflate.DeflateError:
            return None
        if len(plain) != content.size or deflate.crc32(plain) != content.crc:
            return None
        if content.digest is not None and content.digest != sha256_of(plain):
            return None
        return member, plain

    def _held(self, data: memoryview) -> Iterator[memoryview]:
        """What may be put aside is let go from time to time."""
        yield data
        self._read += len(data)
        self._mapped[id(data.obj)] = data
        if self._read >= CHUNK * 16:
            for one in self._mapped.values():
                let_go(one)
            self._mapped.clear()
            self._read = 0

    def _packed(self, node: Node, content: Packed) -> Iterator[bytes]:
        check = _Check(node, content.archive, content.size, content.crc, content.digest)
        for data in self._slice(content.archive, content.offset, content.size):
            check.update(data)
            yield data
        check.finish()

    def _on_disk(self, content: OnDisk) -> Iterator[bytes]:
        descriptor = os.open(content.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            hasher = hashlib.sha256()
            left = content.size
            while data := os.read(descriptor, CHUNK):
                left -= len(data)
                if left < 0:
                    break
                hasher.update(data)
                yield data
        finally:
            os.close(descriptor)
        if left or f"sha256:{hasher.hexdigest()}" != content.digest:
            raise IntegrityError(
                "the file is not what it was when it was hashed",
                file=str(content.path),
                expected=f"{content.size} bytes, {content.digest}",
                hint="bring it back as it was; if it is still being written, wait and try again",
            )

    def _descriptor(self, path: Path) -> int:
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._open[path] = descriptor
        return descriptor

    def _fill(self, place: memoryview, path: Path, offset: int) -> bool:
        """Whether the file had as many bytes from `offset` on as `place` takes."""
        descriptor = self._descriptor(path)
        taken = 0
        while taken < len(place):
            count = os.preadv(descriptor, [place[taken:]], offset + taken)
            if not count:
                return False
            taken += count
        return True

    def _slice(self, path: Path, offset: int, size: int) -> Iterator[bytes]:
        descriptor = self._descriptor(path)
        end = offset + size
        while offset < end:
            data = os.pread(descriptor, min(CHUNK, end - offset), offset)
            if not data:
                raise ArchiveError("the archive ends within an entry", file=path.name)
            offset += len(data)
            yield data


class _Check:
    """Size, CRC and digest of one archive entry, while it passes."""

    def __init__(self, node: Node, archive: Path, size: int, crc: int, digest: str | None) -> None:
        self._place = (archive.name, node.path)
        self._size = size
        self._crc = crc
        self._digest = digest
        self._seen = 0
        self._running = 0
        self._hasher = hashlib.sha256() if digest is not None else None

    def update(self, data: bytes) -> None:
        self._seen += len(data)
        if self._seen > self._size:
            raise self.error("it is larger than the archive says")
        self._running = zlib.crc32(data, self._running)
        if self._hasher is not None:
            self._hasher.update(data)

    def finish(self) -> None:
        if self._seen != self._size:
            raise self.error("it is smaller than the archive says")
        if self._running != self._crc:
            raise self.error("its CRC is not what the archive says")
        if self._hasher is not None and f"sha256:{self._hasher.hexdigest()}" != self._digest:
            raise self.error("its sha256 is not what RECORD says")

    def error(self, message: str) -> ArchiveError:
        file, key = self._place
        return ArchiveError(message, file=file, key=key)


def _inflate(stream: zlib._Decompress, data: bytes, check: _Check) -> bytes:
    try:
        return stream.decompress(data, 4 * CHUNK)
    except zlib.error:
        raise check.error("it is not a deflate stream") from None
