"""pylock.toml (PEP 751), read by the rules of `packaging.pylock`: versions to begin with.

A document that it refuses is refused. Markers are asked as an installer without extras asks them:
in the default groups, on Linux. What is only for an extra, or for another group, is a leftover; a
package for another system is nothing that an image misses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mllock.errors import InputError
from mllock.spec.importing.documents import Document
from mllock.spec.importing.found import Collector, Place
from mllock.spec.importing.pip_lines import OWN, OWN_HINT
from mllock.spec.importing.pyproject_indexes import elsewhere
from mllock.spec.importing.pythons import DEFAULT, linux_environment, marker_holds
from mllock.spec.importing.registries import Registries

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.pylock import Package, Pylock

__all__ = ["read_pylock"]

_MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
_CHOICE = "is for an extra or a group, which is a choice that the file does not make"
_MINOR = "what a later minor version adds is passed over, as PEP 751 says"
_SYSTEM = "this lock is for other systems: its versions may have no wheels for Linux"
_PLATFORMS = "platforms is written for images that this machine can run"
_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_CHOOSES = re.compile(r"\b(?:extras|dependency_groups)\b")


def read_pylock(out: Collector, doc: Document, *, alone: bool) -> None:
    """Raises InputError for what is no PEP 751 lock of version 1."""
    from packaging.version import Version

    lock = _valid(doc)
    if lock.lock_version > Version("1.0"):
        out.left(doc.place("lock-version"), f"lock-version {lock.lock_version}", _MINOR)
    if lock.requires_python is not None:
        out.python_is(str(lock.requires_python), doc.place("requires-python"))
    if lock.environments:
        _environments(out, lock.environments, doc.place("environments"))
    registries = Registries()
    for index, package in enumerate(lock.packages):
        at = ("packages", index)
        if package.vcs or package.directory or package.archive:
            _source(out, package, doc.place(*at), alone=alone)
        elif package.version is None:
            elsewhere(out, package.name, doc.place(*at))
        else:
            _package(out, lock, package, doc.place(*at), doc.place(*at, "version"), alone=alone)
            if package.index is not None:
                registries.add(package.index, package.name, doc.place(*at, "index"))
    if alone:
        registries.carry(out)


def _environments(out: Collector, markers: Sequence[Marker], place: Place) -> None:
    what = f"environments: {', '.join(map(str, markers))}"
    machines = _machines(markers, out.python)
    if not machines:
        out.left(place, what, _SYSTEM, "mllock lock chooses others then")
    elif "platform_machine" in what:
        platforms = ", ".join(f'"{_MACHINES[machine]}"' for machine in machines)
        out.left(place, what, _PLATFORMS, f"check that it says platforms = [{platforms}]")


def _package(
    out: Collector, lock: Pylock, package: Package, place: Place, line: Place, *, alone: bool
) -> None:
    marker, name, version = package.marker, package.name, str(package.version)
    needs = package.requires_python
    minor = out.python or DEFAULT
    if needs is not None and not any(f"{minor}.{patch}" in needs for patch in (20, 9, 0)):
        what = f"{name} {version}"
        out.left(line, what, f"is not for this Python, but for Python {needs}")
    if marker is None or _CHOOSES.search(str(marker)) is None:
        if marker is None or marker_holds(str(marker), out.python):
            out.pin(name, version, line)
        if alone:
            out.requirement(f"{name}=={version}" + (f"; {marker}" if marker else ""), place)
        return
    chosen = _machines([marker], out.python, groups=lock.default_groups or ())
    if chosen:
        out.pin(name, version, line)
        if alone:
            only = f'; platform_machine == "{chosen[0]}"' if chosen[1:] == [] else ""
            out.requirement(f"{name}=={version}{only}", place)
    elif _machines(
        [marker], out.python, groups=lock.dependency_groups or (), extras=lock.extras or ()
    ):
        out.left(place, f"{name} {version}", _CHOICE)


def _machines(
    markers: Iterable[Marker],
    python: str | None,
    *,
    groups: Iterable[str] = (),
    extras: Iterable[str] = (),
) -> list[str]:
    """The machines with Linux on which one of `markers` holds."""
    found = []
    for machine in _MACHINES:
        environment: dict[str, Any] = {
            **linux_environment(python, machine),
            "extras": frozenset(extras),
            "dependency_groups": frozenset(groups),
        }
        if any(marker.evaluate(environment, context="lock_file") for marker in markers):
            found.append(machine)
    return found


def _source(out: Collector, package: Package, place: Place, *, alone: bool) -> None:
    """A package that is of no index: its own line says what to write, where it can be written."""
    if package.directory is not None and package.directory.path in (".", "./"):
        out.elsewhere.add(package.name)
        out.left(place, package.name, OWN, OWN_HINT)
    elif alone and package.vcs is not None and package.vcs.url is not None:
        folder = f"#subdirectory={package.vcs.subdirectory}" if package.vcs.subdirectory else ""
        url = f"{package.vcs.type}+{package.vcs.url}@{package.vcs.commit_id}{folder}"
        out.requirement(f"{package.name} @ {url}", place)
    elif alone and package.archive is not None and package.archive.url is not None:
        sha256 = package.archive.hashes.get("sha256")
        end = f"#sha256={sha256}" if sha256 else ""
        out.requirement(f"{package.name} @ {package.archive.url}{end}", place)
    else:
        elsewhere(out, package.name, place)


def _valid(doc: Document) -> Pylock:
    from packaging.pylock import Pylock, PylockValidationError
    from packaging.version import InvalidVersion, Version

    stated = doc.get("lock-version")
    try:
        known = Version("1") <= Version(str(stated)) < Version("2")
    except InvalidVersion:
        known = False
    if not known:  # first: what another major version holds is not known
        raise InputError(
            "not a PEP 751 lock of version 1",
            file=doc.file,
            line=doc.place("lock-version").line,
            found=str(stated) if isinstance(stated, str) else "no lock-version",
        )
    try:
        return Pylock.from_dict(doc.value)
    except RecursionError:
        raise InputError("nested too deeply", file=doc.file, line=1) from None
    except PylockValidationError as error:
        key = error.context or ""
        parts = [int(match[1]) if match[1] else match[2] for match in _PART.finditer(key)]
        said = error.message.partition("\n")[0]
        what = f"not a PEP 751 lock: {said[:1].lower()}{said[1:]}"
        line = doc.place(*parts).line
        raise InputError(what, file=doc.file, line=line, key=key or None) from None
