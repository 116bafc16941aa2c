"""The Python and the C library of a base, found in its files without running any of them.

An interpreter is looked for in the folders of the base's own PATH, as a shell would. Its version is
the one that is compiled into it or into its libpython; `patchlevel.h` says it where that is not
plain. Headers of ELF files say what machine they are for, so that an index that names the wrong
platform is found out here and not when the image is started.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mllock.core.platform import KNOWN
from mllock.errors import ResolutionError
from mllock.image.base_tree import BaseTree
from mllock.image.elf import machine_of
from mllock.image.environment import ENGINE_PATH

__all__ = ["Interpreter", "find_glibc", "find_pythons"]

_NAME = re.compile(r"python(?:3(?:\.[0-9]{1,3})?)?")
_LIBRARY = re.compile(r"libpython3\.[0-9]{1,3}\.so(?:\.[0-9.]+)?")
# CPython compiles PY_VERSION in as a string of its own.
_VERSION = re.compile(rb"\0(3\.[0-9]{1,3}\.[0-9]{1,3}(?:(?:a|b|rc)[0-9]{1,2})?\+?)\0")
_HEADER = re.compile(rb'#define\s+PY_VERSION\s+"(3\.[0-9]{1,3}\.[0-9]{1,3}[abrc0-9]*\+?)"')
_GLIBC = re.compile(
    rb"GNU C Library \([^()\n]{1,200}\) (?:stable|development) release version (2\.[0-9]{1,3})"
)
_MAX_BINARY = 64 * 1024 * 1024
_MAX_FOUND = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """`path` is absolute, as PATH leads to it; `version` is full ("3.11.9")."""

    path: str
    version: str

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    def __str__(self) -> str:
        return f"Python {self.version} ({self.path})"


def find_pythons(
    tree: BaseTree, variables: Mapping[str, str], platform: str
) -> tuple[Interpreter, ...]:
    """The interpreters of the base, in the order of its PATH; the most exact name of each folder.

    Raises ResolutionError if one is for another machine than `platform`.
    """
    found: dict[str, str] = {}
    for folder in (variables.get("PATH") or ENGINE_PATH).split(":"):
        for path in _named(tree, folder):
            real = tree.file(path)
            if real is not None and tree.members[real].mode & 0o111:
                found.setdefault(real, f"/{path}")
    chosen = dict(list(found.items())[:_MAX_FOUND])
    beside = {real: _beside(tree, real) for real in chosen}
    wanted = {path for real in chosen for path in (real, *beside[real])}
    data = tree.read([path for path in wanted if tree.members[path].size <= _MAX_BINARY])
    answer = []
    for real, path in chosen.items():
        binary = data.get(real)
        machine = None if binary is None else machine_of(binary)
        if binary is None or machine is None:
            continue  # a script: what it starts is not known without running it
        if machine != KNOWN[platform].machine:
            raise ResolutionError(
                f"{path} of the base is for another machine",
                expected=platform,
                found=next(name for name, known in KNOWN.items() if known.machine == machine),
            )
        version = _version(path, [binary, *(data[p] for p in beside[real] if p in data)])
        if version is not None:
            answer.append(Interpreter(path=path, version=version))
    return tuple(answer)


def _named(tree: BaseTree, folder: str) -> list[str]:
    """Paths in `folder` that may be a Python, longest names first: python3.11, python3, python."""
    real = tree.follow(folder) if folder.startswith("/") else None
    if not real:
        return []
    names = [
        path.rpartition("/")[2]
        for path in tree.members
        if path.startswith(f"{real}/") and _NAME.fullmatch(path[len(real) + 1 :])
    ]
    ordered = sorted(names, key=lambda name: (-len(name), name))
    return [posixpath.normpath(f"{folder}/{name}").lstrip("/") for name in ordered]


def _beside(tree: BaseTree, real: str) -> tuple[str, ...]:
    """Files that say the version of the interpreter at `real`: its libpython, its header."""
    prefix = posixpath.dirname(posixpath.dirname(real))
    found = set()
    for path, member in tree.members.items():
        folder, _, name = path.rpartition("/")
        if member.kind != "file" or not path.startswith(f"{prefix}/"):
            continue
        library = _LIBRARY.fullmatch(name) and folder.startswith((f"{prefix}/lib", "lib"))
        header = name == "patchlevel.h" and folder.startswith(f"{prefix}/include/python3")
        if library or header:
            found.add(path)
    return tuple(sorted(found))


def _version(path: str, files: list[bytes]) -> str | None:
    """The one version that the files agree on, among those that the name of `path` allows."""
    named = re.search(r"python(3\.[0-9]+)$", path)
    said: dict[str, None] = {}
    for pattern in (_VERSION, _HEADER):
        for data in files:
            for match in pattern.findall(data):
                version = match.decode()
                if named is None or version.startswith(f"{named[1]}."):
                    said.setdefault(version.rstrip("+"))
        if said:
            break
    return next(iter(said)) if len(said) == 1 else None


def find_glibc(tree: BaseTree, platform: str) -> str:
    """The version of the base's C library. Raises ResolutionError if it has none of GNU's."""
    machine = KNOWN[platform].machine
    folders = (f"lib/{machine}-linux-gnu", "lib64", "lib", f"usr/lib/{machine}-linux-gnu")
    for folder in (*folders, "usr/lib64", "usr/lib"):
        real = tree.file(f"{folder}/libc.so.6")
        if real is not None and tree.members[real].size <= _MAX_BINARY:
            match = _GLIBC.search(tree.read([real]).get(real, b""))
            if match is not None:
                return match[1].decode()
    musl = any(re.fullmatch(r"(usr/)?lib/ld-musl-[a-z0-9_]+\.so\.1", path) for path in tree.members)
    raise ResolutionError(
        "the base has the C library musl" if musl else "the base has no C library of GNU's",
        expected="glibc, for which wheels of Python packages are built",
        hint="take a base that is made of Debian, e.g. the slim variant of the image",
    )
