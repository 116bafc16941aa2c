"""Nodes of the base and system layers, from .debs whose bytes were verified.

Order: merged-/usr links first, then the packages (base-files, then by name), then what maintainer
scripts would have done and alternatives, then dpkg's metadata. Every path goes through the links
that are there, of the layers below too, so that `lib -> usr/lib` is never replaced by a folder.
Modes, owners and links are the package's; times are 0 (by `Node`); setuid and setgid bits of
files are dropped and listed in /var/lib/dpkg/statoverride. Specified in
docs/reference/debian-base.md. Nothing here touches the disk except to read the .debs and, where a
folder `aside` is given, to put their contents aside: all of them may be more than fits in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from mllock.errors import ArchiveError
from mllock.image.aside import let_go, put_aside
from mllock.image.debian_dpkg import record_packages
from mllock.image.debian_effects import CACHE, after_unpacking
from mllock.image.debian_tree import MERGED, MERGED_FOR, DebianTree
from mllock.image.tree import Node, Stored
from mllock.lock.debian.deb import Deb, Entry, identify, open_deb
from mllock.lock.debian.scripts import Account, Alternative, examine
from mllock.lock.types import DebianPackage

__all__ = ["above_image", "base_nodes", "is_left_out", "system_nodes"]

# Packages of this size, in bytes, are put aside, the largest first: each holds a file open.
ASIDE = 200_000
_MOST_ASIDE = 200

# What an image has no use for, as Debian's own "slim" images leave it out; licences stay.
_LEFT_OUT = (
    "usr/share/groff/",
    "usr/share/info/",
    "usr/share/linda/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
)


def base_nodes(
    debs: Sequence[tuple[DebianPackage, Path]], aside: Path | None = None
) -> tuple[Node, ...]:
    """The base layer: sorted by path, parents explicit. Raises ArchiveError."""
    tree = DebianTree({})
    of_these = {name for deb, _ in debs for name in MERGED_FOR.get(deb.architecture, ())}
    for name in (*MERGED, *sorted(of_these)):
        tree.folder(f"usr/{name}")
        tree.link(name, f"usr/{name}")
    # base-files migrates these: /run is the one place for what does not outlive a boot.
    for name, target in (("var/run", "/run"), ("var/lock", "/run/lock")):
        tree.folder(target.lstrip("/"), 0o1777 if name == "var/lock" else 0o755)
        tree.link(name, target)
    return _nodes(tree, debs, aside=aside)


def system_nodes(
    debs: Sequence[tuple[DebianPackage, Path]],
    below: Mapping[str, Node],
    aside: Path | None = None,
) -> tuple[Node, ...]:
    """The layer of system packages: only what is new or different above `below` (the base)."""
    return _nodes(DebianTree(below), debs, aside=aside)


def above_image(
    debs: Sequence[tuple[DebianPackage, Path]],
    below: Callable[[Sequence[Entry]], Mapping[str, Node]],
    aside: Path | None = None,
) -> tuple[Node, ...]:
    """The same above a base that is an image: `below` gives its tree, with the contents that
    packages of these files may ask for."""
    opened = _open_all(debs, aside)
    tree = DebianTree(below([entry for _, entries in opened for entry in entries]))
    del opened
    return _nodes(tree, debs, tree.read(CACHE), aside)


def _nodes(
    tree: DebianTree,
    debs: Sequence[tuple[DebianPackage, Path]],
    lower_cache: bytes | None = None,
    aside: Path | None = None,
) -> tuple[Node, ...]:
    # base-files decides the modes of the top folders; the rest has no order but its names.
    ordered = sorted(debs, key=lambda item: (item[0].name != "base-files", item[0].name))
    opened = _open_all(ordered, aside)
    tree.accounts(_masters(opened))
    found: list[Alternative | Account] = []
    for (package, _), (deb, entries) in zip(ordered, opened, strict=True):
        tree.replaces(package.name, deb.control["control"].decode("utf-8", "replace"))
        _unpack(tree, package.name, entries)
        found += examine(deb, package.name, package.version)
    names = frozenset(package.name for package, _ in ordered)
    alternatives = [item for item in found if isinstance(item, Alternative)]
    accounts = [item for item in found if isinstance(item, Account)]
    after_unpacking(tree, names, alternatives, accounts, lower_cache)
    pairs = zip(ordered, opened, strict=True)
    record_packages(tree, [(item[0].name, deb, entries) for item, (deb, entries) in pairs])
    return tree.nodes()


def _open_all(
    debs: Sequence[tuple[DebianPackage, Path]], aside: Path | None
) -> list[tuple[Deb, tuple[Entry, ...]]]:
    """The packages in their order, without their compressed bytes, and their files."""
    large = sorted((deb for deb, _ in debs if deb.size >= ASIDE), key=lambda deb: -deb.size)
    names = {deb.filename for deb in large[:_MOST_ASIDE]}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(
            pool.map(lambda item: _open(item, aside if item[0].filename in names else None), debs)
        )


def _open(item: tuple[DebianPackage, Path], aside: Path | None) -> tuple[Deb, tuple[Entry, ...]]:
    package, path = item
    deb = open_deb(path, package.filename)
    identify(deb, package.name, package.version, package.architecture)
    if aside is None:
        entries = tuple(deb.entries())
    else:
        entries = tuple(deb.entries(lambda pieces: put_aside(pieces, aside)))
        for entry in entries[:1]:
            let_go(entry.data)
    return replace(deb, data=memoryview(b"")), entries


def _masters(opened: Iterable[tuple[Deb, tuple[Entry, ...]]]) -> dict[str, bytes]:
    wanted = {f"usr/share/base-passwd/{name}.master": name for name in ("passwd", "group")}
    return {
        wanted[entry.path]: bytes(entry.data)
        for _, entries in opened
        for entry in entries
        if entry.path in wanted
    }


def _unpack(tree: DebianTree, package: str, entries: Sequence[Entry]) -> None:
    files = {entry.path: entry for entry in entries if entry.kind == "file"}
    for entry in entries:
        if not entry.path or is_left_out(entry.path, entry.kind):
            continue
        if entry.kind != "hardlink":
            content = Stored(entry.data) if entry.kind == "file" else None
            tree.unpack(package, entry, content)
            continue
        first = files.get(entry.target or "")
        if first is None:
            raise ArchiveError(
                "hard link to a file that is not in the package",
                file=package,
                key=entry.path,
                found=entry.target,
            )
        if is_left_out(first.path, first.kind):
            tree.unpack(package, replace(first, path=entry.path), Stored(first.data))
        else:
            tree.hardlink(package, entry.path, first.path)


def is_left_out(path: str, kind: str) -> bool:
    """Whether a member of a package is not in an image, by its path and kind."""
    below = path + ("/" if kind == "folder" else "")
    if below.startswith(_LEFT_OUT):
        return path + "/" not in _LEFT_OUT
    if below.startswith("usr/share/doc/"):
        depth = path.count("/")
        # usr/share/doc, usr/share/doc/NAME (a folder or a link), usr/share/doc/NAME/copyright
        return not (depth <= 3 and kind != "file") and not below.endswith("/copyright")
    return False
