"""What `mllock sync` wrote down in an environment, and what is there now.

The state is `mllock-sync.json` of the environment: the interpreter, the place, each file of each
package and how it looked, and `pending` while a sync is at work: all paths that it may touch. It is
the mark of an environment that mllock may change; without it, nothing in the folder is ever written
or removed. It may come with somebody's project, so no path of it leads out of the folder.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mllock.core import safepath
from mllock.errors import InputError
from mllock.store import atomic
from mllock.train.looks import Look
from mllock.train.python import HostPython

__all__ = [
    "STATE",
    "Foreign",
    "Installed",
    "State",
    "differing",
    "foreign",
    "loose",
    "read_state",
    "site_of",
    "why_again",
    "write_state",
]

STATE = "mllock-sync.json"
_MAX = 1 << 30
_INFO = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)\.(dist-info|egg-info)")
_MARKS = (".dist-info", ".egg-info", ".egg-link")
_NOT_OURS = "move it away, or name another folder with --venv DIR"


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A package: the wheel by file name and sha256, its files relative to the environment.
    `shared` are paths that another package has as well, which decides whose file is there."""

    version: str
    wheel: str
    sha256: str
    files: tuple[Look, ...]
    shared: tuple[str, ...] = ()


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`place` is where the environment was made, `python` the interpreter by path and version."""

    v: Literal[1] = 1
    place: str
    python: str
    version: str
    overlaps: tuple[tuple[str, str], ...] = ()
    packages: dict[str, Installed] = {}
    pending: tuple[str, ...] = ()

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreign:
    """A package that somebody installed. `paths` are its files, as its RECORD has them, that are in
    the environment; None if it has no RECORD."""

    name: str
    version: str
    paths: tuple[str, ...] | None


def site_of(minor: str) -> str:
    return f"lib/python{minor}/site-packages"


def read_state(root: Path) -> State | None:
    """The state of `root`; None where there is nothing yet. Raises InputError for everything that
    is not an environment of mllock's."""
    if not os.path.lexists(root):
        return None
    if not root.is_dir():
        raise InputError("not a folder", file=str(root), hint=_NOT_OURS)
    try:
        with open(root / STATE, "rb") as file:
            data = file.read(_MAX)
    except FileNotFoundError:
        if not any(root.iterdir()):
            return None
        a_venv = (root / "pyvenv.cfg").is_file()
        what = "an environment that somebody else made" if a_venv else "not an environment"
        raise InputError(f"{what}: it is left alone", file=str(root), hint=_NOT_OURS) from None
    try:
        state = msgspec.json.decode(data, type=State)
    except msgspec.DecodeError as error:
        raise _damaged(root, str(error)) from None
    for path in _paths(state):
        if safepath.problem(path) is not None:
            raise _damaged(root, path)
    return state


def _damaged(root: Path, found: str) -> InputError:
    return InputError(
        "cannot be read, so nothing in its environment is touched",
        file=str(root / STATE),
        found=found[:200],
        hint=f'remove {root.name}, then run "mllock sync" again',
    )


def _paths(state: State) -> Iterable[str]:
    yield from state.pending
    for package in state.packages.values():
        yield from package.shared
        yield from (look.path for look in package.files)


def write_state(root: Path, state: State) -> None:
    """By rename, and not fsynced, as little as its environment: what a power cut tears is seen."""
    temporary = root / atomic.temp_name()
    temporary.write_bytes(msgspec.json.encode(state))
    os.rename(temporary, root / STATE)


def why_again(state: State | None, root: Path, python: HostPython) -> str | None:
    """Why the environment itself has to be made (again); None if it is as it was made, where it was
    made, and stands on this interpreter."""
    if state is None:
        return "it is not there"
    if state.pending:
        return "a sync was interrupted"
    if state.place != str(root):
        return f"it was made at {state.place}"
    if (state.python, state.version) != (str(python.path), python.version):
        return f"it was made with Python {state.version}, {state.python}"
    if os.path.realpath(root / "bin" / "python") != str(python.path):
        return f"its bin/python is not {python.path}"
    return None


def differing(root: Path, package: Installed) -> tuple[str, ...]:
    """The files of `package` that do not look as they did."""
    base = f"{root}/"
    found = []
    for look in package.files:
        try:
            if look.is_of(os.lstat(base + look.path)):
                continue
        except OSError:
            pass
        found.append(look.path)
    return tuple(found)


def foreign(root: Path, minor: str, ours: Iterable[Installed]) -> tuple[Foreign, ...]:
    """The packages that are installed and are none of `ours`."""
    site = site_of(minor)
    prefix = f"{site}/"
    known = {
        look.path[len(prefix) :].partition("/")[0]
        for package in ours
        for look in package.files
        if look.path.startswith(prefix) and ".dist-info/" in look.path
    }
    found = []
    for name in _names(root / site):
        if name in known or not name.endswith(_MARKS):
            continue
        match = _INFO.fullmatch(name)
        found.append(
            Foreign(
                name=match["name"] if match else name.rpartition(".")[0],
                version=match["version"] if match else "",
                paths=_recorded(root, site, name),
            )
        )
    return tuple(found)


def loose(root: Path, minor: str, ours: Mapping[str, Installed]) -> tuple[str, ...]:
    """Names in site-packages that are of no package at all."""
    site = f"{site_of(minor)}/"
    known = {
        look.path[len(site) :].partition("/")[0]
        for package in ours.values()
        for look in package.files
        if look.path.startswith(site)
    }
    names = _names(root / site)
    return tuple(n for n in names if n not in known and n != "__pycache__")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _recorded(root: Path, site: str, info: str) -> tuple[str, ...] | None:
    """PyPA, "Recording installed projects": paths are relative to site-packages, or absolute."""
    try:
        text = (root / site / info / "RECORD").read_text("utf-8")
        rows = [row[0] for row in csv.reader(text.splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return tuple(dict.fromkeys(_inside(root, site, rows)))


def _inside(root: Path, site: str, rows: Iterable[str]) -> Iterator[str]:
    base = f"{os.path.normpath(root)}/"
    for row in rows:
        path = os.path.normpath(os.path.join(base, site, row))
        if path.startswith(base):  # a RECORD may name what is elsewhere: that is not ours to remove
            yield path[len(base) :]
