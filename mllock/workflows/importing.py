"""`mllock init --from`: the files of another tool in, a commented mlproject.toml out.

Order: read everything; make the text; read it back; then write, all or nothing, as `init` does. No
starter program is written, no file of the imported project is changed or run, and only regular
files inside of its folder are read.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from mllock.core.platform import KNOWN, host_platform
from mllock.errors import InputError
from mllock.lock.imported import PINS_FILE
from mllock.resources import resource
from mllock.spec.hints import near, normalised_name
from mllock.spec.importing.documents import MAX_FILE, MAX_LOCK
from mllock.spec.importing.folder import LOCK_FILES, read_file, read_folder
from mllock.spec.importing.found import Place
from mllock.spec.importing.pythons import DEFAULT
from mllock.spec.importing.results import Found, Leftover
from mllock.spec.importing.writer import pins_text, spec_text
from mllock.spec.reader import parse_spec
from mllock.workflows.init import SCHEMA, SPEC, image_platforms, place_files

__all__ = ["FolderFiles", "ImportResult", "import_project", "imported_files"]

_MAX_DEPTH = 8
_MAX_ABOVE = 3
_MAX_NAMED = 500
_NOT_LOOKED_INTO = ("__pycache__", "node_modules", "site-packages", "venv", "env")
_GITIGNORE = b".mllock/*\n!.mllock/releases/\n.venv/\n__pycache__/\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResult:
    """What was made, of what."""

    folder: Path
    files: tuple[str, ...]
    found: Found


class FolderFiles:
    """Implements `mllock.spec.importing.documents.Files` over a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.realpath(folder))
        self._read: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes | None:
        if name not in self._read:
            self._read[name] = self._bytes(name)
        return self._read[name]

    def named(self, suffix: str) -> list[str]:
        found: list[str] = []
        for folder, folders, names in os.walk(self._folder):
            inside = os.path.relpath(folder, self._folder)
            depth = 0 if inside == "." else inside.count(os.sep) + 1
            folders[:] = sorted(
                name
                for name in folders
                if depth < _MAX_DEPTH and not name.startswith(".") and name not in _NOT_LOOKED_INTO
            )
            found += [
                os.path.normpath(os.path.join(inside, name))
                for name in sorted(names)
                if name.endswith(suffix) and name != suffix
            ]
            if len(found) > _MAX_NAMED:
                break
        return [name for name in found[:_MAX_NAMED] if name.isprintable()]

    def _bytes(self, name: str) -> bytes | None:
        limit = MAX_LOCK if name.endswith((".lock", ".toml")) else MAX_FILE
        try:
            path = Path(os.path.realpath(self._folder / name))
            if not path.is_relative_to(self._folder):
                raise InputError("leads outside of the folder, and is not read", file=name)
            if path.is_dir() or not os.path.lexists(path):
                return None
            if not path.is_file():  # a pipe would be waited for
                raise InputError("not a regular file", file=name)
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"cannot be read: {reason.lower()}", file=name) from error
        if len(data) > limit:
            raise InputError(f"more than {limit} bytes", file=name)
        return data


def import_project(source: Path, folder: Path) -> ImportResult:
    """Make a project in `folder` of the file or folder `source`.

    Raises InputError for what cannot be read, and where something is in the way.
    """
    folder = Path(os.path.abspath(folder))
    source = Path(os.path.abspath(source))
    if os.path.lexists(folder / SPEC):  # before anything is read
        place_files(folder, {SPEC: b""})
    if source.is_dir():
        found = read_folder(FolderFiles(source), normalised_name(folder.name))
    else:
        if not os.path.lexists(source):
            raise _missing(source)
        files = FolderFiles(source.parent)
        found = read_file(files, source.name, normalised_name(folder.name))
    found = _lock_above(source if source.is_dir() else source.parent, found)
    made = imported_files(found)
    if not os.path.lexists(folder / ".gitignore"):
        made = {".gitignore": _GITIGNORE, **made}
    place_files(folder, made)
    return ImportResult(folder=folder, files=tuple(made), found=found)


def _lock_above(folder: Path, found: Found) -> Found:
    """A member of a workspace has its lock further up, which is not read: that is said."""
    if found.pins or "pyproject.toml" not in found.files:
        return found
    folder = Path(os.path.realpath(folder))
    for below, above in list(pairwise((folder, *folder.parents)))[:_MAX_ABOVE]:
        if os.path.lexists(below / ".git"):
            break  # what is above of it is not of the project
        for name in LOCK_FILES:
            if os.path.isfile(above / name):
                place = Place(file=os.path.relpath(above / name, folder))
                why = "lies above the folder, and was not read"
                hint = "copy it beside pyproject.toml: the first lock then begins with its versions"
                left = Leftover(place=place, what=name, why=why, hint=hint)
                return replace(found, leftovers=(*found.leftovers, left))
    return found


def _missing(source: Path) -> InputError:
    if re.search(r"(?:^|/)[a-z+]+:/[^/]", str(source)):
        hint: str | None = "a URL is not fetched: fetch the file, and name it"
    else:
        names = sorted(os.listdir(source.parent)) if source.parent.is_dir() else []
        meant = near(source.name, [name for name in names if name.isprintable()])
        hint = f"did you mean {meant}?" if meant else None
    return InputError("no such file", file=source.name, hint=hint)


def imported_files(
    found: Found, *, host: str | None = None, python: str | None = None
) -> Mapping[str, bytes]:
    """The files of a project of what was found, on this machine or a `host`; the spec last."""
    host = host or host_platform()
    python = python or f"{sys.version_info.major}.{sys.version_info.minor}"
    foreign = host not in KNOWN or python != (found.python or DEFAULT)
    text = spec_text(found, platforms=image_platforms(host), foreign=foreign).encode()
    parse_spec(text, Path(SPEC))  # what cannot be read back is never written
    files = {SCHEMA: resource("schemas", "mlproject.schema.json").read_bytes()}
    pins = pins_text(found).encode()
    if pins:
        files[f".mllock/{PINS_FILE}"] = pins
    return {**files, SPEC: text}
