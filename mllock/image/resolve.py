"""A set of nodes made complete: every parent folder is there, no path is two things.

A layer that holds `opt/venv/bin/x` without `opt` leaves the metadata of `opt` to the reader, and
readers differ; so parents are explicit, with constant metadata. Paths that belong to mllock are
refused to packages of the base. Pure; raises ArchiveError that names the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mllock.errors import ArchiveError
from mllock.image.tree import Node

__all__ = ["RESERVED", "refuse_reserved", "with_parents"]

# Where mllock puts packages, the project and the record.
RESERVED = ("app", "opt/mllock", "opt/venv")


def with_parents(nodes: Iterable[Node], modes: Mapping[str, int] | None = None) -> tuple[Node, ...]:
    """The nodes and their parents, 0:0 0755, or the mode that `modes` gives for a folder."""
    modes = modes or {}
    found: dict[str, Node] = {}
    for node in nodes:
        if node.path in found:
            raise ArchiveError("a layer holds this path twice", key=node.path)
        found[node.path] = node
    wanted = set(modes)
    for path in (*found, *modes):
        at = path.rfind("/")
        while at > 0 and path[:at] not in wanted:
            wanted.add(path[:at])
            at = path.rfind("/", 0, at)
    for path in wanted:
        there = found.get(path)
        if there is None:
            found[path] = Node(path=path, kind="folder", mode=modes.get(path, 0o755))
        elif there.kind != "folder":
            raise ArchiveError("a layer holds this path as a folder and as a file", key=path)
    return tuple(found.values())


def refuse_reserved(nodes: Iterable[Node]) -> None:
    """Raises ArchiveError if a package of the base would share a path with mllock's own layers."""
    parents = {path[: path.rfind("/")] for path in RESERVED if "/" in path}
    for node in nodes:
        if node.path.startswith(tuple(f"{path}/" for path in RESERVED)) or node.path in RESERVED:
            raise ArchiveError("a Debian package holds a path of mllock's own", key=node.path)
        if node.path in parents and node.kind != "folder":
            raise ArchiveError("a Debian package makes this path something else", key=node.path)
