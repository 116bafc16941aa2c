r"""Tree manifests: what a file or folder of data, model or code is, as one digest.

The format is specified in docs/reference/tree-digest.md and is final: version 1 never changes.
A manifest is text; its digest is the plain sha256 of that text. Lines end with LF, fields are
separated by TAB (neither can stand in a safe path), lines are sorted by the bytes of the path:

    mllock-tree\t1
    d\tPATH                      a folder with nothing in it
    f\tPATH\tSIZE\tSHA256        a file; SIZE in bytes, decimal; SHA256 in lower-case hex
    l\tPATH\tTARGET              a symbolic link that stays inside of the tree
    x\tPATH\tSIZE\tSHA256        a file that its owner may execute

A tree that is a single file has one entry whose path is ".". Values only: scanning is in
`mllock.data.scan`. Laws: `parse(m.text()) == m`; a manifest that exists is valid and sorted.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from mllock.core import safepath
from mllock.core.digest import Digest, from_hex, hex_of, sha256_of

__all__ = ["Difference", "Entry", "TreeManifest", "differences", "parse"]

HEADER = "mllock-tree\t1"
SINGLE = "."

Kind = Literal["d", "f", "l", "x"]

MAX_SIZE = 2**63 - 1
# As many as Linux follows: path_resolution(7).
MAX_HOPS = 40

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
# Code point order of valid text is the byte order of its UTF-8.
_BY_PATH = operator.attrgetter("path")


# A Struct and not a dataclass: trees of 50,000 files are common, and it is five times faster.
class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line: `size` (bytes) and `digest` for files, `target` for links, neither for folders."""

    kind: Kind
    path: str
    size: int = 0
    digest: Digest | None = None
    target: str | None = None

    def line(self) -> str:
        if self.digest is not None:
            return f"{self.kind}\t{self.path}\t{self.size}\t{hex_of(self.digest)}"
        if self.target is not None:
            return f"{self.kind}\t{self.path}\t{self.target}"
        return f"{self.kind}\t{self.path}"


@dataclass(frozen=True, slots=True)
class TreeManifest:
    """A valid manifest: entries sorted by the bytes of their paths, no two in each other's way."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> TreeManifest:
        """Sort and validate. Raises ValueError that names the path."""
        ordered = tuple(sorted(entries, key=_BY_PATH))
        _validate(ordered)
        return cls(ordered)

    def text(self) -> bytes:
        lines = [
            f"{e.kind}\t{e.path}\t{e.size}\t{e.digest[7:]}" if e.digest is not None else e.line()
            for e in self.entries
        ]
        return "\n".join([HEADER, *lines, ""]).encode()

    @property
    def digest(self) -> Digest:
        return sha256_of(self.text())

    @property
    def files(self) -> int:
        """Number of regular files."""
        return sum(1 for entry in self.entries if entry.digest is not None)

    @property
    def size(self) -> int:
        """Bytes in regular files."""
        return sum(entry.size for entry in self.entries)

    @property
    def is_single_file(self) -> bool:
        return len(self.entries) == 1 and self.entries[0].path == SINGLE


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One path that is not the same in both trees; None stands for "not there"."""

    path: str
    expected: Entry | None
    found: Entry | None


def differences(expected: TreeManifest, found: TreeManifest) -> tuple[Difference, ...]:
    """All differences, sorted by path. Empty if and only if the digests are equal."""
    left = {entry.path: entry for entry in expected.entries}
    right = {entry.path: entry for entry in found.entries}
    return tuple(
        Difference(path=path, expected=left.get(path), found=right.get(path))
        for path in sorted({*left, *right}, key=str.encode)
        if left.get(path) != right.get(path)
    )


def parse(text: bytes) -> TreeManifest:
    """Read a manifest strictly. Raises ValueError that names the line."""
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    if lines[0] != HEADER:
        raise ValueError(f"line 1: expected {HEADER!r}, found {lines[0][:80]!r}")
    if lines[-1] != "":
        raise ValueError("the last line has no line end")
    entries = tuple(_parse_line(number, line) for number, line in enumerate(lines[1:-1], start=2))
    for before, after in itertools.pairwise(entries):
        if before.path > after.path:
            raise ValueError(f"not sorted by path: {before.path!r} before {after.path!r}")
    _validate(entries)
    return TreeManifest(entries)


