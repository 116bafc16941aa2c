"""Writing to an environment without ever leaving it, and without removing what somebody made.

Folders on the way are real ones: a link in the way is moved aside, and what is behind it is neither
read nor written. What is in the place of a file that has to be there is moved to `mllock-kept`.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from mllock.core.ports import Reporter
from mllock.errors import InputError
from mllock.train.synced import record_rows

__all__ = ["KEPT", "Folder", "recorded_hashes"]

KEPT = "mllock-kept"
# Where the disk has no links, or the file has as many as it can have, or is another user's.
_NO_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.EACCES})
_PYC = re.compile(r"(?P<module>.+)\.[^.]+-[0-9]+(\.opt-[^.]+)?\.pyc")
# So many files that were kept are named; the folder has them all.
_NAMED = 5


class Folder:
    """The environment `root`. Paths are relative to it, and safe."""

    def __init__(self, root: Path, reporter: Reporter) -> None:
        self._root = str(root)
        self._reporter = reporter
        self._real: set[str] = {""}
        self._kept: list[str] = []

    def remove(self, paths: Iterable[str]) -> None:
        """Files and links at `paths`, the bytecode beside modules, and folders that are empty then.
        What is not there, or is a folder, or is behind a link, is passed over."""
        folders: dict[str, set[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            if self._is_real(folder):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                    os.unlink(self._at(path))
                folders.setdefault(folder, set()).add(name)
        for folder, names in folders.items():
            self._remove_bytecode(folder, names)
        for folder in sorted(folders, key=len, reverse=True):
            self._prune(folder)

    def keep(self, paths: Iterable[str]) -> None:
        """Move what is at `paths` aside, and say so at the end."""
        for path in paths:
            if self._is_real(path.rpartition("/")[0]) and os.path.lexists(self._at(path)):
                self._keep(path)

    def make(self, folder: str) -> None:
        """Make `folder`, and those that it is in."""
        self._make(folder)

    def link(self, source: str, path: str) -> bool:
        """Make `path` the very file `source`, or, where that is not possible, a copy of it: then
        the answer is False."""
        self._make(path.rpartition("/")[0])
        target = self._at(path)
        try:
            return self._linked(source, target)
        except FileExistsError:
            self._keep(path)
            return self._linked(source, target)

    @staticmethod
    def _linked(source: str, target: str) -> bool:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
        else:
            return True
        with open(source, "rb") as reader, open(target, "xb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            executable = os.fstat(reader.fileno()).st_mode & stat.S_IXUSR
            os.fchmod(writer.fileno(), 0o755 if executable else 0o644)
        return False

    def write(self, path: str, data: bytes | memoryview, mode: int) -> None:
        self._make(path.rpartition("/")[0])
        if os.path.lexists(self._at(path)):
            self._keep(path)
        with open(self._at(path), "xb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)

    def tell(self) -> None:
        """Name what was moved aside."""
        for path in self._kept[:_NAMED]:
            self._reporter.warn(f"was changed by hand, and is now {path}")
        if len(self._kept) > _NAMED:
            more = len(self._kept) - _NAMED
            self._reporter.warn(f"{more} more such files are in {self._root}/{KEPT}")

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _is_real(self, folder: str) -> bool:
        """Whether `folder` is there, and no part of it is a link."""
        if folder in self._real:
            return True
        if not self._is_real(folder.rpartition("/")[0]):
            return False
        try:
            real = stat.S_ISDIR(os.lstat(self._at(folder)).st_mode)
        except OSError:
            return False
        if real:
            self._real.add(folder)
        return real

    def _make(self, folder: str) -> None:
        if self._is_real(folder):
            return
        self._make(folder.rpartition("/")[0])
        if os.path.lexists(self._at(folder)):
            self._keep(folder)
        os.mkdir(self._at(folder), 0o755)
        self._real.add(folder)

    def _keep(self, path: str) -> None:
        place = f"{KEPT}/{path}"
        number = 0
        while os.path.lexists(self._at(place)):
            number += 1
            place = f"{KEPT}/{path}.{number}"
        self._make_kept(os.path.dirname(place))
        os.rename(self._at(path), self._at(place))
        self._real = {""}
        self._kept.append(self._at(place))

    def _make_kept(self, folder: str) -> None:
        """As `_make`, where nothing can be moved aside: a link would lead it out of here."""
        if self._is_real(folder):
            return
        self._make_kept(folder.rpartition("/")[0])
        if os.path.islink(self._at(folder)):
            raise InputError(
                "a link is where files that were changed by hand are kept",
                file=self._at(folder),
                found=f"a link to {os.readlink(self._at(folder))}",
                hint='remove the link, then run "mllock sync" again',
            )
        os.mkdir(self._at(folder), 0o755)
        self._real.add(folder)

    def _remove_bytecode(self, folder: str, names: set[str]) -> None:
        cache = f"{folder}/__pycache__"
        modules = {name.removesuffix(".py") for name in names if name.endswith(".py")}
        if not modules or not self._is_real(cache):
            return
        for name in os.listdir(self._at(cache)):
            match = _PYC.fullmatch(name)
            if match is not None and match["module"] in modules:
                os.unlink(self._at(f"{cache}/{name}"))
        self._drop(cache)

    def _prune(self, folder: str) -> None:
        while folder.count("/") > 2 or folder.startswith("include/"):
            if not self._drop(folder):
                return
            folder = folder.rpartition("/")[0]

    def _drop(self, folder: str) -> bool:
        if not self._is_real(folder):
            return True
        try:
            os.rmdir(self._at(folder))
        except OSError:
            return False
        self._real.discard(folder)
        return True


def recorded_hashes(record: Path, site: str) -> Mapping[str, str]:
    """Path in the environment -> sha256 in hex, as an installed RECORD has them."""
    found = {}
    for row in record_rows(record) or ():
        if len(row) == 3 and row[1].startswith("sha256="):
            path = os.path.normpath(f"{site}/{row[0]}")
            with contextlib.suppress(ValueError):
                found[path] = base64.urlsafe_b64decode(f"{row[1][7:]}==").hex()
    return found


def is_edited(place: Path, sha256: str | None) -> bool:
    """Whether the file that should have these bytes is a file, and has others."""
    try:
        if not stat.S_ISREG(os.lstat(place).st_mode):
            return os.path.lexists(place)
        with open(place, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() != sha256
    except OSError:
        return False
