"""Whether anybody wrote to declared data between two moments, also if it was put back since.

Two equal hashes say what the data was at two moments, and nothing about what a program read in
between. The kernel's own marks do: inode, size, time of modification, and the time of change, which
no program can set. Order: `look` before the first hashing, `touched` after the last. Not a proof
against root or a disk that keeps no such times. Raises DataError where a source cannot be listed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mllock.core.globs import is_everything
from mllock.data.pin import locate
from mllock.data.scan import labeller, walk_of
from mllock.data.walk import shown
from mllock.errors import DataError
from mllock.spec.sources import here
from mllock.spec.types import DataSource

__all__ = ["Look", "Looks", "look", "touched"]


class Look(NamedTuple):
    """What the system says of one file, folder or link."""

    mode: int
    device: int
    inode: int
    size: int
    modified: int
    changed: int
    links: int

    @classmethod
    def of(cls, status: os.stat_result) -> Look:
        return cls(
            mode=status.st_mode,
            device=status.st_dev,
            inode=status.st_ino,
            # The size of a folder is the file system's own affair, its links are its folders.
            size=0 if stat.S_ISDIR(status.st_mode) else status.st_size,
            modified=status.st_mtime_ns,
            changed=status.st_ctime_ns,
            links=0 if stat.S_ISDIR(status.st_mode) else status.st_nlink,
        )

    def differs(self, other: Look, *, linked: bool) -> bool:
        if linked and self.links != other.links:
            # A hard link more or less moves the time of change, and nothing else.
            return self[:5] != other[:5]
        return self != other


# Path below the source ("" for itself) -> how it looks.
Looks = Mapping[str, Look]


def look(project: Path, name: str, source: DataSource) -> Looks:
    """How all that is declared of a source looks now; of a whole folder also its folders."""
    root = locate(project, name, source)
    try:
        first = os.lstat(root)
        if not stat.S_ISDIR(first.st_mode):
            return {"": Look.of(first)}
        if not is_everything(source.include, source.exclude):
            return dict(_selected(root, source))
        return {"": Look.of(first), **dict(_below(str(root)))}
    except OSError as error:
        raise DataError(
            f"cannot be read: {(error.strerror or str(error)).lower()}",
            file="mlproject.toml",
            key=f"data.{name}.source",
        ) from error


def touched(before: Looks, after: Looks, *, linked: bool = False) -> str | None:
    """The first path that is not the same thing, untouched; None if all are. With `linked`, hard
    links to the files may have been made meanwhile: by us, to show them to a container."""
    for path in sorted({*before, *after}):
        one, other = before.get(path), after.get(path)
        if one is None or other is None or one.differs(other, linked=linked):
            return shown(path)
    return None


def _below(root: str) -> Iterator[tuple[str, Look]]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as found:
            for entry in found:
                status = entry.stat(follow_symlinks=False)
                path = os.path.join(folder, entry.name)
                yield path, Look.of(status)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)


def _selected(root: Path, source: DataSource) -> Iterator[tuple[str, Look]]:
    """What the patterns select. The program sees these files and not their folders, so that
    somebody may write other files into them."""
    walk = walk_of(root, source.include, source.exclude, labeller(here(source)))
    for path, entry in walk.files():
        yield path, Look.of(entry.stat(follow_symlinks=False))
    for link in walk.entries:
        yield link.path, Look.of(os.lstat(root / link.path))
