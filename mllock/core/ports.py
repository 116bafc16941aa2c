"""The ports: what the pure spine asks of the outside, as small Protocols.

Rooms take these as arguments; `mllock.workflows.context` makes the real ones. No port knows
another. Each says which MllockError its methods raise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mllock.core.digest import Digest

__all__ = ["Blobs", "Fetcher", "Reporter", "Want"]


class Reporter(Protocol):
    """Where progress goes: standard error, or nowhere. Never data."""

    def step(self, text: str) -> None:
        """A stage began, e.g. "resolving 4 requirements"."""

    def note(self, text: str) -> None:
        """One line that a user would want to know once, e.g. what was chosen."""

    def detail(self, text: str) -> None:
        """One line for those who asked for more, e.g. what a program that we ran wrote."""

    def warn(self, text: str) -> None:
        """One line about something that needs attention but did not stop the work."""

    def progress(self, text: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A stage of `total` bytes. The block calls what it is given with the bytes that were done
        since the last call, from any thread; fewer than none where work has to be done again."""


class Blobs(Protocol):
    """Content-addressed files. Nothing is believed by its name or its size alone."""

    def get(self, digest: Digest) -> Path | None:
        """The file with these bytes, hashed now, or None. A damaged entry is removed (and
        reported) and is None."""

    def unchanged(self, digests: Iterable[Digest]) -> dict[Digest, Path | None]:
        """The same for many, where a file that was hashed before and is as it was need not be
        hashed again. Not for what proves anything."""

    def link(self, places: Mapping[Digest, Path]) -> None:
        """Put what `unchanged` found at these paths, by hard links where that is possible."""

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data`. Atomic; an equal entry that is already there is left alone."""

    def put_file(self, path: Path, *, expected: Digest | None = None, move: bool = False) -> Digest:
        """Keep the bytes of `path`. Raises IntegrityError if they are not `expected`."""

    def scratch(self) -> AbstractContextManager[Path]:
        """A new empty folder on the same file system, removed afterwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """One file to fetch: any of `urls` will do, if the bytes are right. `gone` is the next step if
    all of them answer that they do not have it."""

    name: str
    urls: tuple[str, ...]
    size: int
    digest: Digest
    gone: str | None = None


class Fetcher(Protocol):
    """HTTP and file access to archives."""

    def read(self, url: str, *, max_bytes: int) -> bytes:
        """The small document at `url`. Raises OfflineError; FileNotFoundError on 404 and 410."""

    def fetch(self, wants: Sequence[Want]) -> None:
        """Put all of `wants` into the blob store, in parallel, verified while reading.

        Raises OfflineError or IntegrityError that names the file and where it was asked for.
        """
