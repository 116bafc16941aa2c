"""The merged tree of an image, as an engine exports it and as our own reader merges it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mllock.core.digest import sha256_of
from mllock.engine.docker import DockerEngine
from mllock.engine.types import ContainerPlan
from mllock.image.read import Member, merge, read_layer
from mllock.store.layout_reader import open_layout

__all__ = ["ENGINE", "exported", "ours"]

# What the engine itself puts into a container's tree (docs/reference/check.md).
ENGINE = {".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "proc", "sys", "etc"} | {
    f"etc/{name}" for name in ("hostname", "hosts", "mtab", "resolv.conf")
}


def exported(engine: DockerEngine, reference: str, unique: str) -> dict[str, Member]:
    """The merged tree of a container of the image, as the engine has it."""
    made = engine.create(ContainerPlan(image=reference, command=("x",), labels={"test": unique}))
    with engine.export(made) as chunks:
        data = io.BytesIO(b"".join(chunks))
    with tarfile.open(fileobj=data) as tar:
        found = dict(members(tar))
    engine.remove(made)
    return found


def members(tar: tarfile.TarFile) -> Iterator[tuple[str, Member]]:
    for item in tar:
        path = item.name.rstrip("/")
        # Engine 20.10 writes the whole st_mode.
        owner: dict[str, Any] = {"mode": item.mode & 0o7777, "uid": item.uid, "gid": item.gid}
        if item.isdir():
            yield path, Member(kind="folder", **owner)
        elif item.issym():
            yield path, Member(kind="symlink", target=item.linkname, **owner)
        else:
            assert item.isreg(), item
            file = tar.extractfile(item)
            assert file is not None
            content = file.read()
            yield path, Member(kind="file", size=item.size, digest=sha256_of(content), **owner)


def ours(layout: Path, ref: str) -> dict[str, Member]:
    found = open_layout(layout)
    image = found.image(ref)
    return merge(
        read_layer(found.stream(layer), layer.digest, hashed=lambda _: True)
        for layer in image.layers
    )
