"""System packages above a base that is an image: what it has of Debian, and the layer above it.

Not for choosing packages (`mllock.lock.debian`) or for unpacking them (`mllock.image.debian`).
Of the base's files only those are read that dpkg, alternatives or the packages themselves ask for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from mllock.errors import ResolutionError
from mllock.image.base_tree import BaseTree
from mllock.image.debian import above_image
from mllock.image.debian_dpkg import FORMAT, STATUS, STATUS_D
from mllock.image.tree import Node
from mllock.lock.debian.deb import Entry
from mllock.lock.debian.index import Available
from mllock.lock.debian.installed import installed_packages, suite_of
from mllock.lock.types import DebianPackage

__all__ = ["installed_in", "nodes_above", "suite_in"]

# What is read and written beside the packages' own files.
_READ = (
    "etc/group",
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/passwd",
    "var/lib/dpkg/statoverride",
    FORMAT,
    STATUS,
)
_READ_BELOW = ("etc/ld.so.conf.d/", "var/lib/dpkg/alternatives/")
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")


def suite_in(tree: BaseTree, base: str) -> str:
    """The Debian suite that the base is made of. Raises ResolutionError."""
    real = next(filter(None, map(tree.file, _OS_RELEASE)), None)
    data = b"" if real is None else tree.read([real])[real]
    return suite_of(data, base)


def installed_in(tree: BaseTree, base: str) -> dict[str, Available]:
    """What the base's own dpkg says is installed. Raises ResolutionError if it has none."""
    real = tree.file(STATUS)
    if real is not None:
        return installed_packages(tree.read([real])[real], STATUS)
    names = [
        path
        for path in tree.members
        if path.startswith(f"{STATUS_D}/") and not path.endswith(".md5sums")
    ]
    if not names:
        raise ResolutionError(
            "the base does not say which Debian packages it has",
            file="mlproject.toml",
            key="environment.system-packages",
            expected=f"/{STATUS}, or files in /{STATUS_D}",
            found=base,
            hint="take a base that has these packages already, and leave system-packages out",
        )
    files = tree.read(names)
    data = b"\n\n".join(files[name].strip() for name in sorted(files))
    return installed_packages(data, STATUS_D)


def nodes_above(
    tree: BaseTree, debs: Sequence[tuple[DebianPackage, Path]], aside: Path | None = None
) -> tuple[Node, ...]:
    """The layer of these packages, whose contents may be put `aside`. Raises ArchiveError."""

    def below(entries: Sequence[Entry]) -> Mapping[str, Node]:
        return tree.nodes(_asked(tree, entries))

    return above_image(debs, below, aside)


def _asked(tree: BaseTree, entries: Sequence[Entry]) -> set[str]:
    """The files of the base whose bytes matter: dpkg's, and those that a package also has, or
    links to as a library."""
    found = {real for path in _READ if (real := tree.file(path))}
    found |= {path for path in tree.members if path.startswith(_READ_BELOW)}
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        real = tree.follow(folder)
        if real is None:
            continue
        found.add(posixpath.join(real, name))
        if entry.kind == "symlink" and ".so" in name:
            # An absolute target is taken from the root.
            target = tree.file(posixpath.join(f"/{real}", entry.target or ""))
            found |= {target} if target else set()
    return found
