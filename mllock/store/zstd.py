"""zstd, which layers of bases may be compressed with; mllock's own are gzip."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING

from mllock.errors import ArchiveError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["unzstd"]

_OUTPUT = 1024 * 1024
# RFC 8878 asks readers for 8 MiB; `zstd --long` uses up to 128 MiB.
_WINDOW = 128 * 1024 * 1024


class _Chunks(RawIOBase):
    """An iterator of bytes as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = next(self._chunks, b"")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 8878: frames, one after another. Holds a piece of the output at a time."""
    import zstandard

    source = _Chunks(chunk for chunk in chunks if chunk)
    inflater = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    with inflater.stream_reader(
        BufferedReader(source, _OUTPUT), read_across_frames=True, closefd=False
    ) as reader:
        while True:
            try:
                data = reader.read(_OUTPUT)
            except zstandard.ZstdError as error:
                raise ArchiveError(f"not a zstd stream: {error}") from None
            if not data:
                return
            yield data
