"""What files were when they were last hashed, so that a lock with nothing to do reads no data.

For `lock` and `lock --check` only: `train`, `build` and `check` hash always. Kept folder by folder:
how all files of a folder looked (name, mode, size, mtime, ctime, inode, device) as bytes that are
compared as bytes, and their lines of the manifest; a folder that looks the same is taken as it is.
A look is remembered only if the file was older than the start of the hashing by the file system's
own clock (git's rule for "racily clean" entries): a later change in the same tick of that clock
would show the same times. A cache that is missing or damaged (it ends with a digest of itself) is
empty; one that cannot be written is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from mllock.core.tree import Entry

__all__ = ["Kept", "Row", "StatCache", "look_of", "row_of", "rows_of", "temporary"]

_HEADER = b"mllock-stat-cache\t3\n"
# A file on another file system may have times of another clock.
_OTHER_CLOCK_NS = 2_000_000_000
# Sets of patterns that are remembered of one place.
_MOST = 4

# How a file looks: mode, size, mtime, ctime (in ns), inode, device.
Row = tuple[int, int, int, int, int, int]

row_of: Callable[[os.stat_result], Row] = operator.attrgetter(
    "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev"
)

_encode = msgspec.msgpack.Encoder().encode
_seen = msgspec.msgpack.Decoder(tuple[str, list[str], list[Row]]).decode
_decode = msgspec.msgpack.Decoder(tuple[str, list[str], list[Row | None]]).decode


def look_of(folder: str, names: list[str], rows: list[Row] | list[Row | None]) -> bytes:
    """How the files of a folder look, as bytes; None for one that may not be believed."""
    return _encode((folder, names, rows))


def rows_of(look: bytes) -> tuple[list[str], list[Row]]:
    """Names and rows of the look of what is there, each of which has one."""
    _, names, rows = _seen(look)
    return names, rows


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The files of a folder: how they look, and the lines of the manifest, in the same order; the
    bytes in all of them."""

    look: bytes
    lines: str
    size: int

    def files(self) -> dict[str, tuple[Row | None, str]]:
        """Name -> how it looked, and its line."""
        _, names, rows = _decode(self.look)
        lines = self.lines.split("\n")
        return dict(zip(names, zip(rows, lines, strict=True), strict=True))


# The folders of one source, by their paths in it.
Folders = Mapping[str, Kept]

_sources = msgspec.msgpack.Decoder(dict[str, dict[str, Kept]]).decode


class StatCache:
    """One file, `stat-cache`, read when it is first asked. A source is known by its place and its
    patterns; where these are new, what was known of the same place with others is asked."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "stat-cache"
        self._read: dict[str, Folders] | None = None
        self._stamp: tuple[int, int] | None = None

    @property
    def _known(self) -> dict[str, Folders]:
        if self._read is None:
            self._read = _read(self._path)
        return self._read

    def folders(self, key: str) -> Folders:
        """What is known of the source `key`, a JSON array that begins with its place."""
        known = self._known
        if key in known:
            return known[key]
        return next((known[other] for other in reversed(known) if _base(other) == _base(key)), {})

    def begin(self) -> None:
        """Before hashing: take the time from the file system that holds the cache."""
        probe = temporary(self._path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(probe, "xb") as file:
                status = os.fstat(file.fileno())
            probe.unlink()
        except OSError:
            self._stamp = None
        else:
            self._stamp = (status.st_mtime_ns, status.st_dev)

    def may_believe(self, row: Row, entry: Entry) -> bool:
        """Whether a file that was looked at after `begin`, and hashed after that, is `entry` as
        long as it looks like `row`. If it was changed in between, nothing will look so again."""
        if self._stamp is None:
            return False
        now, here = self._stamp
        _, size, modified, changed, _, device = row
        now -= 0 if device == here else _OTHER_CLOCK_NS
        return entry.size == size and modified < now and changed < now

    def save(self, key: str, folders: Folders, project: Path) -> None:
        """Remember a source, and forget places that are no more."""
        if self._stamp is None:
            return
        known = {
            other: kept
            for other, kept in self._known.items()
            if other != key and os.path.lexists(project / _base(other))
        }
        same = [other for other in known if _base(other) == _base(key)]
        for other in same[: max(0, len(same) - _MOST + 1)]:
            del known[other]
        known[key] = folders
        self._read = known
        content = _HEADER + _encode(known)
        path = temporary(self._path)
        # Not fsynced, and no error: without it the answer is right as well, only slower.
        with contextlib.suppress(OSError):
            try:
                path.write_bytes(content + hashlib.sha256(content).digest())
                path.replace(self._path)
            finally:
                path.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """A name of its own beside `path`."""
    return path.with_name(f".mllock-tmp-{os.getpid()}-{secrets.token_hex(6)}")


def _base(key: str) -> str:
    return str(json.loads(key)[0])


def _read(path: Path) -> dict[str, Folders]:
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return {}
    size = hashlib.sha256().digest_size
    if content[: len(_HEADER)] != _HEADER or hashlib.sha256(content[:-size]).digest() != bytes(
        content[-size:]
    ):
        return {}
    return dict(_sources(content[len(_HEADER) : -size]))
