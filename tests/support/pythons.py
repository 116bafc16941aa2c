"""Interpreters of this machine as the base of an image: real ones, with their own libraries.

`base_of("3.12")` finds a Python on the machine and lays it out as an image would hold it, below
/usr/local, its libraries and loader where a Debian system has them. The standard library is cut
down to what a compile needs and a few modules more, so that a test takes a second. A Python that is
not there is a skip (with CI=true a failure).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mllock.image.elf import read_elf
from mllock.image.read import Member, merge, read_layer
from mllock.image.resolve import with_parents
from mllock.image.tree import Node
from support.nodes import blob, file, symlink

LIBRARY = "usr/local/lib/python{minor}"
# What an interpreter reads before it compiles, and modules that make a library of it.
MODULES = (
    *("abc.py", "codecs.py", "encodings/*.py", "genericpath.py", "io.py", "os.py", "posixpath.py"),
    *("stat.py", "_collections_abc.py", "warnings.py", "linecache.py", "json/*.py", "re/*.py"),
    *("enum.py", "types.py", "functools.py", "collections/*.py", "keyword.py", "operator.py"),
    *("reprlib.py", "copyreg.py", "contextlib.py"),
)

_ASK = """
import sys
print(sys.base_prefix)
print(".".join(map(str, sys.version_info[:3])))
print(open("/proc/self/maps").read())
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonBase:
    """`nodes` are a whole layer; `version` is the full version, `interpreter` its path there."""

    executable: Path
    library: Path
    version: str
    interpreter: str
    nodes: tuple[Node, ...]

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


@functools.cache
def base_of(minor: str) -> PythonBase:
    executable = _find(minor)
    lines = _ask(executable).splitlines()
    library = Path(lines[0]) / "lib" / f"python{minor}"
    libraries = {line.split()[-1] for line in lines[2:] if re.search(r"/lib[^/]*\.so[.\d]*$", line)}
    program = executable.resolve()
    loader = read_elf(program.read_bytes()).interpreter
    assert loader is not None
    inside = LIBRARY.format(minor=minor)
    nodes = [
        file(f"usr/local/bin/python{minor}", program.read_bytes(), 0o755),
        symlink("lib64", "usr/lib64"),
        file(f"usr/lib64/{Path(loader).name}", Path(loader).read_bytes(), 0o755),
    ]
    for path in map(Path, sorted(libraries)):
        folder = f"usr/lib/{os.uname().machine}-linux-gnu"
        nodes.append(file(f"{folder}/{path.name}", path.read_bytes(), 0o755))
        nodes += [
            symlink(f"{folder}/{link.name}", path.name)
            for link in path.parent.glob(f"{path.name.partition('.so')[0]}.so*")
            if link.is_symlink() and link.resolve() == path.resolve()
        ]
    for pattern in MODULES:
        nodes += [
            file(f"{inside}/{path.relative_to(library)}", path.read_bytes())
            for path in sorted(library.glob(pattern))
        ]
    return PythonBase(
        executable=executable,
        library=library,
        version=lines[1],
        interpreter=f"/usr/local/bin/python{minor}",
        nodes=with_parents(nodes),
    )


def tree_of(*layers: Iterable[Node]) -> Callable[[Callable[[str], bool]], Mapping[str, Member]]:
    """Layers of nodes as `mllock.image.interpreter` is given them; `passes` counts the readings."""
    blobs = [blob(nodes) for nodes in layers]

    def tree(kept: Callable[[str], bool]) -> Mapping[str, Member]:
        tree.passes += 1  # type: ignore[attr-defined]
        return merge([read_layer(iter((data,)), "a layer", kept=kept) for data in blobs])

    tree.passes = 0  # type: ignore[attr-defined]
    return tree


def without(nodes: Sequence[Node], *paths: str) -> tuple[Node, ...]:
    return tuple(node for node in nodes if node.path not in paths)


def _find(minor: str) -> Path:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [
        Path(getattr(sys, "_base_executable", sys.executable)),
        *sorted(root.glob(f"versions/{minor}.*/bin/python{minor}")),
        Path(f"/usr/bin/python{minor}"),
        Path(shutil.which(f"python{minor}") or os.devnull),
    ]
    for place in places:
        try:
            if f"\n{minor}." in _ask(place):
                return place
        except (OSError, subprocess.CalledProcessError):
            continue
    pytest.skip(f"no Python {minor} on this machine")


def _ask(executable: Path) -> str:
    done = subprocess.run(
        [executable, "-I", "-c", _ASK], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout
