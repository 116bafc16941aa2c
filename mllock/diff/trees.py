"""Two trees of files, path by path: arrays by value, small texts by line, all else by digest.

Files of equal digests are not opened. Nothing is executed and nothing unpickled: a pickle is its
size and its sha256. What cannot be read as its name says is told by digest, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mllock.core.tree import SINGLE, Difference, Entry, TreeManifest, differences
from mllock.diff.arrays import compare_arrays, in_words
from mllock.diff.stored import SUFFIXES
from mllock.diff.text import MAX_TEXT, as_text, unified
from mllock.diff.types import Item
from mllock.errors import ArchiveError, InputError
from mllock.store.regular import hash_regular, open_regular

__all__ = ["TextOf", "Tree", "compare_files", "compare_models"]

# The text of a file of the tree with this digest, if it is anywhere to be had.
TextOf = Callable[[Entry], bytes | None]
MAX_ARRAY_LINES = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """Files on the disk: below `root`, or `root` itself if it is one file, called `name`. If
    `recorded`, the manifest is that of a record, and the files may have changed since."""

    root: Path
    name: str
    manifest: TreeManifest
    recorded: bool = False

    def place(self, path: str) -> Path:
        return self.root if path == SINGLE else self.root / path


def compare_models(a: Tree, b: Tree) -> tuple[Item, ...]:
    """Everything that differs, by path. Two single files are one file, whatever their names."""
    return tuple(_model_item(a, b, found) for found in _paired(a.manifest, b.manifest))


def compare_files(
    a: TreeManifest, b: TreeManifest, text_of_a: TextOf, text_of_b: TextOf
) -> tuple[Item, ...]:
    """The same for files of which there may be nothing but the manifests; texts are looked up."""
    items = []
    for found in _paired(a, b):
        item = _item(found, found.path)
        if found.expected is None or found.found is None or item.change == "moved":
            items.append(item)
            continue
        old, new = text_of_a(found.expected), text_of_b(found.found)
        items.append(_with(item, lines=_text_lines(found.path, old, new)))
    return tuple(items)


def _text_lines(path: str, old: bytes | None, new: bytes | None) -> tuple[str, ...]:
    missing = [side for side, data in (("before", old), ("after", new)) if data is None]
    if old is None or new is None:
        return (f"its text {' and '.join(missing)} is not here, only its digest",)
    before, after = as_text(old), as_text(new)
    if before is None or after is None:
        return ("not a text, or a large one",)
    return unified(path, before, after)


def _paired(a: TreeManifest, b: TreeManifest) -> Iterator[Difference]:
    """The differences, a file that moved being one of them."""
    found = differences(a, b)
    gone = {d.expected.digest: d for d in found if d.expected and d.expected.digest and not d.found}
    new = {d.found.digest: d for d in found if d.found and d.found.digest and not d.expected}
    moved = gone.keys() & new.keys()
    for one in found:
        digest = (one.expected or one.found or _NOTHING).digest
        if digest in moved and (one.expected is None or one.found is None):
            if one is gone[digest]:
                yield Difference(path=one.path, expected=one.expected, found=new[digest].found)
                continue
            if one is new[digest]:
                continue
        yield one


_NOTHING = Entry(kind="d", path="")


def _item(found: Difference, name: str) -> Item:
    old, new = found.expected, found.found
    if old is None or new is None:
        return Item(
            name=name,
            change="added" if old is None else "removed",
            old=None if old is None else _size(old),
            new=None if new is None else _size(new),
            facts=_facts(old, new),
        )
    if old.path != new.path:
        return Item(name=name, change="moved", old=old.path, new=new.path, facts=_facts(old, new))
    if old.kind != new.kind and old.digest == new.digest and old.digest is not None:
        remark = "executable now" if new.kind == "x" else "no longer executable"
        return Item(name=name, change="changed", remark=remark, facts=_facts(old, new))
    return Item(name=name, change="changed", old=_size(old), new=_size(new), facts=_facts(old, new))


def _facts(old: Entry | None, new: Entry | None) -> dict[str, Any]:
    return {
        side: {"path": entry.path, "sha256": entry.digest, "size": entry.size}
        | ({} if entry.target is None else {"target": entry.target})
        for side, entry in (("old-file", old), ("new-file", new))
        if entry is not None
    }


def _size(entry: Entry) -> str:
    if entry.target is not None:
        return f"a link to {entry.target}"
    if entry.digest is None:
        return "an empty folder"
    return f"{entry.size} bytes, {entry.digest[:19]}"


def _model_item(a: Tree, b: Tree, found: Difference) -> Item:
    single = found.path == SINGLE
    item = _item(found, b.name if single else found.path)
    old, new = found.expected, found.found
    if old is None or new is None or item.change == "moved" or item.remark:
        return item
    if old.digest is None or new.digest is None:
        return item
    names = (a.name, b.name) if single else (found.path, found.path)
    suffix = next((s for s in SUFFIXES if all(name.endswith(s) for name in names)), None)
    places = a.place(found.path), b.place(found.path)
    changed = [
        f"the file {side} is not the one that was recorded"
        for side, tree, place, entry in (
            ("before", a, places[0], old),
            ("after", b, places[1], new),
        )
        if tree.recorded and not _is(place, entry)
    ]
    if changed:
        return _with(item, lines=tuple(changed))
    try:
        if suffix is not None:
            return _with_arrays(item, places)
        if max(old.size, new.size) <= MAX_TEXT:
            before, after = (as_text(_read(place)) for place in places)
            if before is not None and after is not None:
                return _with(item, lines=unified(item.name, before, after))
    except ArchiveError as error:
        key = f"{error.key}: " if error.key else ""
        return _with(item, lines=(f"compared by digest: {key}{error.message}",))
    return item


def _is(place: Path, entry: Entry) -> bool:
    try:
        return hash_regular(place, max_bytes=entry.size) == entry.digest
    except (InputError, OSError):
        return False


def _read(place: Path) -> bytes:
    with open_regular(place, follow=False) as file:
        return file.read(MAX_TEXT + 1)


def _with_arrays(item: Item, places: tuple[Path, Path]) -> Item:
    try:
        import numpy  # noqa: F401, ICN001 - whether it is there
    except ImportError:
        hint = "compared by digest: arrays need numpy, which comes with mllock[gates]"
        return _with(item, lines=(hint,))
    with open_regular(places[0], follow=False) as a, open_regular(places[1], follow=False) as b:
        found = compare_arrays(a, b, places[1].name)
    lines = [in_words(change) for change in found[:MAX_ARRAY_LINES]]
    if len(found) > MAX_ARRAY_LINES:
        lines.append(f"... and {len(found) - MAX_ARRAY_LINES} more arrays")
    arrays = [
        {
            "name": change.name,
            "change": change.change,
            "old": change.old,
            "new": change.new,
            "count": change.count,
            "differing": change.differing,
            "largest": change.largest,
            "nan": change.nan,
        }
        for change in found
    ]
    return _with(item, lines=tuple(lines) or ("all arrays are equal",), facts={"arrays": arrays})


def _with(item: Item, lines: tuple[str, ...], facts: dict[str, Any] | None = None) -> Item:
    return replace(item, lines=lines, facts={**item.facts, **(facts or {})})
