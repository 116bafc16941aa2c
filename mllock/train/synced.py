"""What `mllock sync` wrote down in an environment, and what is there now.

The state is `mllock-sync.json` of the environment: the interpreter, the place, each file of each
package and how it looked, and `pending` while a sync is at work: all paths that it may touch. It is
the mark of an environment that mllock may change; without it, nothing in the folder is ever written
or removed. It may come with somebody's project, so no path of it leads out of the folder.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from mllock.core import safepath
from mllock.core.digest import hex_of
from mllock.errors import InputError
from mllock.store import atomic
from mllock.store.regular import hash_regular, open_regular
from mllock.train.looks import Look
from mllock.train.python import HostPython

__all__ = [
    "CONFIG",
    "STATE",
    "Foreign",
    "Installed",
    "State",
    "config_digest",
    "differing",
    "foreign",
    "loose",
    "read_state",
    "record_rows",
    "site_of",
    "why_again",
    "write_first_state",
    "write_state",
]

STATE = "mllock-sync.json"
CONFIG = "pyvenv.cfg"
_MAX = 1 << 30
_MAX_CONFIG = 1 << 16
_MAX_RECORD = 1 << 28
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
    """`place` is where the environment was made, `python` the interpreter by path and version,
    `config` the sha256 of its configuration."""

    v: Literal[1] = 1
    place: str
    python: str
    version: str
    config: str = ""
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
        with open_regular(root / STATE) as file:
            data = file.read(_MAX)
    except FileNotFoundError:
        if not any(root.iterdir()):
            return None
        a_venv = (root / CONFIG).is_file()
        what = "an environment that somebody else made" if a_venv else "not an environment"
        raise InputError(f"{what}: it is left alone", file=str(root), hint=_NOT_OURS) from None
    except InputError as error:
        raise _damaged(root, error.found or "") from None
    except OSError as error:
        raise _damaged(root, (error.strerror or str(error)).lower()) from None
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


def write_first_state(root: Path, state: State) -> None:
    """The same where there is none; one that another sync wrote meanwhile stays."""
    temporary = root / atomic.temp_name()
    temporary.write_bytes(msgspec.json.encode(state))
    try:
        os.link(temporary, root / STATE)
    except FileExistsError:
        pass
    except OSError:  # a disk without links
        if not os.path.lexists(root / STATE):
            os.rename(temporary, root / STATE)
    finally:
        temporary.unlink(missing_ok=True)


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
    # What it says decides whether the locked packages are all that is imported. Environments of
    # older versions wrote nothing down.
    if state.config not in ("", config_digest(root)):
        return f"its {CONFIG} was changed"
    return None


def config_digest(root: Path) -> str | None:
    """The sha256 of the configuration, in hex; None if there is none."""
    try:
        return hex_of(hash_regular(root / CONFIG, max_bytes=_MAX_CONFIG))
    except (InputError, OSError):
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
    """PyPA, "Recording installed projects": paths are relative to site-packages, or absolute. Its
    own folder is its own, whatever RECORD says: else a copy under another name would stay."""
    rows = record_rows(root / site / info / "RECORD")
    if rows is None:
        return None
    is_link = os.path.islink(root / site / info)
    own = (info,) if is_link else tuple(_below(root / site / info))
    named = _inside(root, site, (row[0] for row in rows))
    return tuple(dict.fromkeys([*named, *(f"{site}/{path}" for path in own)]))


def record_rows(record: Path) -> list[list[str]] | None:
    """The rows of an installed RECORD; None if there is no file that can be read as one."""
    try:
        with open_regular(record) as file:
            data = file.read(_MAX_RECORD + 1)
        lines = io.StringIO(data.decode("utf-8"), newline="")
        return None if len(data) > _MAX_RECORD else [row for row in csv.reader(lines) if row]
    except (InputError, OSError, UnicodeDecodeError, csv.Error):
        return None


def _below(folder: Path) -> Iterator[str]:
    """Files below `folder`, with its name; nothing behind links."""
    for place, _, files in os.walk(folder):
        inside = os.path.relpath(place, folder.parent)
        yield from (f"{inside}/{file}" for file in files)


def _inside(root: Path, site: str, rows: Iterable[str]) -> Iterator[str]:
    base = f"{os.path.normpath(root)}/"
    for row in rows:
        path = os.path.normpath(os.path.join(base, site, row))
        if path.startswith(base):  # a RECORD may name what is elsewhere: that is not ours to remove
            yield path[len(base) :]
