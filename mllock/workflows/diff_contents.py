"""Where `mllock diff` finds what is named by digest only: in the project, else in git.

What is found counts with the digest that was recorded, and nothing else does: a lock may be
anybody's. Bounded: files by size, folders in git by number and size.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mllock.core.digest import sha256_of
from mllock.core.globs import compile_globs
from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.data.git import Repository
from mllock.data.scan import scan
from mllock.diff.rows import MAX_TABLE, rows_between
from mllock.diff.trees import compare_files
from mllock.diff.types import Section
from mllock.errors import DataError, InputError
from mllock.lock.types import DataPin
from mllock.store.regular import open_regular
from mllock.workflows.context import Context
from mllock.workflows.diff_sides import Side

__all__ = ["finder", "with_contents"]

# Each is a process of git's.
MAX_GIT_FILES = 300
MAX_LINES = 50


_Find = Callable[[str, Callable[[bytes], bool]], bytes | None]


def finder(ctx: Context, side: Side, max_bytes: int) -> _Find:
    """`find(path, is_it)`: a file of the project, or of git at the side's commit, that `is_it`."""
    repository = Repository.of(ctx.project, decides=False) if side.commit else None

    def find(path: str, is_it: Callable[[bytes], bool]) -> bytes | None:
        try:
            with open_regular(ctx.project / path) as file:
                data = file.read(max_bytes + 1)
            if len(data) <= max_bytes and is_it(data):
                return data
        except (OSError, InputError):
            pass  # it is elsewhere, or nowhere
        if repository is None or side.commit is None:
            return None
        kept = repository.blob(side.commit, path, max_bytes=max_bytes)
        return kept if kept is not None and is_it(kept) else None

    return find


def with_contents(ctx: Context, a: Side, b: Side, section: Section) -> Section:
    """The sources that changed, with their files and rows as far as they are here."""
    assert a.lock is not None
    assert b.lock is not None
    items = []
    for item in section.items:
        name = item.name.removeprefix("data.")
        old, new = a.lock.data.get(name), b.lock.data.get(name)
        facts: dict[str, Any] = {}
        lines: tuple[str, ...] = ()
        if old is not None and new is not None and old.tree != new.tree:
            lines, facts = _source(ctx, a, b, old, new)
        items.append(replace(item, lines=lines, facts=facts))
    return Section(name="data", items=tuple(items))


def _source(
    ctx: Context, a: Side, b: Side, old: DataPin, new: DataPin
) -> tuple[tuple[str, ...], dict[str, Any]]:
    if old.kind == new.kind == "file":
        texts = [
            finder(ctx, side, MAX_TABLE)(pin.path, lambda data, pin=pin: _is_tree(data, pin))  # type: ignore[misc]
            for side, pin in ((a, old), (b, new))
        ]
        missing = _missing(texts)
        if texts[0] is None or texts[1] is None:
            return (f"its rows {missing} are not here, only the digest",), {}
        rows = rows_between(new.path, texts[0], texts[1])
        if rows is None:
            return (), {}
        words = f"rows: {rows[0]} added, {rows[1]} removed"
        return (words,), {"rows": {"added": rows[0], "removed": rows[1]}}
    trees = [_manifest(ctx, side, pin) for side, pin in ((a, old), (b, new))]
    if trees[0] is None or trees[1] is None:
        return (f"its files {_missing(trees)} are not here, only the digest of all of them",), {}
    return _files(ctx, (a, b), (old, new), (trees[0], trees[1]))


def _files(
    ctx: Context,
    sides: tuple[Side, Side],
    pins: tuple[DataPin, DataPin],
    trees: tuple[TreeManifest, TreeManifest],
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The files of two folders that differ, with rows where they are tables."""
    lines: list[str] = []
    facts: list[dict[str, Any]] = []
    find = [finder(ctx, side, MAX_TABLE) for side in sides]
    for item in compare_files(*trees, lambda _: None, lambda _: None):
        line = f"{item.change} {item.name}"
        fact: dict[str, Any] = {"change": item.change, "name": item.name}
        if item.change == "moved":
            line, fact["to"] = f"{line} -> {item.new}", item.new
        elif item.change == "changed" and len(lines) < MAX_LINES:
            texts = [
                find_(f"{pin.path}/{item.name}", _has(item.facts.get(side, {}).get("sha256")))
                for find_, pin, side in zip(find, pins, ("old-file", "new-file"), strict=True)
            ]
            if texts[0] is not None and texts[1] is not None:
                rows = rows_between(item.name, texts[0], texts[1])
                if rows is not None:
                    line = f"{line}: {rows[0]} rows added, {rows[1]} removed"
                    fact["rows"] = {"added": rows[0], "removed": rows[1]}
        lines.append(line)
        facts.append(fact)
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"... and {len(lines) - MAX_LINES} more files"]
    return tuple(lines), {"files": facts}


def _has(digest: str | None) -> Callable[[bytes], bool]:
    return lambda data: sha256_of(data) == digest


def _missing(found: list[Any]) -> str:
    return " and ".join(
        side for side, it in zip(("before", "after"), found, strict=True) if it is None
    )


def _is_tree(data: bytes, pin: DataPin) -> bool:
    digest = sha256_of(data)
    return any(
        TreeManifest.of([Entry(kind=kind, path=SINGLE, size=len(data), digest=digest)]).digest
        == pin.tree
        for kind in ("f", "x")
    )


def _manifest(ctx: Context, side: Side, pin: DataPin) -> TreeManifest | None:
    """The files of a folder as it was pinned: in the project, else in git."""
    assert side.lock is not None
    name = next(name for name, one in side.lock.data.items() if one is pin)
    declared = side.lock.inputs.data.get(name, {})
    include, exclude = declared.get("include", ("**/*",)), declared.get("exclude", ())
    root = Path(os.path.realpath(ctx.project / pin.path))
    # Through a link: what is outside is not read for a lock that may be anybody's.
    if root.is_relative_to(Path(os.path.realpath(ctx.project))):
        try:
            found = scan(root, include=include, exclude=exclude, name=pin.path)
        except (DataError, OSError):
            found = None
        if found is not None and found.digest == pin.tree:
            return found
    kept = _in_git(ctx, side, pin, compile_globs(include, exclude))
    return kept if kept is not None and kept.digest == pin.tree else None


def _in_git(
    ctx: Context, side: Side, pin: DataPin, wanted: Callable[[str], bool]
) -> TreeManifest | None:
    repository = Repository.of(ctx.project, decides=False) if side.commit else None
    if repository is None or side.commit is None:
        return None
    listed = repository.listing(side.commit, pin.path)
    names = {path: mode for path, (mode, _) in listed.items() if wanted(path)}
    size = sum(listed[path][1] for path in names)
    if not names or len(names) > MAX_GIT_FILES or size > MAX_TABLE:
        return None
    entries = []
    for path, mode in names.items():
        data = repository.blob(side.commit, f"{pin.path}/{path}", max_bytes=MAX_TABLE)
        if data is None:
            return None
        if stat.S_ISLNK(mode):
            entries.append(Entry(kind="l", path=path, target=data.decode("utf-8", "replace")))
        else:
            kind = "x" if mode & stat.S_IXUSR else "f"
            digest = sha256_of(data)
            entries.append(Entry(kind=kind, path=path, size=len(data), digest=digest))  # type: ignore[arg-type]
    try:
        return TreeManifest.of(entries)
    except ValueError:
        return None
