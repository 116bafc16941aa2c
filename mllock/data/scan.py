"""From a file or folder on disk to its tree manifest (docs/reference/tree-digest.md).

Always by content; `mllock.data.pin` is the one that may remember. A folder that is empty is an
entry only if the patterns leave nothing out. The root itself may not be a link: callers that
allow one resolve it, and check where it leads, first. Laws: the manifest does not depend on where
the tree is, on the order of the disk, or on the number of cores; any change of a byte, name, kind
or exec bit changes it. Raises DataError that names the path.
"""

from __future__ import annotations

import contextlib
import operator
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from mllock.core.globs import compile_globs, is_everything
from mllock.core.tree import SINGLE, Entry, TreeManifest, parse
from mllock.data.hashing import failure, file_entry, hash_files
from mllock.data.walk import Walk, shown
from mllock.data.worker import BUFFER, hash_file
from mllock.errors import DataError

__all__ = [
    "EVERYTHING",
    "kind_of",
    "kind_of_root",
    "labeller",
    "manifest_of",
    "scan",
    "valid_manifest",
    "valid_text",
    "walk_of",
]

EVERYTHING = ("**/*",)

_BY_PATH = operator.attrgetter("path")


def scan(
    root: Path,
    *,
    include: Sequence[str] = EVERYTHING,
    exclude: Sequence[str] = (),
    name: str,
    workers: int | None = None,
) -> TreeManifest:
    """Hash everything at `root` that the patterns select; `name` is what messages call it."""
    label = labeller(name)
    if kind_of_root(root, label) == "file":
        result = hash_file(os.fsencode(root), bytearray(BUFFER))
        if result[0] != 0:
            raise failure(result[0], name)
        return TreeManifest.of([file_entry(SINGLE, result)])
    walk = walk_of(root, include, exclude, label)
    entries = hash_files(root, walk.paths(), label, workers=workers)
    return manifest_of(entries, walk, label)


def walk_of(
    root: Path, include: Sequence[str], exclude: Sequence[str], label: Callable[[str], str]
) -> Walk:
    """The walk over what the patterns select. Raises DataError for a wrong pattern."""
    try:
        return Walk(
            root,
            label=label,
            wanted=compile_globs(include, exclude),
            skip=compile_globs(exclude) if exclude else None,
            everything=is_everything(include, exclude),
        )
    except ValueError as error:
        raise DataError(str(error), file=label("")) from None


def labeller(name: str) -> Callable[[str], str]:
    """How messages name a path of the tree."""
    return lambda path: f"{name}/{path}" if path else name


def kind_of_root(root: Path, label: Callable[[str], str]) -> str:
    """What is there: "file" or "folder". Raises DataError for anything else, or for nothing."""
    try:
        mode = os.lstat(root).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DataError("no such file or folder", file=label("")) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot be read: {reason}", file=label("")) from error
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISLNK(mode):
        raise DataError(
            "a link, not a file or folder", file=label(""), hint="name what it leads to"
        )
    raise DataError("neither a file nor a folder", file=label(""))


def kind_of(mode: int) -> Literal["f", "x"]:
    """The kind of a regular file with this mode."""
    return "x" if mode & stat.S_IXUSR else "f"


def manifest_of(files: list[Entry], walk: Walk, label: Callable[[str], str]) -> TreeManifest:
    """The manifest of what a walk found and somebody hashed, if the folders are what they were."""
    walk.verify()
    if walk.is_valid:
        return TreeManifest(tuple(sorted([*files, *walk.entries], key=_BY_PATH)))
    return valid_manifest([*files, *walk.entries], label)


def valid_manifest(entries: Iterable[Entry], label: Callable[[str], str]) -> TreeManifest:
    """The rules that only the whole tree shows, e.g. that every link leads somewhere."""
    with _refused(label):
        return TreeManifest.of(entries)


def valid_text(text: bytes, label: Callable[[str], str]) -> TreeManifest:
    """The same of a manifest that was put together from its lines."""
    with _refused(label):
        return parse(text)


@contextlib.contextmanager
def _refused(label: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise DataError(
            shown(str(error)), file=label(""), hint="rename, remove or exclude it"
        ) from error
