"""Which sources have bytecode, what its file is called, and units of it: a wheel, the library.

The rules are those of docs/reference/builder-format.md: Python files of site-packages and of the
base's standard library, in `__pycache__` beside the source (PEP 3147), under the absolute path that
an import in the image gives. No effects but reading sources, verified while they are read. What is
compiled when, and kept, is `mllock.image.bytecode_layers`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mllock.errors import ArchiveError
from mllock.image.compiling import Compiled, Source
from mllock.image.content import Sources
from mllock.image.interpreter import Interpreter
from mllock.image.tree import Node, Stored
from mllock.image.wheel import Prefix, wheel_nodes

__all__ = ["MAX_SOURCE", "Unit", "bytecode_nodes", "bytecode_path", "library_unit", "wheel_unit"]

# Larger sources are data that happen to be Python; to compile takes a hundred times their size.
MAX_SOURCE = 8 * 1024 * 1024
_MAX_NAME = 255  # bytes, of Linux file systems


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Sources to compile, sorted by path, and files that have no bytecode whoever compiles.

    `size` is the bytes of all sources.
    """

    count: int
    size: int
    left_out: tuple[Compiled, ...]
    _nodes: tuple[Node, ...] = field(repr=False)

    def sources(self) -> Iterator[Source]:
        """Raises ArchiveError where an archive does not hold what it says."""
        with Sources() as sources:
            for node in self._nodes:
                yield Source(path=f"/{node.path}", data=b"".join(sources.read(node)))


def wheel_unit(wheel: Path, name: str, prefix: Prefix, left_out: Collection[str] = ()) -> Unit:
    """The sources of a wheel whose file name is `name`, less `left_out`: at their paths is another
    wheel's file, which has its own bytecode. Raises ArchiveError."""
    nodes = wheel_nodes(wheel, name, prefix, left_out=left_out)
    site = f"{prefix.site}/"
    for node in nodes:
        if node.path.startswith(site) and node.path.endswith("/__pycache__"):
            raise ArchiveError(
                "a file where the folder of the bytecode belongs",
                file=name,
                key=node.path,
                hint="leave the package out, or write bytecode = false",
            )
    inside = [n for n in nodes if n.path.startswith(site) and n.path.endswith(".py")]
    return _unit(inside, prefix.python)


def library_unit(interpreter: Interpreter, minor: str) -> Unit:
    """The sources of the standard library that have no bytecode in the base."""
    nodes = [
        Node(path=path, kind="file", mode=0o644, content=Stored(data))
        for path, data in interpreter.sources.items()
        if path not in interpreter.compiled
    ]
    return _unit(nodes, minor)


def bytecode_path(source: str, minor: str) -> str:
    """PEP 3147: where an import looks for the bytecode of `source`."""
    folder, _, name = source.rpartition("/")
    tag = f"cpython-{minor.replace('.', '')}"
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"


def bytecode_nodes(found: Iterable[Compiled], minor: str) -> Iterator[Node]:
    """The files of those that have bytecode."""
    for item in found:
        if item.data is not None:
            path = bytecode_path(item.path.lstrip("/"), minor)
            yield Node(path=path, kind="file", mode=0o644, content=Stored(item.data))


def _unit(nodes: Iterable[Node], minor: str) -> Unit:
    taken: list[Node] = []
    left_out: list[Compiled] = []
    for node in sorted(nodes, key=lambda node: node.path.encode()):
        problem = _problem(node, minor)
        if problem is None:
            taken.append(node)
        else:
            left_out.append(Compiled(path=f"/{node.path}", data=None, problem=problem))
    return Unit(
        count=len(taken),
        size=sum(_size(node) for node in taken),
        left_out=tuple(left_out),
        _nodes=tuple(taken),
    )


def _problem(node: Node, minor: str) -> str | None:
    if _size(node) > MAX_SOURCE:
        return f"more than {MAX_SOURCE} bytes"
    name = bytecode_path(node.path, minor).rpartition("/")[2]
    if len(name.encode()) > _MAX_NAME:
        return f"the name of its bytecode would have more than {_MAX_NAME} bytes"
    return None


def _size(node: Node) -> int:
    return 0 if node.content is None else node.content.size
