"""What a remote data source is to mllock: a list of files, and a stream for each of them.

`RemoteSource` is the port; `mllock.store.remote` has the real ones. A `Mark` is what a server says
of a file beside its bytes. It is a hint and never a proof: it may let a download be left out, or be
gone on with, and only bytes whose sha256 is known are ever used. A mark that `is_strong` promises
to change when the bytes do (RFC 9110 8.8.1); others let nothing be left out. Raises NotFoundError,
TransientError and RefusedError, whose texts are reasons without any URL.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from mllock.core.digest import sha256_of
from mllock.core.tree import SINGLE

__all__ = [
    "Listing",
    "Mark",
    "NotFoundError",
    "RefusedError",
    "RemoteFile",
    "RemoteSource",
    "Stream",
    "TransientError",
]


class TransientError(Exception):
    """Worth another try after `wait` seconds. The text is a reason such as "timed out"."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class RefusedError(Exception):
    """It is no use to ask again."""


class NotFoundError(RefusedError):
    """There is no such file, or folder with files."""

    def __init__(self) -> None:
        super().__init__("not found")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """`size` in bytes, None where the server does not say; `etag` and `version` as it writes
    them. `is_strong`: as long as all of them stay, so do the bytes, if the server is honest."""

    size: int | None = None
    etag: str | None = None
    version: str | None = None
    is_strong: bool = False

    def is_of(self, other: Mark) -> bool:
        """Whether both are of the same bytes, as far as they say anything. A list names no
        versions where a single answer does."""
        pairs = ((self.size, other.size), (self.etag, other.etag), (self.version, other.version))
        return all(None in pair or pair[0] == pair[1] for pair in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """`path` is relative to the source, `SINGLE` for a source that is a file."""

    path: str
    mark: Mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What is at a source, files sorted by path. Paths are as the server has them: unchecked."""

    kind: Literal["file", "folder"]
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes, as far as the server says."""
        return sum(file.mark.size or 0 for file in self.files)

    @property
    def mark(self) -> Mark:
        """Of the whole: of a folder, the sha256 of its list as etag."""
        if self.kind == "file" and len(self.files) == 1 and self.files[0].path == SINGLE:
            return self.files[0].mark
        rows = [
            f"{file.path}\t{file.mark.size}\t{file.mark.etag}\t{file.mark.version}\n"
            for file in self.files
        ]
        return Mark(
            size=self.size,
            etag=sha256_of("".join(rows).encode("utf-8", "surrogatepass")),
            is_strong=all(file.mark.is_strong for file in self.files),
        )


class Stream(Protocol):
    """The bytes of one file from `offset` on. `mark` is of these bytes."""

    offset: int
    mark: Mark

    def read(self, amount: int, /) -> bytes:
        """At most `amount` bytes, b"" at the end. Raises TransientError."""


class RemoteSource(Protocol):
    """One source, asked. May be used from several threads."""

    def look(self) -> Listing:
        """What is there now; reads no data."""

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The bytes of `file` from `offset` on, if they are still those of its mark; otherwise,
        and where a source cannot begin in the middle, from the start."""
