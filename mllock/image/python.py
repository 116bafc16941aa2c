"""The Python layers: wheels in groups, and the frame that makes them a virtual environment.

A layer is a function of its wheels, the prefix and the Python version, nothing else: a file that
two wheels hold with the same bytes stays in both of their layers. Two wheels that hold one path
with different bytes have no right order, and are refused, across layers as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllock.core.digest import Digest, from_hex, sha256_of
from mllock.errors import ArchiveError, LockError
from mllock.image.resolve import with_parents
from mllock.image.tree import Deflated, Node, Packed, Stored
from mllock.image.wheel import Prefix, wheel_nodes
from mllock.lock.types import Lock, PythonPackage

__all__ = ["PythonGroup", "check_conflicts", "group_nodes", "merge", "python_groups"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonGroup:
    """One Python layer to be. `frame` is on the first one."""

    packages: tuple[PythonPackage, ...]
    prefix: Prefix
    python: str
    base_interpreter: str
    frame: bool

    @property
    def title(self) -> str:
        names = [package.name for package in self.packages]
        if len(names) > 4:
            return f"{', '.join(names[:3])} and {len(names) - 3} more"
        return ", ".join(names) or "no packages"

    @property
    def digests(self) -> tuple[Digest, ...]:
        return tuple(from_hex(package.wheels[0].hashes["sha256"]) for package in self.packages)

    @property
    def size(self) -> int:
        """Of the wheels, in bytes."""
        return sum(package.wheels[0].size for package in self.packages)

    @property
    def key(self) -> dict[str, Any]:
        """All that the bytes of the layer depend on."""
        key: dict[str, Any] = {
            "prefix": self.prefix.root,
            "python": self.prefix.python,
            "wheels": list(self.digests),
        }
        if self.frame:
            key["frame"] = {"python": self.python, "interpreter": self.base_interpreter}
        return key


def python_groups(lock: Lock) -> tuple[PythonGroup, ...]:
    """The Python layers of a lock, bottom up. Raises LockError if a package has none, or two."""
    packages = {package.name: package for package in lock.python.packages}
    groups = [group.packages for group in lock.layers.python] or [()]
    placed = [name for group in groups for name in group]
    if sorted(placed) != sorted(packages):
        raise LockError(
            "the Python layers do not hold each package once",
            file="mlproject.lock",
            key="layers.python",
            hint='run "mllock lock"',
        )
    minor = ".".join(lock.base.python.split(".")[:2])
    return tuple(
        PythonGroup(
            packages=tuple(packages[name] for name in sorted(names)),
            prefix=Prefix(python=minor),
            python=lock.base.python,
            base_interpreter=lock.base.interpreter,
            frame=position == 0,
        )
        for position, names in enumerate(groups)
    )


def frame_nodes(group: PythonGroup) -> tuple[Node, ...]:
    """`pyvenv.cfg` and the links to the base's Python, as `python -m venv` makes them."""
    root = group.prefix.root
    home = group.base_interpreter.rpartition("/")[0]
    text = (
        f"home = {home}\ninclude-system-site-packages = false\nversion = {group.python}\n"
        f"executable = {group.base_interpreter}\n"
    )
    links = {
        "python": group.base_interpreter,
        "python3": "python",
        f"python{group.prefix.python}": "python",
    }
    return (
        Node(path=f"{root}/pyvenv.cfg", kind="file", mode=0o644, content=Stored(text.encode())),
        *(
            Node(path=f"{root}/bin/{name}", kind="symlink", mode=0o777, target=target)
            for name, target in links.items()
        ),
        Node(path=group.prefix.site, kind="folder", mode=0o755),
    )


def group_nodes(
    group: PythonGroup, wheels: Mapping[str, Path]
) -> tuple[tuple[str, tuple[Node, ...]], ...]:
    """(owner, nodes) for the frame and each wheel. `wheels` are files by wheel name."""
    owned = [("the virtual environment", frame_nodes(group))] if group.frame else []
    for package in group.packages:
        wheel = package.wheels[0]
        owned.append((package.name, wheel_nodes(wheels[wheel.name], wheel.name, group.prefix)))
    return tuple(owned)


def merge(owned: Sequence[tuple[str, tuple[Node, ...]]]) -> tuple[Node, ...]:
    """The nodes of one layer: of equal files the first stays."""
    found: dict[str, Node] = {}
    for _, nodes in owned:
        for node in nodes:
            found.setdefault(node.path, node)
    return with_parents(found.values())


def check_conflicts(owned: Sequence[tuple[str, tuple[Node, ...]]]) -> None:
    """Raises ArchiveError that names both packages and the path, over all Python layers."""
    owners: dict[str, tuple[str, Node]] = {}
    for owner, nodes in owned:
        for node in nodes:
            first, other = owners.setdefault(node.path, (owner, node))
            if other is not node and not _same(other, node):
                raise _conflict(first, owner, node.path, "with different bytes")
    for path, (owner, _) in owners.items():
        at = path.rfind("/")
        while at > 0:
            above = owners.get(path[:at])
            if above is not None and above[1].kind != "folder":
                raise _conflict(above[0], owner, path[:at], "as a file and as a folder")
            at = path.rfind("/", 0, at)


def _conflict(first: str, second: str, path: str, how: str) -> ArchiveError:
    return ArchiveError(
        f"{first} and {second} both install this path, {how}",
        key=path,
        hint="leave one of the two out of [environment] dependencies",
    )


def _same(one: Node, other: Node) -> bool:
    if one.kind != other.kind or one.target != other.target:
        return False
    return one.kind != "file" or _digest(one) == _digest(other)


def _digest(node: Node) -> str | None:
    match node.content:
        case Deflated() | Packed() as content:
            return content.digest
        case Stored(data):
            return sha256_of(data)
    raise AssertionError(node.path)
