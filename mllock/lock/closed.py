"""Whether wheels ask for what is locked, and are what their names say: looked at in their bytes.

What `mllock lock` knows of a wheel that it has not seen is an index's word: which packages it needs
as well. An index that says other things of a wheel than are in it gives a lock that lacks
something, and that must not come out when a program imports it. So whoever brings the bytes looks
once. Pure but for reading the wheels. See ADR 0104.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.errors import ArchiveError, IntegrityError
from mllock.lock.closure import (
    WheelMetadata,
    applies,
    parse_requirement,
    read_metadata,
    shown,
)
from mllock.lock.target import Target
from mllock.lock.types import PythonPackage

if TYPE_CHECKING:  # slow to import, and only needed where wheels come
    from packaging.requirements import Requirement

__all__ = ["check_closed"]

_TELL = "tell those who run the index that it says other things of the wheel than are in it"


def check_closed(
    requirements: Iterable[str],
    packages: Sequence[PythonPackage],
    paths: Mapping[str, Path],
    target: Target,
) -> None:
    """Raises IntegrityError if a wheel among `paths` (by file name) asks for what `packages`, all
    that are locked for `target`, do not have, and ArchiveError if it is of another package.

    `requirements` are those of the spec: they may ask for extras.
    """
    files = {item.name: item.wheels[0].name for item in packages}
    locked = {item.name: item.version for item in packages}
    wheels = {
        name: _read(name, locked[name], paths[file], file)
        for name, file in files.items()
        if file in paths
    }
    waiting = [(name, "") for name in wheels]
    for text in requirements:
        asked = parse_requirement(text, "the spec")
        if applies(asked, target, "", "the spec"):
            waiting += _extras(asked)
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        if name not in wheels:
            continue
        for text in wheels[name].requires:
            wanted = parse_requirement(text, name, files[name])
            if not applies(wanted, target, extra, name, files[name]):
                continue
            have = locked.get(_name(wanted))
            if have is None or not wanted.specifier.contains(have, prereleases=True):
                wanted.marker = None
                raise IntegrityError(
                    f"asks for {shown(wanted)}, which the index did not say when it was locked",
                    file=files[name],
                    expected=f"a requirement that the lock meets on {target.platform}",
                    found=f"{_name(wanted)} {have}" if have else f"no {_name(wanted)} in the lock",
                    hint=f'{_TELL}; resolver = "pip-tools" reads the wheels themselves',
                )
            more = [item for item in _extras(wanted) if item not in seen]
            seen.update(more)
            waiting += more


def _read(name: str, version: str, path: Path, file: str) -> WheelMetadata:
    from packaging.version import InvalidVersion, Version

    found = read_metadata(path, file)
    try:
        same = Version(found.version) == Version(version)
    except InvalidVersion:
        same = False
    if found.name != name or not same:
        raise ArchiveError(
            "the wheel is of another package than its name says",
            file=file,
            expected=f"{name} {version}",
            found=f"{found.name} {found.version}",
            hint=_TELL,
        )
    return found


def _extras(wanted: Requirement) -> Iterator[tuple[str, str]]:
    yield from ((_name(wanted), item) for item in sorted(wanted.extras))


def _name(wanted: Requirement) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(wanted.name))
