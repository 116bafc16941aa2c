"""The tree of a source without reading what looks as it did: for `lock` and `lock --check` only.

Two memories, asked in this order. `trees.json` has one line for each source: the sha256 over how
everything in it looked, and what its tree was; if all of it looks the same, that is the answer, and
50,000 files cost their status calls. Otherwise `stat-cache.json` says file by file what need not be
hashed. A source gets its line only if each of its files may be remembered, which racily clean ones
may not (`mllock.data.statcache`). A memory that is damaged is empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import marshal
import operator
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllock.core.digest import Digest, is_digest
from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.data.hashing import failure, file_entry, hash_files
from mllock.data.scan import kind_of, kind_of_root, labeller, manifest_of, walk_of
from mllock.data.statcache import Row, StatCache, row_of, temporary
from mllock.data.walk import Walk
from mllock.data.worker import BUFFER, hash_file
from mllock.errors import DataError
from mllock.spec.sources import here
from mllock.spec.types import DataSource

__all__ = ["Facts", "Remembered"]

_VERSION = 1
_STATUS = operator.methodcaller("stat", follow_symlinks=False)

# The files of one folder: paths below the source, and how each looks.
_Folder = tuple[list[str], list[Row]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a lock holds of a tree, by the names that a TreeManifest has for it."""

    digest: Digest
    files: int
    size: int
    is_single_file: bool


class Remembered:
    """The trees of a project whose state is in `state_dir`."""

    def __init__(self, project: Path, state_dir: Path) -> None:
        self._project = project
        self._path = state_dir / "trees.json"
        self._files = StatCache(state_dir)

    def facts(self, root: Path, source: DataSource) -> Facts | TreeManifest:
        """Of the tree at `root`, which is where `source` is: all of it, if it was looked at file
        by file. Raises DataError."""
        return self._tree(root, source, whole=False)

    def manifest(self, root: Path, source: DataSource) -> TreeManifest:
        """The same, file by file."""
        found = self._tree(root, source, whole=True)
        assert isinstance(found, TreeManifest)
        return found

    def _tree(self, root: Path, source: DataSource, *, whole: bool) -> Facts | TreeManifest:
        label = labeller(here(source))
        base = os.path.relpath(root, os.path.realpath(self._project))
        key = json.dumps([base, source.include, source.exclude])
        self._files.begin()  # before anything is looked at
        if kind_of_root(root, label) == "file":
            walk = None
            folders: list[_Folder] = [([SINGLE], [row_of(os.lstat(root))])]
        else:
            walk = walk_of(root, source.include, source.exclude, label)
            folders = list(_looks(walk))
        look = _digest_of(folders, walk)
        known = None if whole else self._recall(key, look)
        if known is not None:
            if walk is not None:
                walk.verify()
            return known
        files = _Files(self._files, base, folders)
        if walk is None:
            entries = files.known or [_hashed(root, here(source))]
            manifest = TreeManifest.of(entries)
        else:
            hashed = hash_files(root, iter(files.unknown), label)
            entries = files.known + hashed
            manifest = manifest_of(list(entries), walk, label)
        settled = files.remember(entries[len(files.known) :])
        self._files.save(changed=bool(files.unknown))
        if settled:
            self._remember(key, look, manifest)
        return manifest

    def _recall(self, key: str, look: str) -> Facts | None:
        try:
            seen, tree, files, size, single = self._read()[key]
        except (KeyError, ValueError, TypeError):
            return None
        if seen != look or not is_digest(tree) or type(files) is not int or type(size) is not int:
            return None
        return Facts(
            digest=Digest(str(tree)), files=files, size=size, is_single_file=single is True
        )

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self._path.read_bytes())
            known = value["sources"] if value["version"] == _VERSION else {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}

    def _remember(self, key: str, look: str, tree: TreeManifest) -> None:
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
    """Which files of a source are known by their looks, and which have to be hashed."""

    def __init__(self, cache: StatCache, base: str, folders: list[_Folder]) -> None:
        self._cache = cache
        self._base = base
        self._rows: dict[str, Row] = {}
        self.known: list[Entry] = []
        for paths, rows in folders:
            for path, row in zip(paths, rows, strict=True):
                digest = cache.find(self._name(path), row)
                if digest is None:
                    self._rows[path] = row
                else:
                    kind = kind_of(row[0])
                    self.known.append(Entry(kind=kind, path=path, size=row[1], digest=digest))

    @property
    def unknown(self) -> list[str]:
        return list(self._rows)

    def remember(self, hashed: list[Entry]) -> bool:
        """Whether all of them may be believed by their looks from now on."""
        kept = [
            self._cache.remember(self._name(entry.path), self._rows[entry.path], entry)
            for entry in hashed
        ]
        return all(kept)

    def _name(self, path: str) -> str:
        return self._base if path == SINGLE else f"{self._base}/{path}"


def _looks(walk: Walk) -> Iterator[_Folder]:
    """How everything that is selected looks, folder by folder."""
    for paths, found in walk.folders():
        try:
            yield paths, list(map(row_of, map(_STATUS, found)))
        except FileNotFoundError as error:
            raise DataError(
                "changed while it was hashed",
                file=walk.label(os.path.dirname(paths[0])),
                hint="wait until nothing writes to it, then run the same command again",
            ) from error


def _digest_of(folders: list[_Folder], walk: Walk | None) -> str:
    others = [] if walk is None else [(e.kind, e.path, e.target) for e in walk.entries]
    # Version 2 of this encoding has no references: equal values, equal bytes.
    return hashlib.sha256(marshal.dumps([folders, others], 2)).hexdigest()


def _hashed(root: Path, name: str) -> Entry:
    result = hash_file(os.fsencode(root), bytearray(BUFFER))
    if result[0] != 0:
        raise failure(result[0], name)
    return file_entry(SINGLE, result)
