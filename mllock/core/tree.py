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

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mllock.core import safepath
from mllock.core.digest import Digest, from_hex, hex_of, sha256_of

__all__ = ["Difference", "Entry", "TreeManifest", "differences", "parse"]

HEADER = "mllock-tree\t1"
SINGLE = "."

Kind = Literal["d", "f", "l", "x"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
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
        ordered = tuple(sorted(entries, key=_sort_key))
        _validate(ordered)
        return cls(ordered)

    def text(self) -> bytes:
        lines = [HEADER, *(entry.line() for entry in self.entries)]
        return ("\n".join(lines) + "\n").encode()

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
    if list(entries) != sorted(entries, key=_sort_key):
        raise ValueError("lines are not sorted by path")
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


def _sort_key(entry: Entry) -> bytes:
    return entry.path.encode("utf-8", "surrogatepass")


def _validate(entries: tuple[Entry, ...]) -> None:
    if len(entries) == 1 and entries[0].path == SINGLE:
        if entries[0].digest is None:
            raise ValueError('"." stands for a single file only')
        return
    kinds: dict[str, Kind] = {}
    for entry in entries:
        safepath.check(entry.path)
        if entry.path in kinds:
            raise ValueError(f"duplicate path: {entry.path!r}")
        kinds[entry.path] = entry.kind
        if entry.target is not None:
            check_link(entry.path, entry.target)
    folds: dict[str, str] = {}
    for path in kinds:
        # Folders are implied by what is in them, and can collide as well.
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            prefix = "/".join(parts[:depth])
            if depth < len(parts) and prefix in kinds:
                raise ValueError(f"{prefix!r} is both an entry and a folder with entries")
            other = folds.setdefault(safepath.fold(prefix), prefix)
            if other != prefix:
                raise ValueError(f"names that fold together: {other!r} and {prefix!r}")


def check_link(path: str, target: str) -> None:
    """Raises ValueError unless the link at `path` is relative and stays inside of the tree."""
    if not target or target.startswith("/"):
        raise ValueError(f"link {path!r} is not relative: {target!r}")
    if safepath.problem("/".join(p for p in target.split("/") if p not in ("", ".", "..")) or "x"):
        raise ValueError(f"link {path!r} has an unsafe target: {target!r}")
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if end == ".." or end.startswith("../"):
        raise ValueError(f"link {path!r} leaves the tree: {target!r}")
