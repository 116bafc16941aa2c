"""Python packages offline: nothing but what is on this machine is asked, by pip and by uv alike.

Versions are chosen among the wheels of the previous lock and what pip's own settings have on this
disk: folders and `file:` indexes. Where the spec has package indexes, the previous wheels alone:
from where a file on the disk came, nobody can tell. See docs/adr/0085.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from mllock.core.digest import from_hex
from mllock.core.ports import Blobs
from mllock.errors import InputError, MllockError, OfflineError, ResolutionError
from mllock.lock.links import local_links
from mllock.lock.pip import Pip
from mllock.lock.ports import PythonRequest, PythonResolver
from mllock.lock.types import Lock, PythonPackage

__all__ = ["LocalResolver", "MakeResolver", "only_local"]


class MakeResolver(Protocol):
    def __call__(self, environ: Mapping[str, str]) -> PythonResolver:
        """The resolver of the spec, its pip and uv with these variables."""


class LocalResolver:
    """Implements `mllock.lock.ports.PythonResolver`. `previous` is the lock whose wheels may be
    taken: one that had the same indexes and the same `exclude-newer`."""

    def __init__(self, make: MakeResolver, pip: Pip, blobs: Blobs, previous: Lock | None) -> None:
        self._make = make
        self._pip = pip
        self._blobs = blobs
        self._previous = previous
        resolver = make(pip.environ)
        self.name, self._version = resolver.name, resolver.version

    def version(self) -> str:
        return self._version()

    def resolve(self, request: PythonRequest) -> tuple[PythonPackage, ...]:
        with self._blobs.scratch() as folder:
            wheels = folder / "wheels"
            wheels.mkdir()
            self._link(wheels)
            pip = only_local(self._pip, folder, (wheels,), settings=not request.indexes)
            try:
                return self._make(pip.environ).resolve(_on_this_machine(request))
            except (ResolutionError, OfflineError) as error:
                raise _explained(error) from error

    def _link(self, folder: Path) -> None:
        packages = () if self._previous is None else self._previous.python.packages
        for wheel in (wheel for package in packages for wheel in package.wheels):
            path = self._blobs.get(from_hex(wheel.hashes["sha256"]))
            if path is not None:
                os.symlink(path, folder / os.path.basename(wheel.name))


def _on_this_machine(request: PythonRequest) -> PythonRequest:
    return replace(request, indexes=(), find_links=local_links(request.find_links))


def only_local(pip: Pip, folder: Path, links: Iterable[Path] = (), *, settings: bool = True) -> Pip:
    """`pip`, with settings that lead to no network: those of its own that are on this disk, unless
    `settings` is False, and the folders `links`. `folder` is one for its empty parts."""
    nothing = (folder / "nothing").absolute()
    nothing.mkdir(exist_ok=True)
    own = pip.settings(folder) if settings else {}
    names = ("index-url", "extra-index-url", "find-links")
    local = {name: list(filter(_is_local, own.get(name, "").split())) for name in names}
    # Each is set to something: an empty variable is not stronger than pip.conf.
    indexes = [*local["index-url"], *local["extra-index-url"]] or [nothing.as_uri()]
    found = [*(str(link.absolute()) for link in links), *local["find-links"]] or [str(nothing)]
    variables = {
        "PIP_INDEX_URL": indexes[0],
        "PIP_EXTRA_INDEX_URL": " ".join(indexes[1:] or indexes),
        "PIP_FIND_LINKS": " ".join(found),
        "PIP_NO_INDEX": "0",
    }
    if any(" " in path for path in found):
        raise InputError(
            "pip cannot be told of a folder whose path has a blank",
            file=next(path for path in found if " " in path),
            hint="name a cache without one with MLLOCK_CACHE",
        )
    return replace(pip, environ={**pip.environ, **variables})


def _is_local(place: str) -> bool:
    return place.startswith("file:") or "://" not in place


def _explained(error: MllockError) -> MllockError:
    hint = "offline, only wheels of the previous lock and of pip's local folders count"
    error.hint = f"{hint}: leave out --offline to ask the index"
    return error
