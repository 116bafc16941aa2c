"""The tree of a source without reading what looks as it did: for `lock` and `lock --check` only.

Two memories, asked in this order. `trees.json` has one line for each source: the sha256 over how
everything in it looked, and what its tree was; if all of it looks the same, that is the answer, and
50,000 files cost their status calls. Otherwise `stat-cache` says folder by folder what need not be
hashed, and the manifest is sorted together from its lines. A source gets its line only if each of
its files may be remembered, which racily clean ones may not (`mllock.data.statcache`). A memory
that is damaged is empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import operator
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mllock.core.digest import Digest, is_digest, sha256_of
from mllock.core.tree import HEADER, SINGLE, Entry
from mllock.data.hashing import failure, file_entry, hash_files
from mllock.data.scan import kind_of_root, labeller, valid_text, walk_of
from mllock.data.statcache import (
    Folders,
    Kept,
    Row,
    StatCache,
    look_of,
    row_of,
    rows_of,
    temporary,
)
from mllock.data.walk import Walk, paths_in
from mllock.data.worker import BUFFER, hash_file
from mllock.errors import DataError
from mllock.spec.sources import here
from mllock.spec.types import DataSource

__all__ = ["Facts", "Remembered"]

_VERSION = 2
# A line is its kind, TAB, the path, and more after a TAB, which sorts before all that a path holds.
_FROM_PATH = operator.itemgetter(slice(2, None))


# Structs and not dataclasses: to import these three takes a millisecond less, and a tree has many.
class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a lock holds of a tree, by the names that a TreeManifest has for it; `text` is the
    manifest, if the tree was looked at file by file."""

    digest: Digest
    files: int
    size: int
    is_single_file: bool
    text: bytes | None = None


class _Folder(msgspec.Struct, frozen=True, gc=False):
    """How the selected files of one folder look. No object is kept for each: tens of thousands of
    them cost a sixth of the time of all status calls, and are wanted where something changed."""

    name: str
    look: bytes


class _Part(msgspec.Struct, frozen=True):
    """The files of a folder that does not look as it did: in the order of its look, and with None
    for the line of a file that is to be hashed."""

    names: list[str]
    rows: list[Row]
    paths: list[str]
    lines: list[str | None]


class Remembered:
    """The trees of a project whose state is in `state_dir`; nothing is written to it unless it may
    `learn`."""

    def __init__(self, project: Path, state_dir: Path, *, learn: bool = True) -> None:
        self._project = project
        self._learns = learn
        self._path = state_dir / "trees.json"
        self._files = StatCache(state_dir)

    def facts(self, root: Path, source: DataSource) -> Facts:
        """Of the tree at `root`, which is where `source` is. Raises DataError."""
        return self._tree(root, source, whole=False)

    def text(self, root: Path, source: DataSource) -> bytes:
        """The manifest of the same."""
        text = self._tree(root, source, whole=True).text
        assert text is not None
        return text

    def _tree(self, root: Path, source: DataSource, *, whole: bool) -> Facts:
        label = labeller(here(source))
        base = os.path.relpath(root, os.path.realpath(self._project))
        key = json.dumps([base, source.include, source.exclude])
        if self._learns:
            self._files.begin()  # before anything is looked at
        walk = None
        if kind_of_root(root, label) == "folder":
            walk = walk_of(root, source.include, source.exclude, label)
        folders: Iterable[_Folder] = _looks(walk) if walk is not None else [_alone(root)]
        line = None if whole else self._read().get(key)
        if line is not None:
            # All of it is looked at first; without such a line, files are hashed meanwhile.
            folders = list(folders)
            known = _recall(line, _digest_of(folders, walk))
            if known is not None:
                if walk is not None:
                    walk.verify()
                return known
        files = _Files(self._files, self._files.folders(key))
        if walk is None:
            entries = [_hashed(root, here(source)) for _ in files.unknown(folders)]
        else:
            entries = hash_files(root, files.unknown(folders), label)
        files.found(entries)
        others = [] if walk is None else [entry.line() for entry in walk.entries]
        lines = sorted([*files.lines(), *others], key=_FROM_PATH)
        text = "\n".join([HEADER, *lines, ""]).encode()
        if walk is not None:
            walk.verify()
            if not walk.is_valid:
                valid_text(text, label)
        facts = Facts(
            digest=sha256_of(text),
            files=files.count,
            size=files.size,
            is_single_file=walk is None,
            text=text,
        )
        if files.changed:
            self._files.save(key, files.kept, self._project)
        if files.settled and self._learns:
            self._remember(key, _digest_of(files.folders, walk), facts)
        return facts

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self._path.read_bytes())
            known = value["sources"] if value["version"] == _VERSION else {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}

    def _remember(self, key: str, look: str, tree: Facts) -> None:
        known = self._read()
        known[key] = [look, tree.digest, tree.files, tree.size, tree.is_single_file]
        text = json.dumps({"version": _VERSION, "sources": known}, indent=1, sort_keys=True)
        path = temporary(self._path)
        with contextlib.suppress(OSError):
            try:
                path.write_text(text + "\n", encoding="ascii")
                path.replace(self._path)
            finally:
                path.unlink(missing_ok=True)


