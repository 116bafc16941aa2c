"""Which blobs of the cache were hashed before, and are the same files still.

A build uses every layer of an image and makes one of them: hashing the others again, and once more
for each place that they go to, is most of its time. Here a blob counts as hashed if this user did
it since the machine started, and size, times, inode and device are what they were then. The rules
that make this as good as hashing: file and folders are this user's and no other may write them; the
kernel sets its change time, nobody else can; it was older than the start of the hashing by the file
system's own clock (git's rule for "racily clean" entries), or we have just made it; and another
start of the machine, which is what a power cut ends in, forgets everything. For builds only: what
proves, or comes from somewhere, or goes out of the machine, is hashed each time (`Cache.get`).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mllock.core.digest import Digest
from mllock.store import atomic
from mllock.store.own import are_private, make_folder, read_own

__all__ = ["Unchanged"]

_MAX_FILE = 16 << 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

# Size, mtime, ctime, inode, device.
_Look = tuple[int, int, int, int, int]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    boot: str
    blobs: Mapping[Digest, _Look]


class Unchanged:
    """One file for each user, in `folder`; one that is missing or unreadable says nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.geteuid()}.json"
        # Where others may rename, a name says nothing: not of a blob, not of this list.
        root = folder.parent
        private = are_private((root, root / "blobs", root / "blobs/sha256"))
        self._boot = _boot() if private else ""
        self._known = dict(_read(self._path, self._boot))
        self._new = False

    def is_known(self, digest: Digest, status: os.stat_result) -> bool:
        """Whether the file with this status was hashed, and was `digest`."""
        return self._known.get(digest) == _look(status) and _is_ours(status)

    def now(self) -> tuple[int, int] | None:
        """Time (ns) and device of the file system of the cache, to be asked before hashing."""
        probe = self._path.with_name(atomic.temp_name())
        try:
            make_folder(self._path.parent)
            try:
                with open(probe, "xb") as file:
                    status = os.fstat(file.fileno())
            finally:
                probe.unlink(missing_ok=True)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_dev

    def remember(
        self,
        digest: Digest,
        status: os.stat_result,
        after: os.stat_result,
        began: tuple[int, int] | None,
    ) -> None:
        """A file that was hashed after `began`, and had `status` before and `after` it."""
        if began is None or not self._boot or not _is_ours(status) or _look(after) != _look(status):
            return
        if status.st_dev == began[1] and max(status.st_mtime_ns, status.st_ctime_ns) < began[0]:
            self._known[digest] = _look(status)
            self._new = True

    def add(self, digest: Digest, status: os.stat_result | None) -> None:
        """A file that we have just made, and hashed while we wrote it."""
        if self._boot and status is not None and _is_ours(status):
            self._known[digest] = _look(status)
            self._new = True

    def renew(
        self, digest: Digest, before: os.stat_result | None, after: os.stat_result | None
    ) -> None:
        """A known file was given another name by us: its change time moved, and nothing else."""
        if before is None or after is None or not self.is_known(digest, before):
            return
        size, mtime, _, *rest = _look(before)
        if (size, mtime, after.st_ctime_ns, *rest) == _look(after) and _is_ours(after):
            self._known[digest] = _look(after)
            self._new = True

    def save(self) -> None:
        """Write what is new. No error: without it the answer is right as well, only slower."""
        if not self._new:
            return
        temporary = self._path.with_name(atomic.temp_name())
        # Not fsynced: what a power cut leaves of it belongs to another start of the machine.
        with contextlib.suppress(OSError):
            make_folder(self._path.parent)
            try:
                # What another process wrote since stays.
                known = {**_read(self._path, self._boot), **self._known}
                data = msgspec.json.encode(_File(boot=self._boot, blobs=known))
                with open(temporary, "xb", opener=_private) as file:
                    file.write(data)
                temporary.replace(self._path)
                self._new = False
            finally:
                temporary.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _read(path: Path, boot: str) -> Mapping[Digest, _Look]:
    data = read_own(path, _MAX_FILE)
    try:
        file = msgspec.json.decode(data or b"", type=_File)
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return file.blobs if boot and file.boot == boot else {}


def _is_ours(status: os.stat_result) -> bool:
    # Who may write a file can do it through a mapping, and its times follow late.
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & _OTHERS_WRITE
    )


def _look(status: os.stat_result) -> _Look:
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
    )
