"""Walking a folder: what is in it, by name and kind, before anything is read.

Yields files as they are found, so that they can be hashed meanwhile; remembers links, empty
folders and the identity of every folder. Invariants: nothing is entered through a link; names are
taken as bytes and must be UTF-8, whatever the locale; anything that is not a file, folder or link
is an error, unless it is left out. `verify` says whether the folders are still what they were.
Raises DataError that names the path, escaped where it cannot be printed.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from mllock.core import safepath, tree
from mllock.core.tree import Entry
from mllock.errors import DataError

__all__ = ["Walk", "link_entry", "paths_in", "shown"]

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def shown(path: str) -> str:
    """`path` as it can be printed: what does not print is escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in path)


class Walk:
    """One walk over `root`: the files and links that are `wanted`, in folders that are not to be
    skipped. `everything` says that nothing is left out: then empty folders count as well."""

    def __init__(
        self,
        root: Path,
        *,
        label: Callable[[str], str],
        wanted: Callable[[str], bool] = bool,
        skip: Callable[[str], bool] | None = None,
        everything: bool = True,
    ) -> None:
        self._root = os.fsencode(root)
        self.label = label
        self._wanted = wanted
        self._skip = skip
        self._all = everything
        self._folders: list[tuple[bytes, tuple[int, ...]]] = []
        self.entries: list[Entry] = []

    def paths(self) -> Iterator[str]:
        """Every wanted file. When the iterator has ended, `entries` holds links and empty folders.

        A chain of lists, one for each folder: a call for each file would be felt.
        """
        return itertools.chain.from_iterable(
            paths_in(folder, names) for folder, names, _ in self.folders()
        )

    def files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """As `paths`, with entries whose `stat` is quick until the next one is asked for."""
        for folder, names, found in self.folders():
            yield from zip(paths_in(folder, names), found, strict=True)

    def folders(self) -> Iterator[tuple[str, list[str], list[os.DirEntry[str]]]]:
        """As `files`, a folder at a time, with names in it; folders without files as well."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                with _Opened(self._at(folder)) as (descriptor, identity):
                    self._folders.append((self._at(folder), identity))
                    with os.scandir(descriptor) as scan:
                        found = list(scan)
                    files = [entry for entry in found if entry.is_file(follow_symlinks=False)]
                    names, files = self._selected(folder, files)
                    if len(files) < len(found):
                        names = names + self._others(folder, found, descriptor, waiting)
                    self._check_names(folder, names)
                    if not found and folder and self._all:
                        self.entries.append(Entry(kind="d", path=folder))
                    yield folder, names[: len(files)], files
            except OSError as error:
                raise self._unreadable(folder, error) from error

    def _selected(
        self, folder: str, files: list[os.DirEntry[str]]
    ) -> tuple[list[str], list[os.DirEntry[str]]]:
        names = [entry.name for entry in files]
        if not "".join(names).isascii():
            names = [self._decoded(folder, name) for name in names]
        if self._all:
            return names, files
        pairs = [
            (name, entry)
            for name, entry in zip(names, files, strict=True)
            if self._wanted(_join(folder, name))
        ]
        return [name for name, _ in pairs], [entry for _, entry in pairs]

    def _others(
        self,
        folder: str,
        found: list[os.DirEntry[str]],
        descriptor: int,
        waiting: list[str],
    ) -> list[str]:
        """Folders to walk and links; the names among them that have to get on with the files'."""
        names: list[str] = []
        folders: list[str] = []
        for entry in found:
            if entry.is_file(follow_symlinks=False):
                continue
            name = self._decoded(folder, entry.name)
            path = _join(folder, name)
            if entry.is_dir(follow_symlinks=False):
                if self._skip is None or not self._skip(path):
                    folders.append(path)
                    # One that holds nothing selected is in nobody's way.
                    names += [name] if self._all else []
            elif self._wanted(path):
                names.append(name)
                self._other(path, entry, descriptor)
        waiting += sorted(folders, reverse=True)
        return names

    @property
    def is_valid(self) -> bool:
        """Whether what was found keeps all rules of a tree without another look: names and
        collisions were checked folder by folder. Links need one, and so does a selection."""
        return self._all and all(entry.kind == "d" for entry in self.entries)

    def verify(self) -> None:
        """Raises DataError if a folder was replaced, or (if all is wanted) got other content."""
        length = 3 if self._all else 2
        for path, before in self._folders:
            try:
                after = _identity(os.lstat(path))
            except OSError:
                after = ()
            if after[:length] != before[:length]:
                relative = os.fsdecode(path[len(self._root) + 1 :])
                raise DataError(
                    "changed while it was hashed",
                    file=self.label(shown(relative)),
                    hint="wait until nothing writes to it, then run the same command again",
                )

    def _at(self, folder: str) -> bytes:
        return self._root + b"/" + folder.encode() if folder else self._root

    def _decoded(self, folder: str, name: str) -> str:
        if name.isascii():
            return name
        try:
            return os.fsencode(name).decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(
                "the name is not UTF-8",
                file=self.label(shown(_join(folder, name))),
                hint="rename it",
            ) from None

    def _check_names(self, folder: str, names: list[str]) -> None:
        """Early, so that nobody waits for gigabytes to be hashed before a name is refused."""
        try:
            safepath.check_all(names)
        except ValueError:
            for path in (_join(folder, name) for name in names):
                reason = safepath.problem(path)
                if reason is not None:
                    raise DataError(
                        f"a name that is not portable: {reason}",
                        file=self.label(shown(path)),
                        hint="rename it, or exclude it",
                    ) from None
        both = safepath.collision(names)
        if both is not None:
            first, second = sorted(both)
            raise DataError(
                f"the same name as {shown(second)!r} on some file systems",
                file=self.label(shown(_join(folder, first))),
                hint="rename one of them",
            )

    def _other(self, path: str, entry: os.DirEntry[str], descriptor: int) -> None:
        """A link, or what may not be in a tree."""
        if not entry.is_symlink():
            mode = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
            raise DataError(
                f"{_KINDS.get(mode, 'something unknown')}, not a file",
                file=self.label(shown(path)),
                hint="remove it, or exclude it",
            )
        target = os.readlink(entry.name, dir_fd=descriptor)
        self.entries.append(link_entry(path, target, self.label))

    def _unreadable(self, folder: str, error: OSError) -> DataError:
        reason = (error.strerror or str(error)).lower()
        return DataError(f"cannot be read: {reason}", file=self.label(shown(folder)))


def paths_in(folder: str, names: list[str]) -> list[str]:
    """The paths of what has these names in a folder."""
    if not folder:
        return names
    prefix = f"{folder}/"
    return [prefix + name for name in names]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def link_entry(path: str, target: str, label: Callable[[str], str]) -> Entry:
    """The entry of a link whose `target` is as os.readlink gives it. Raises DataError."""
    try:
        text = os.fsencode(target).decode("utf-8")
        tree.check_link(path, text)
    except ValueError as error:
        raise DataError(
            "a link that does not stay in the folder",
            file=label(shown(path)),
            found=shown(target),
            hint="put a copy of what it leads to in its place, or exclude it",
        ) from error
    return Entry(kind="l", path=path, target=text)


class _Opened:
    """A folder held open: `with _Opened(path) as (descriptor, identity)`."""

    def __init__(self, path: bytes) -> None:
        self._descriptor = os.open(path, _FLAGS)

    def __enter__(self) -> tuple[int, tuple[int, ...]]:
        return self._descriptor, _identity(os.fstat(self._descriptor))

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns
