"""The declared code as a fresh copy, and whether a tree is still what its manifest says.

A copy is made from a manifest, never from a listing, and every byte is hashed on its way: what is
in the copy is what the record will say. Raises VoidRunError, SurroundingsError.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from mllock.core.digest import hex_of
from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.errors import MllockError, VoidRunError
from mllock.store import atomic

__all__ = ["changed_entries", "copy_tree", "link_hard", "link_tree"]

_CHUNK = 1024 * 1024


def copy_tree(
    manifest: TreeManifest,
    source: Path | Callable[[Entry], Path],
    destination: Path,
    changed: Callable[[str], MllockError] | None = None,
) -> None:
    """Make `destination`, a folder, hold what `manifest` says, taken from `source`.

    A manifest of a single file: `source` is that file, and `destination` becomes its copy. Where
    files have other names than in the manifest, `source` is asked for each. Raises `changed(path)`,
    default a VoidRunError, if the bytes are not those of the manifest.
    """
    say = changed or _changed

    def put(entry: Entry, target: Path) -> None:
        if isinstance(source, Path):
            place = source if entry.path == SINGLE else source / entry.path
        else:
            place = source(entry)
        _copy_file(entry, place, target, say)

    if manifest.is_single_file:
        destination.parent.mkdir(parents=True, exist_ok=True)
        put(manifest.entries[0], destination)
        return
    destination.mkdir(parents=True, exist_ok=True)
    _lay_out(manifest, destination, put)


def link_tree(manifest: TreeManifest, source: Path, destination: Path) -> None:
    """Make `destination` show the files of `manifest` that are in `source`, by links to them."""
    if manifest.is_single_file:
        destination.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(source, destination)
        return
    destination.mkdir(parents=True, exist_ok=True)
    _lay_out(manifest, destination, lambda e, target: os.symlink(source / e.path, target))


def link_hard(manifest: TreeManifest, source: Path, destination: Path) -> None:
    """Make `destination` hold the files of `manifest`, a folder's: the very files where the disk
    has hard links, verified copies elsewhere.

    A link is not verified here: the source was before, and is again after the run.
    """

    def put(entry: Entry, target: Path) -> None:
        try:
            os.link(source / entry.path, target, follow_symlinks=False)
        except OSError:
            # Another disk, no links on it, or a file that is not the caller's.
            _copy_file(entry, source / entry.path, target, _data_changed)

    try:
        destination.mkdir(parents=True)
        _lay_out(manifest, destination, put)
    except OSError as error:
        raise atomic.cannot_write(destination, error) from error


def _lay_out(
    manifest: TreeManifest, destination: Path, put_file: Callable[[Entry, Path], None]
) -> None:
    for entry in manifest.entries:
        target = destination / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        match entry.kind:
            case "d":
                target.mkdir(exist_ok=True)
            case "l":
                assert entry.target is not None
                os.symlink(entry.target, target)
            case "f" | "x":
                put_file(entry, target)


def changed_entries(manifest: TreeManifest, root: Path) -> tuple[str, ...]:
    """The paths of `manifest` that are not in `root` as it says; other files do not matter."""
    return tuple(entry.path for entry in manifest.entries if not _same(entry, root))


def _same(entry: Entry, root: Path) -> bool:
    path = root if entry.path == SINGLE else root / entry.path
    try:
        status = path.lstat()
        match entry.kind:
            case "d":
                return stat.S_ISDIR(status.st_mode)
            case "l":
                return stat.S_ISLNK(status.st_mode) and os.readlink(path) == entry.target
            case "f" | "x":
                executable = bool(status.st_mode & stat.S_IXUSR)
                if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
                    return False
                with open(path, "rb", buffering=0) as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                assert entry.digest is not None
                return found == hex_of(entry.digest) and executable == (entry.kind == "x")
    except OSError:
        # Gone, a loop of links, unreadable: not what the manifest says.
        return False


def _copy_file(
    entry: Entry, source: Path, target: Path, changed: Callable[[str], MllockError]
) -> None:
    assert entry.digest is not None
    whole = hashlib.sha256()
    try:
        read = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise changed(entry.path) from None
    with open(read, "rb", buffering=0) as reader:
        try:
            with open(target, "xb", buffering=0) as writer:
                while chunk := reader.read(_CHUNK):
                    whole.update(chunk)
                    writer.write(chunk)
                os.fchmod(writer.fileno(), 0o755 if entry.kind == "x" else 0o644)
        except OSError as error:
            raise atomic.cannot_write(target, error) from error
    if whole.hexdigest() != hex_of(entry.digest):
        raise changed(entry.path)


def _changed(path: str) -> VoidRunError:
    return VoidRunError(
        "the code changed while the run was prepared", file=path, hint="train again"
    )


def _data_changed(path: str) -> VoidRunError:
    return VoidRunError(
        "the data changed while the run was prepared", file=path, hint="train again"
    )
