"""A file or folder that may lie, as a tree: every byte hashed now, nothing followed, no stat cache.

Unlike `mllock.data.scan` it does not refuse what it cannot hold (devices, FIFOs, unsafe names,
files that change while they are read): it lists it, so that a check can say where and what.
Regular files are opened without following links, and must be the same file before and after.
What is far larger than the model may be is listed and not read: sparse files are cheap to make.
Raises InputError only if nothing is there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mllock.check.evidence import FoundTree
from mllock.core import safepath
from mllock.core.digest import Digest
from mllock.core.tree import SINGLE, Entry, check_link
from mllock.errors import InputError

__all__ = ["read_tree"]

_CHUNK = 1024 * 1024
# Files that are somewhat too large are still hashed, so that they can be told apart.
SLACK = 1024**3
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(slots=True)
class _Listing:
    """`files` are (size, path on disk, name)."""

    files: list[tuple[int, str, str]] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)


def read_tree(root: Path, signed: int | None = None) -> FoundTree:
    """The tree at `root`; a single file is a tree whose entry is ".".

    No more than `signed` + SLACK bytes are read, the smallest files first; None is no limit.
    """
    try:
        status = root.lstat()
    except FileNotFoundError:
        raise InputError("no such file or folder", file=str(root)) from None
    listing = _Listing()
    if stat.S_ISREG(status.st_mode):
        listing.files.append((status.st_size, str(root), SINGLE))
    elif stat.S_ISDIR(status.st_mode):
        _list(str(root), listing)
    else:
        listing.odd[SINGLE] = _kind(status.st_mode)
    files = _affordable(listing, signed)
    size = 0
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mllock-check") as pool:
        for (_, _, name), read in zip(files, pool.map(_hash, files), strict=True):
            if isinstance(read, str):
                listing.odd[name] = read
            else:
                listing.entries[name] = read
                size += read.size
    called = root.name if SINGLE in listing.entries else None
    return FoundTree(entries=listing.entries, odd=listing.odd, size=size, name=called)


def _affordable(listing: _Listing, signed: int | None) -> list[tuple[int, str, str]]:
    """The files to read; the others become odd."""
    if signed is None:
        return listing.files
    left = signed + SLACK
    files = []
    for size, full, name in sorted(listing.files):
        left -= size
        if left >= 0:
            files.append((size, full, name))
        else:
            listing.odd[name] = f"a file of {size} bytes, not read: all of the model has {signed}"
    return files


def _list(root: str, listing: _Listing) -> None:
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(os.path.join(root, prefix)) as items:
            names = sorted(item.name for item in items)
        if not names and prefix:
            listing.entries[prefix] = Entry(kind="d", path=prefix)
        for name in names:
            path = f"{prefix}/{name}" if prefix else name
            full = os.path.join(root, path)
            status = os.lstat(full)
            mode = status.st_mode
            problem = safepath.problem(path)
            if problem is not None:
                listing.odd[path] = f"{_kind(mode)} with a name that is not safe: {problem}"
            elif stat.S_ISDIR(mode):
                waiting.append(path)
            elif stat.S_ISREG(mode):
                listing.files.append((status.st_size, full, path))
            elif stat.S_ISLNK(mode):
                _link(path, os.readlink(full), listing)
            else:
                listing.odd[path] = _kind(mode)


def _link(path: str, target: str, listing: _Listing) -> None:
    try:
        check_link(path, target)
    except ValueError:
        listing.odd[path] = f"a link out of the tree, to {target}"
    else:
        listing.entries[path] = Entry(kind="l", path=path, target=target)


def _hash(file: tuple[int, str, str]) -> Entry | str:
    listed, full, name = file
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(full, flags)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise
        return "a file that went away while it was read"
    with open(descriptor, "rb", buffering=0) as handle:
        before = os.fstat(handle.fileno())
        if not stat.S_ISREG(before.st_mode):
            return f"{_kind(before.st_mode)}, put there while it was read"
        whole = hashlib.sha256()
        size = 0
        # A file that grows while it is read would be read for ever.
        while size <= listed and (chunk := handle.read(_CHUNK)):
            whole.update(chunk)
            size += len(chunk)
        after = os.fstat(handle.fileno())
        if _identity(before) != _identity(after) or not size == listed == after.st_size:
            return "a file that changed while it was read"
    return Entry(
        kind="x" if before.st_mode & stat.S_IXUSR else "f",
        path=name,
        size=size,
        digest=Digest(f"sha256:{whole.hexdigest()}"),
    )


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "a file"
    if stat.S_ISDIR(mode):
        return "a folder"
    return _KINDS.get(stat.S_IFMT(mode), "a link")
