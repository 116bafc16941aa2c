"""Text files in pieces of whole rows, in bounded memory, before anything parses them.

Compressed or not; UTF-8, with or without a byte order mark. A row longer than MAX_ROW is refused,
so that neither a file without line ends nor a bomb is held whole. What looks like another format
than its name says is refused by its first bytes. Raises DataError that names file and row.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from mllock.errors import DataError

__all__ = ["BLOCK", "MAX_ROW", "check_magic", "last_line_end", "not_utf8", "opened", "pieces"]

BLOCK = 16 * 1024 * 1024
MAX_ROW = 64 * 1024 * 1024

# So much says what a file is.
_START = 16
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_MAGIC = (
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"\x93NUMPY", "NumPy"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89HDF", "HDF5"),
)


def check_magic(start: bytes, shown: str, expected: str) -> None:
    """Refuse what begins as another format does."""
    for magic, name in _MAGIC:
        if start.startswith(magic):
            raise DataError(
                "not what its name says",
                file=shown,
                expected=expected,
                found=f"it begins as {name} does",
                hint="give it the ending of what it is",
            )


@contextlib.contextmanager
def opened(path: Path, shown: str, *, compressed: bool = False) -> Iterator[IO[bytes]]:
    """The bytes of a text file. Errors of reading and unpacking name the file."""
    try:
        if compressed:
            with gzip.open(path) as stream:
                yield cast("IO[bytes]", stream)
        else:
            with path.open("rb") as plain:
                yield plain
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            "damaged, or not gzip", file=shown, found=str(error).lower(), hint="write it again"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot be read: {reason}", file=shown) from error


def pieces(
    stream: IO[bytes],
    shown: str,
    what: str,
    *,
    end: Callable[[bytes], int] | None = None,
) -> Iterator[bytes]:
    """The text in pieces that end with a row; the last one perhaps without a line end.

    `end` says where the last whole row of some bytes ends, 0 if none does.
    """
    last = end or last_line_end
    start = stream.read(_START)
    if not start:
        raise DataError("an empty file", file=shown, hint="put rows there, or another source")
    rest = _started(start, shown, what)
    while data := stream.read(BLOCK):
        buffer = rest + data
        length = last(buffer)
        if not length and len(buffer) > MAX_ROW:
            raise DataError(
                f"a row of more than {MAX_ROW >> 20} MiB",
                file=shown,
                hint="is a quote not closed, or are there no line ends?",
            )
        if length:
            yield buffer[:length]
        rest = buffer[length:]
    if rest:
        yield rest


def last_line_end(data: bytes) -> int:
    return data.rfind(b"\n") + 1


def _started(data: bytes, shown: str, what: str) -> bytes:
    check_magic(data, shown, what)
    if data.startswith(_WIDE) or 3 * data.count(b"\0") > len(data):
        raise DataError(
            "UTF-16 text",
            file=shown,
            expected="UTF-8",
            hint=f"convert it: iconv -f UTF-16 -t UTF-8 {shown}",
        )
    return data.removeprefix(_BOM)


def not_utf8(data: bytes) -> int | None:
    """Where the first byte is that is no UTF-8."""
    if data.isascii():
        return None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None
