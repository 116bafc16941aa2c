"""Nodes of the project's own files: code, model, and what mllock adds about itself.

A tree manifest says what there is; the files are opened when the layer is written, and their size
and digest verified while they are read, so that what was hashed is what is shipped. Owner is
0:0, modes 0644 and 0755: never what the disk says.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from mllock.core.tree import SINGLE, TreeManifest
from mllock.image.resolve import with_parents
from mllock.image.tree import Node, OnDisk, Stored

__all__ = ["code_nodes", "model_nodes", "record_nodes", "tree_nodes"]

APP = "app"
RECORD = "opt/mllock"
_STICKY = 0o1777


def tree_nodes(root: Path, manifest: TreeManifest, prefix: str) -> tuple[Node, ...]:
    """The entries of `manifest`, whose files lie below `root`, at `prefix` in the image.

    A tree that is a single file becomes `prefix` itself, and `root` is that file.
    """
    nodes: list[Node] = []
    for entry in manifest.entries:
        single = entry.path == SINGLE
        path = prefix if single else f"{prefix}/{entry.path}"
        if entry.digest is not None:
            content = OnDisk(
                path=root if single else root / entry.path, size=entry.size, digest=entry.digest
            )
            mode = 0o755 if entry.kind == "x" else 0o644
            nodes.append(Node(path=path, kind="file", mode=mode, content=content))
        elif entry.target is not None:
            nodes.append(Node(path=path, kind="symlink", mode=0o777, target=entry.target))
        else:
            nodes.append(Node(path=path, kind="folder", mode=0o755))
    return tuple(nodes)


def code_nodes(
    project: Path, manifest: TreeManifest, outputs: tuple[str, ...] = ()
) -> tuple[Node, ...]:
    """Code in `/app`. With `outputs` (a train image's model and metrics) `/app` and the folders
    that they are written to are open to whatever user the image is run as."""
    modes: dict[str, int] = {APP: 0o755}
    if outputs:
        modes[APP] = _STICKY
    for output in outputs:
        folder = posixpath.dirname(output)
        while folder:
            modes[f"{APP}/{folder}"] = _STICKY
            folder = posixpath.dirname(folder)
    nodes = [n for n in tree_nodes(project, manifest, APP) if n.path not in modes]
    return with_parents(nodes, modes)


def model_nodes(root: Path, manifest: TreeManifest, path: str) -> tuple[Node, ...]:
    """The model, at the path that `[train] model` declares, in `/app`."""
    return with_parents(tree_nodes(root, manifest, f"{APP}/{path}"), {APP: 0o755})


def record_nodes(files: Mapping[str, bytes]) -> tuple[Node, ...]:
    """Files by name, in `/opt/mllock`."""
    return with_parents(
        Node(path=f"{RECORD}/{name}", kind="file", mode=0o644, content=Stored(data))
        for name, data in sorted(files.items())
    )