class _Files:
    """The files of a source: which are known by their looks, and which have to be hashed. Order:
    `unknown`, to its end; `found`; then the rest."""

    def __init__(self, cache: StatCache, known: Folders) -> None:
        self._cache = cache
        self._known = known
        self._parts: dict[str, _Part] = {}
        self.folders: list[_Folder] = []
        self.kept: dict[str, Kept] = {}
        self.count = self.size = 0
        self.settled = True

    @property
    def changed(self) -> bool:
        """Whether the cache would be another one."""
        return bool(self._parts) or len(self.kept) != len(self._known)

    def unknown(self, folders: Iterable[_Folder]) -> Iterator[str]:
        for folder in folders:
            self.folders.append(folder)
            kept = self._known.get(folder.name)
            if kept is not None and kept.look == folder.look:
                self.kept[folder.name] = kept
                continue
            names, rows = rows_of(folder.look)
            paths = paths_in(folder.name, names)
            lines: list[str | None] = [None] * len(paths)
            if kept is not None:
                before = kept.files()
                for index, (name, row) in enumerate(zip(names, rows, strict=True)):
                    looked, line = before.get(name, (None, None))
                    if looked == row:
                        lines[index] = line
            self._parts[folder.name] = _Part(names, rows, paths, lines)
            for path, line in zip(paths, lines, strict=True):
                if line is None:
                    yield path

    def found(self, entries: list[Entry]) -> None:
        """What those files are."""
        hashed = {entry.path: entry for entry in entries}
        for folder in self.folders:
            part = self._parts.get(folder.name)
            if part is not None:
                self.kept[folder.name] = self._filled(folder, part, hashed)
        for kept in self.kept.values():
            self.count += kept.lines.count("\n") + 1
            self.size += kept.size

    def _filled(self, folder: _Folder, part: _Part, hashed: dict[str, Entry]) -> Kept:
        rows: list[Row | None] = list(part.rows)
        lines: list[str] = []
        size = 0
        for index, (path, row, line) in enumerate(
            zip(part.paths, part.rows, part.lines, strict=True)
        ):
            if line is not None:
                lines.append(line)
                size += row[1]
                continue
            entry = hashed[path]
            lines.append(entry.line())
            size += entry.size
            if not self._cache.may_believe(row, entry):
                rows[index] = None
                self.settled = False
        look = folder.look if self.settled else look_of(folder.name, part.names, rows)
        return Kept(look=look, lines="\n".join(lines), size=size)

    def lines(self) -> Iterator[str]:
        for kept in self.kept.values():
            yield from kept.lines.split("\n")


def _looks(walk: Walk) -> Iterator[_Folder]:
    """How everything that is selected looks, folder by folder; those without files have no look."""
    for folder, names, found in walk.folders():
        if not names:
            continue
        try:
            # Quicker than operator.methodcaller, which makes its keywords anew for each call.
            rows = [row_of(entry.stat(follow_symlinks=False)) for entry in found]
        except FileNotFoundError as error:
            raise DataError(
                "changed while it was hashed",
                file=walk.label(folder),
                hint="wait until nothing writes to it, then run the same command again",
            ) from error
        yield _Folder(folder, look_of(folder, names, rows))


def _alone(root: Path) -> _Folder:
    return _Folder("", look_of("", [SINGLE], [row_of(os.lstat(root))]))


def _digest_of(folders: Iterable[_Folder], walk: Walk | None) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        digest.update(folder.look)  # an encoding that says where it ends
    others = [] if walk is None else [entry.line() for entry in walk.entries]
    digest.update(json.dumps(others).encode())
    return digest.hexdigest()


def _recall(line: Any, look: str) -> Facts | None:
    try:
        seen, tree, files, size, single = line
    except (ValueError, TypeError):
        return None
    if seen != look or not is_digest(tree) or type(files) is not int or type(size) is not int:
        return None
    return Facts(digest=Digest(str(tree)), files=files, size=size, is_single_file=single is True)


def _hashed(root: Path, name: str) -> Entry:
    result = hash_file(os.fsencode(root), bytearray(BUFFER))
    if result[0] != 0:
        raise failure(result[0], name)
    return file_entry(SINGLE, result)
