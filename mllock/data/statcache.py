"""What files were when they were last hashed, so that a lock with nothing to do reads no data.

For `lock` and `lock --check` only: `train`, `build` and `check` hash always. A digest is
remembered under path, size, mtime, ctime, inode and device, and only if the file was older than
the start of the hashing by the file system's own clock (git's rule for "racily clean" entries): a
later change in the same tick of that clock would show the same times. A cache that is missing or
unreadable is empty; one that cannot be written is not.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from mllock.core.digest import Digest
from mllock.core.tree import Entry

__all__ = ["Row", "StatCache", "row_of", "temporary"]

_VERSION = 1
# A file on another file system may have times of another clock.
_OTHER_CLOCK_NS = 2_000_000_000

Key = tuple[int, int, int, int, int]
# How a file looks: mode, size, mtime, ctime (in ns), inode, device.
Row = tuple[int, int, int, int, int, int]

row_of: Callable[[os.stat_result], Row] = operator.attrgetter(
    "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev"
)


class StatCache:
    """One file, `stat-cache.json`, read when it is first asked and written by `save`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "stat-cache.json"
        self._read: dict[str, tuple[Key, str]] | None = None
        self._stamp: tuple[int, int] | None = None

    @property
    def _known(self) -> dict[str, tuple[Key, str]]:
        if self._read is None:
            self._read = _read(self._path)
        return self._read

    def find(self, path: str, row: Row) -> Digest | None:
        """The digest of a file that looks as it did. `path` is relative to the project."""
        known = self._known.get(path)
        if known is None or known[0] != row[1:]:
            return None
        return Digest(known[1])

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

    def remember(self, path: str, row: Row, entry: Entry) -> bool:
        """What a file was that was looked at after `begin`, and hashed after that; False if it
        may not be remembered.

        If it was changed in between, nothing will ever look like `row` again.
        """
        self._known.pop(path, None)
        if self._stamp is None:
            return False
        now, here = self._stamp
        _, size, modified, changed, _, device = row
        now -= 0 if device == here else _OTHER_CLOCK_NS
        if entry.digest is None or entry.size != size or max(modified, changed) >= now:
            return False
        self._known[path] = (row[1:], entry.digest)
        return True

    def save(self, changed: bool) -> None:
        """Write the cache if anything in it changed."""
        if not changed or self._stamp is None:
            return
        files = {path: [*key, digest] for path, (key, digest) in sorted(self._known.items())}
        text = json.dumps({"version": _VERSION, "files": files}, separators=(",", ":"))
        path = temporary(self._path)
        # Not fsynced, and no error: without it the answer is right as well, only slower.
        with contextlib.suppress(OSError):
            try:
                path.write_text(text, encoding="ascii")
                path.replace(self._path)
            finally:
                path.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """A name of its own beside `path`."""
    return path.with_name(f".mllock-tmp-{os.getpid()}-{secrets.token_hex(6)}")


def _read(path: Path) -> dict[str, tuple[Key, str]]:
    try:
        value = json.loads(path.read_bytes())
        if value["version"] != _VERSION:
            return {}
        return {name: ((a, b, c, d, e), f) for name, (a, b, c, d, e, f) in value["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
