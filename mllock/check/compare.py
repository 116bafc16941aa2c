"""Differences between what should be and what is: trees, JSON values, sequences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mllock.check.evidence import FoundTree
from mllock.check.types import Difference
from mllock.core.digest import Digest
from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.image.read import Member

__all__ = [
    "NOTHING",
    "compare_files",
    "compare_json",
    "compare_trees",
    "manifest_of",
    "tree_below",
    "words",
]

NOTHING = "nothing"


def words(entry: Entry | None) -> str:
    """An entry for people."""
    if entry is None:
        return NOTHING
    if entry.target is not None:
        return f"a link to {entry.target}"
    if entry.digest is None:
        return "an empty folder"
    executable = ", executable" if entry.kind == "x" else ""
    return f"{entry.digest} ({entry.size} bytes{executable})"


def compare_trees(
    expected: TreeManifest, found: FoundTree, prefix: str = ""
) -> tuple[Difference, ...]:
    """All differences by path, `prefix` before each. Empty only if the trees are equal."""
    wanted = {entry.path: entry for entry in expected.entries}
    moved = _moves(wanted, found.entries)
    out = []
    for path in sorted({*wanted, *found.entries, *found.odd}, key=_order):
        if path in found.odd:
            there = found.odd[path]
        elif wanted.get(path) != found.entries.get(path):
            there = words(found.entries.get(path))
        else:
            continue
        if path in moved:
            there = f"{there}; {moved[path]}"
        out.append(
            Difference(path=_join(prefix, path), expected=words(wanted.get(path)), found=there)
        )
    return tuple(out)


def _moves(wanted: Mapping[str, Entry], there: Mapping[str, Entry]) -> dict[str, str]:
    """Files that were renamed, told at both of their paths."""
    gone = {e.digest: p for p, e in wanted.items() if e.digest and p not in there}
    new = {e.digest: p for p, e in there.items() if e.digest and p not in wanted}
    out: dict[str, str] = {}
    for digest in gone.keys() & new.keys():
        out[gone[digest]] = f"its bytes are at {new[digest]}"
        out[new[digest]] = f"the bytes of {gone[digest]}"
    return out


def compare_files(
    expected: Mapping[str, Digest], found: FoundTree, prefix: str = ""
) -> tuple[Difference, ...]:
    """What can be said without the manifest's text: files by path and digest."""
    there = {path: entry for path, entry in found.entries.items() if entry.digest is not None}
    out = []
    for path in sorted({*expected, *there, *found.odd}, key=_order):
        entry = there.get(path)
        digest = None if entry is None else entry.digest
        if path not in found.odd and digest == expected.get(path):
            continue
        out.append(
            Difference(
                path=_join(prefix, path),
                expected=expected.get(path) or NOTHING,
                found=found.odd.get(path) or words(entry),
            )
        )
    return tuple(out)


def manifest_of(found: FoundTree) -> TreeManifest | None:
    """The manifest of a tree that can have one."""
    if found.odd:
        return None
    try:
        return TreeManifest.of(found.entries.values())
    except ValueError:
        # Names that collide, links that leave the tree: no manifest can hold them.
        return None


def tree_below(merged: Mapping[str, Member], root: str, without: str | None = None) -> FoundTree:
    """The tree at `root` of an image's files, less what is at and below `without`.

    Folders that hold only what is left out are not entries.
    """
    entries: dict[str, Entry] = {}
    odd: dict[str, str] = {}
    size = 0
    top = merged.get(root)
    if top is not None and top.kind != "folder":
        entry = _entry(SINGLE, top)
        if entry.digest is None:
            return FoundTree(entries={}, odd={SINGLE: words(entry)})
        return FoundTree(entries={SINGLE: entry}, size=top.size)
    filled = {path.rpartition("/")[0] for path in merged}
    for path, member in merged.items():
        if not path.startswith(f"{root}/") or _is_below(path, without):
            continue
        if member.kind == "folder" and path in filled:
            continue
        name = path.removeprefix(f"{root}/")
        if member.kind == "file" and member.digest is None:
            odd[name] = "a file that was not hashed"
            continue
        entries[name] = _entry(name, member)
        size += member.size
    return FoundTree(entries=entries, odd=odd, size=size)


def _is_below(path: str, root: str | None) -> bool:
    return root is not None and (path == root or path.startswith(f"{root}/"))


def _entry(name: str, member: Member) -> Entry:
    if member.kind == "symlink":
        return Entry(kind="l", path=name, target=member.target)
    if member.kind == "folder":
        return Entry(kind="d", path=name)
    executable = bool(member.mode & 0o100)
    return Entry(kind="x" if executable else "f", path=name, size=member.size, digest=member.digest)


def compare_json(expected: Any, found: Any, path: str) -> Iterator[Difference]:
    """Differences of two JSON values, by dotted key; lists of two lengths are compared whole."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted({*expected, *found}):
            below = f"{path}.{key}"
            if key not in expected:
                yield Difference(path=below, expected=NOTHING, found=_json(found[key]))
            elif key not in found:
                yield Difference(path=below, expected=_json(expected[key]), found=NOTHING)
            else:
                yield from compare_json(expected[key], found[key], below)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (wanted, there) in enumerate(zip(expected, found, strict=True)):
            yield from compare_json(wanted, there, f"{path}[{number}]")
    elif type(expected) is not type(found) or expected != found:
        yield Difference(path=path, expected=_json(expected), found=_json(found))


def _json(value: Any) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 500 else f"{text[:500]}..."


def _join(prefix: str, path: str) -> str:
    if path == SINGLE:
        return prefix or path
    return f"{prefix}/{path}" if prefix else path


def _order(path: str) -> bytes:
    # Names on a disk need not be UTF-8: Python holds them as surrogates.
    return path.encode("utf-8", "surrogatepass")
