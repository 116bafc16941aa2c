"""The Python layers: wheels in groups, and the frame that makes them a virtual environment.

A layer is a function of its wheels, the prefix, the Python version and what rules about overlaps
leave out of it, nothing else: a file that two wheels hold with the same bytes stays in both of
their layers. Paths of two owners are the matter of `mllock.image.overlaps`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, from_hex
from mllock.errors import LockError
from mllock.image.overlaps import FRAME, LeftOut
from mllock.image.resolve import with_parents
from mllock.image.tree import Node, Stored
from mllock.image.wheel import Prefix, wheel_nodes
from mllock.lock.types import Lock, PythonPackage

__all__ = ["PythonGroup", "group_nodes", "merge", "python_groups"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonGroup:
    """One Python layer to be. `frame` is on the first one; `left_out` has its own packages only."""

    packages: tuple[PythonPackage, ...]
    prefix: Prefix
    python: str
    base_interpreter: str
    frame: bool
    left_out: LeftOut = field(default_factory=dict)

    def without(self, left_out: LeftOut) -> PythonGroup:
        """The group, less what `left_out` names of its packages."""
        own = {p.name: left_out[p.name] for p in self.packages if p.name in left_out}
        return replace(self, left_out=own)

    def without_key(self, names: Collection[str]) -> dict[str, Any]:
        """What is left out of these packages, as part of a key; empty where it is nothing."""
        lost = {name: list(self.left_out[name]) for name in names if name in self.left_out}
        # There may be thousands of paths.
        return {"left-out": canonical.digest_of(lost)} if lost else {}

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
    def work(self) -> int:
        """About how much there is to do: small wheels have more files for their size."""
        return self.size + len(self.packages) * (256 << 10)

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
        return key | self.without_key(self.left_out)


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
    owned = [(FRAME, frame_nodes(group))] if group.frame else []
    for package in group.packages:
        wheel = package.wheels[0]
        gone = group.left_out.get(package.name, ())
        nodes = wheel_nodes(wheels[wheel.name], wheel.name, group.prefix, left_out=frozenset(gone))
        owned.append((package.name, nodes))
    return tuple(owned)


def merge(owned: Sequence[tuple[str, tuple[Node, ...]]]) -> tuple[Node, ...]:
    """The nodes of one layer: of equal files the first stays."""
    found: dict[str, Node] = {}
    for _, nodes in owned:
        for node in nodes:
            found.setdefault(node.path, node)
    return with_parents(found.values())
