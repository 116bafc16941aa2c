"""Unpacking the members of a .deb: none, gzip, xz or zstd, each exactly one whole stream.

deb(5): dpkg of Debian packs with xz, that of Ubuntu with zstd; older packages are gzip. Comes in
pieces, so that nobody needs the whole in memory; bounded are the output and what a stream may ask
for itself. What came before the end counts only if the end is reached without an ArchiveError.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator

from mllock.errors import ArchiveError

__all__ = ["unpacked"]

# xz -9 needs 65 MiB.
_MAX_XZ_MEMORY = 256 << 20
# RFC 8878 asks readers for 8 MiB; level 22, the highest that dpkg-deb has, uses 128 MiB.
_MAX_ZSTD_WINDOW = 128 << 20
_PIECE = 1 << 20
# One byte of gzip is at most 1,032 of output, four of zstd at most a block of 128 KiB.
_GZIP_INPUT = 1 << 10
_ZSTD_INPUT = 1 << 11
_KNOWN = ("gz", "xz", "zst")


def unpacked(data: memoryview, member: str, name: str, limit: int) -> Iterator[bytes]:
    """The content of `member` ("data.tar.xz") of the package `name`, which messages name.

    Raises ArchiveError, also after the last piece.
    """
    suffix = member.partition(".tar")[2]
    if suffix == "":
        yield bytes(data)
        return
    packing = suffix.removeprefix(".")
    if packing not in _KNOWN:
        raise ArchiveError(
            f"{member} is compressed in a way that is not known",
            file=name,
            expected="none, gz, xz or zst",
            found=packing,
        )
    total = 0
    for piece in _PACKINGS[packing](data, member, name):
        total += len(piece)
        if total > limit:
            raise ArchiveError(f"{member} unpacks to more than {limit} bytes", file=name)
        yield piece


def _xz(data: memoryview, member: str, name: str) -> Iterator[bytes]:
    xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY)
    try:
        piece = xz.decompress(data, _PIECE)
        while piece:
            yield piece
            piece = b"" if xz.eof else xz.decompress(b"", _PIECE)
    except lzma.LZMAError as error:
        raise ArchiveError(f"damaged {member}: {error}", file=name) from error
    if not xz.eof or xz.unused_data:
        raise _not_whole(member, name)


def _gzip(data: memoryview, member: str, name: str) -> Iterator[bytes]:
    gz = zlib.decompressobj(wbits=31)
    try:
        for start in range(0, len(data), _GZIP_INPUT):
            if gz.eof:
                raise _not_whole(member, name)
            yield gz.decompress(data[start : start + _GZIP_INPUT])
    except zlib.error as error:
        raise ArchiveError(f"damaged {member}: {error}", file=name) from error
    if not gz.eof or gz.unused_data:
        raise _not_whole(member, name)


def _zstd(data: memoryview, member: str, name: str) -> Iterator[bytes]:
    import zstandard

    inflater = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW).decompressobj()
    try:
        for start in range(0, len(data), _ZSTD_INPUT):
            if inflater.eof:
                raise _not_whole(member, name)
            yield inflater.decompress(data[start : start + _ZSTD_INPUT])
    except zstandard.ZstdError as error:
        raise ArchiveError(f"damaged {member}: {error}", file=name) from error
    if not inflater.eof or inflater.unused_data:
        raise _not_whole(member, name)


def _not_whole(member: str, name: str) -> ArchiveError:
    return ArchiveError(f"damaged {member}: not one whole stream", file=name)


_PACKINGS = {"gz": _gzip, "xz": _xz, "zst": _zstd}