def _parse_line(number: int, line: str) -> Entry:
    match line.split("\t"):
        case [("f" | "x") as kind, path, size, digest] if _SIZE.fullmatch(size):
            try:
                return Entry(kind=kind, path=path, size=int(size), digest=from_hex(digest))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
        case ["l", path, target]:
            return Entry(kind="l", path=path, target=target)
        case ["d", path]:
            return Entry(kind="d", path=path)
    raise ValueError(f"line {number}: not an entry: {line[:200]!r}")


def _validate(entries: tuple[Entry, ...]) -> None:
    """The rules of docs/reference/tree-digest.md, section "Valid trees"."""
    if len(entries) == 1 and entries[0].path == SINGLE:
        _check_shape(entries[0])
        if entries[0].digest is None:
            raise ValueError('"." stands for a single file only')
        return
    for entry in entries:
        # Most are plain files: the exact look is for the others.
        if (
            entry.kind != "f"
            or entry.digest is None
            or entry.target
            or not 0 <= entry.size <= MAX_SIZE
        ):
            _check_shape(entry)
    names = [entry.path for entry in entries]
    safepath.check_all(names)
    paths = set(names)
    if len(paths) < len(names):
        twice = next(a for a, b in itertools.pairwise(names) if a == b)
        raise ValueError(f"duplicate path: {twice!r}")
    folders: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in names}:
        _add_folders(folder, folders)
    for path in sorted(paths & folders):
        raise ValueError(f"{path!r} is both an entry and a folder with entries")
    # Folders are implied by what is in them, and can collide as well.
    both = safepath.collision([*names, *folders])
    if both is not None:
        first, second = sorted(both)
        raise ValueError(f"names that fold together: {first!r} and {second!r}")
    _check_links(entries, paths | folders)


def _check_shape(entry: Entry) -> None:
    kind, digest, target = entry.kind, entry.digest, entry.target
    if kind in ("f", "x"):
        right = digest is not None and target is None and 0 <= entry.size <= MAX_SIZE
    else:
        right = digest is None and entry.size == 0 and (target is not None) is (kind == "l")
    if not right or kind not in ("d", "f", "l", "x"):
        raise ValueError(f"wrong kind of entry: {entry.path!r}")


def _add_folders(folder: str, folders: set[str]) -> None:
    while folder and folder not in folders:
        folders.add(folder)
        folder = folder.rpartition("/")[0]


def check_link(path: str, target: str) -> tuple[str, ...]:
    """Where the link at `path` leads, as components from the root of the tree.

    Raises ValueError unless `target` is relative, goes up only at its start, and stays inside:
    after a name, ".." could go up from wherever a link leads, not from where it stands.
    """
    if not target or target.startswith("/"):
        raise ValueError(f"link {path!r} is not relative: {target!r}")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    base = path.split("/")[:-1]
    while parts and parts[0] == "..":
        if not base:
            raise ValueError(f"link {path!r} leaves the tree: {target!r}")
        base.pop()
        parts.pop(0)
    if parts and safepath.problem("/".join(parts)) is not None:
        raise ValueError(f"link {path!r} has an unsafe target: {target!r}")
    if len(target.encode()) > safepath.MAX_PATH:
        raise ValueError(f"link {path!r} has a target of more than {safepath.MAX_PATH} bytes")
    return (*base, *parts)


def _check_links(entries: tuple[Entry, ...], there: set[str]) -> None:
    """Every link leads, perhaps through other links, to something in the tree."""
    links = {e.path: check_link(e.path, e.target) for e in entries if e.target is not None}
    for path, start in links.items():
        place: tuple[str, ...] = ()
        left = list(reversed(start))
        hops = 0
        while left:
            place = (*place, left.pop())
            here = "/".join(place)
            if here in links:
                hops += 1
                if hops > MAX_HOPS:
                    raise ValueError(f"link {path!r} leads through more than {MAX_HOPS} links")
                place, left = (), [*left, *reversed(links[here])]
            elif here not in there:
                raise ValueError(f"link {path!r} leads to what is not in the tree: {here!r}")
