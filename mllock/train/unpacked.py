"""Wheels, unpacked once in the cache, so that an environment is made of links and not of copies.

An entry is `unpacked/KEY/`: the files of one wheel in `tree`, as they lie in an environment, and
`files.json` beside it. KEY stands for the wheel, the minor version of Python and the user. Every
byte is verified by the wheel's RECORD while it is unpacked, from a wheel whose sha256 was. After
that a file is believed while size, time and inode are as they were: it has many names, and whoever
writes to one of them changes all; such an entry is made again. What holds the place of an
environment (scripts, and RECORD where there are some) is not here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mllock.core import canonical
from mllock.core.digest import hex_of
from mllock.errors import SurroundingsError
from mllock.image.tree import Node, Stored
from mllock.image.wheel import Prefix, wheel_nodes
from mllock.lock.types import Wheel
from mllock.store import atomic
from mllock.store.own import read_own
from mllock.train.looks import Look, look_at
from mllock.train.venv import write_nodes

__all__ = ["Unpacked", "find_unpacked", "is_own", "unpack"]

_FILES = "files.json"
_MAX = 256 * 1024 * 1024


class Unpacked(msgspec.Struct, frozen=True, kw_only=True):
    """One wheel. `has_own`: some of its files hold the place of the environment (`is_own`)."""

    root: Path
    files: tuple[Look, ...]
    has_own: bool


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    v: int
    has_own: bool
    files: tuple[Look, ...]


def find_unpacked(entries: Path, wheel: Wheel, python: str) -> Unpacked | None:
    """The unpacked `wheel` for the minor version `python`; None if `entries` has none that is as it
    was made."""
    return _read(entries / _key(wheel, python))


def unpack(entries: Path, wheel: Wheel, python: str, path: Path) -> Unpacked:
    """Make the entry of `wheel`, of which `path` is a verified file, anew. Raises ArchiveError,
    SurroundingsError."""
    entry = entries / _key(wheel, python)
    with atomic.staging(entries) as staged:
        _make(staged, path, wheel.name, python)
        if entry.exists():
            os.rename(entry, staged / "damaged")
            atomic.remove_tree(staged / "damaged")
        atomic.move_folder(staged, entry)  # or another process was faster
    made = _read(entry)
    if made is None:
        raise SurroundingsError(
            "an unpacked wheel changed while it was made",
            file=str(entry),
            hint="is another program writing into the cache?",
        )
    return made


def is_own(node: Node) -> bool:
    """Whether a file is made for one environment, or may be."""
    return isinstance(node.content, Stored)


def _key(wheel: Wheel, python: str) -> str:
    facts = {"v": 1, "wheel": wheel.hashes["sha256"], "python": python, "user": os.geteuid()}
    return hex_of(canonical.digest_of(facts))[:32]


def _read(entry: Path) -> Unpacked | None:
    data = read_own(entry / _FILES, _MAX, depth=3)
    if data is None:
        return None
    try:
        listing = msgspec.json.decode(data, type=_Listing)
    except msgspec.DecodeError:
        return None
    root = entry / "tree"
    base = f"{root}/"
    try:
        same = all(look.is_of(os.lstat(base + look.path)) for look in listing.files)
    except OSError:
        return None
    return Unpacked(root=root, files=listing.files, has_own=listing.has_own) if same else None


def _make(staged: Path, path: Path, name: str, python: str) -> None:
    prefix = Prefix(root="venv", python=python)
    nodes = wheel_nodes(path, name, prefix)
    bin_folder = f"{prefix.root}/bin/"
    scripts = any(is_own(node) and node.path.startswith(bin_folder) for node in nodes)
    kept = [node for node in nodes if not scripts or not is_own(node)]
    root = staged / "tree"
    try:
        root.mkdir()
        # Not to be written to: there may be other names of the same file.
        write_nodes(
            [msgspec.structs.replace(node, mode=node.mode & ~0o222) for node in kept], prefix, root
        )
        files = tuple(_looks(kept, prefix, root))
    except OSError as error:
        raise atomic.cannot_write(staged, error) from error
    listing = _Listing(v=1, has_own=scripts, files=files)
    # Not fsynced, as all of the cache: what a power cut tears has another size.
    (staged / _FILES).write_bytes(msgspec.json.encode(listing))
    (staged / _FILES).chmod(0o644)  # what others may write does not count: see `read_own`


def _looks(nodes: Iterable[Node], prefix: Prefix, root: Path) -> Iterator[Look]:
    for node in nodes:
        path = node.path.removeprefix(f"{prefix.root}/")
        look = look_at(path, f"{root}/{path}")
        assert look is not None
        yield look
