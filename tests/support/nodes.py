"""Short ways to write nodes, and to read back what became of them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable

from mllock.image.gzip import GzipSink
from mllock.image.tar import write_tar
from mllock.image.tree import Node, Stored


def file(path: str, data: bytes = b"", mode: int = 0o644) -> Node:
    return Node(path=path, kind="file", mode=mode, content=Stored(data))


def folder(path: str, mode: int = 0o755) -> Node:
    return Node(path=path, kind="folder", mode=mode)


def symlink(path: str, target: str) -> Node:
    return Node(path=path, kind="symlink", mode=0o777, target=target)


def hardlink(path: str, target: str) -> Node:
    return Node(path=path, kind="hardlink", mode=0o644, target=target)


def blob(nodes: Iterable[Node]) -> bytes:
    """The compressed layer of `nodes`."""
    out = io.BytesIO()
    sink = GzipSink(out)
    write_tar(nodes, sink)
    sink.finish()
    return out.getvalue()


def members(data: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """What Python's gzip and tarfile read from a layer."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            found[member.name] = (member, stream.read() if stream else b"")
    return found
