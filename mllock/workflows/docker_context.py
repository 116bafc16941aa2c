"""What a Dockerfile needs beside it, as nodes of a tree: pip, wheels, requirements, archives.

One list for the builder of `[builder] kind = "docker"` and for `mllock export dockerfile`, so that
what is built and what is handed over install the same. Every file is known by digest and verified
when its bytes are read. pip comes from outside of the lock, because nothing of it stays in an
image: its version and sha256 are fixed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mllock.core.digest import Digest, from_hex
from mllock.errors import SpecError
from mllock.image.content import Sources
from mllock.image.dockerfile import DockerfilePlan, requirements
from mllock.image.tar import header, sort_nodes
from mllock.image.tree import Node, OnDisk, Stored
from mllock.lock.types import Lock, PythonPackage, Wheel
from mllock.spec.loaded import LoadedSpec
from mllock.workflows.context import Context
from mllock.workflows.environment import locked_wheels

__all__ = [
    "PIP",
    "blob_node",
    "environment_plan",
    "install_nodes",
    "refuse_for_docker",
    "tar_of",
    "text_node",
]

PACKAGES = "packages"
PIP = PythonPackage(
    name="pip",
    version="26.3",
    wheels=(
        Wheel(
            name="pip-26.3-py3-none-any.whl",
            path="wheels/pip-26.3-py3-none-any.whl",
            size=1950951,
            hashes={"sha256": "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"},
        ),
    ),
)
# What this pip runs on.
_OLDEST = (3, 10)


def refuse_for_docker(loaded: LoadedSpec, lock: Lock) -> None:
    """What pip cannot do as the lock says it. Raises SpecError."""
    environment = loaded.spec.environment
    major, minor = lock.base.python.split(".")[:2]
    if (int(major), int(minor)) < _OLDEST:
        raise loaded.error_of(
            SpecError,
            "Dockerfiles of mllock install with a pip that is not for this Python",
            "environment",
            "python",
            found=lock.base.python,
            expected="3.10 or later",
            hint='build with [builder] kind = "native"',
        )
    if environment.overlaps:
        raise loaded.error_of(
            SpecError,
            "pip has no rules about overlaps: the wheel that it installs last wins",
            "environment",
            "overlaps",
            hint='build with [builder] kind = "native", or leave these rules out',
        )


def environment_plan(loaded: LoadedSpec, lock: Lock, base: str | None) -> DockerfilePlan:
    """The environment of `lock` above the image `base`; no archives, variables or stages yet."""
    return DockerfilePlan(
        project=loaded.spec.project.name,
        base=base,
        archives=(),
        interpreter=lock.base.interpreter,
        pip=PIP.wheels[0].name if lock.python.packages else None,
        offline=True,
        bytecode=loaded.spec.environment.bytecode,
        variables={},
    )


def install_nodes(ctx: Context, lock: Lock, *, wheels: bool = True) -> tuple[Node, ...]:
    """requirements.txt, and the folder with pip and, unless an index is to be asked, `wheels`."""
    packages = lock.python.packages
    if not packages:
        return ()
    listed = [
        (package.name, package.version, [wheel.hashes["sha256"] for wheel in package.wheels])
        for package in packages
    ]
    fetch = locked_wheels(ctx, lock)
    # One after the other: the lock may have a pip of its own.
    files = {**fetch((PIP,)), **(fetch(packages) if wheels else {})}
    found = {
        wheel.name: wheel
        for package in (PIP, *packages)
        for wheel in package.wheels
        if wheel.name in files
    }
    nodes = [text_node("requirements.txt", requirements(listed))]
    nodes.append(Node(path=PACKAGES, kind="folder", mode=0o755))
    for name, wheel in found.items():
        content = OnDisk(path=files[name], size=wheel.size, digest=from_hex(wheel.hashes["sha256"]))
        nodes.append(Node(path=f"{PACKAGES}/{name}", kind="file", mode=0o644, content=content))
    return tuple(nodes)


def text_node(path: str, data: bytes) -> Node:
    return Node(path=path, kind="file", mode=0o644, content=Stored(data))


def blob_node(ctx: Context, path: str, digest: Digest, size: int) -> Node:
    """A blob of the cache, under a name of the context."""
    content = OnDisk(path=ctx.cache.blob_path(digest), size=size, digest=digest)
    return Node(path=path, kind="file", mode=0o644, content=content)


def tar_of(nodes: Sequence[Node]) -> Iterator[bytes]:
    """A context as the tar that engines take, verified while it is read."""
    with Sources() as sources:
        for node in sort_nodes(nodes):
            yield header(node)
            if node.kind != "file":
                continue
            size = 0
            for piece in sources.read(node):
                size += len(piece)
                yield bytes(piece)
            yield bytes(-size % 512)
    yield bytes(1024)
