"""Which of the resolved wheels the image needs, by the image's own markers.

pip-compile reads environment markers with the Python it runs on; the image's may have another
patch release, and `python_full_version < "3.11.3"` then means another thing. So the walk from the
requirements is done again over the wheels' own METADATA, with the image's markers: what is not
reached is left out, what is missing is asked for. Pure but for reading the wheels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.errors import ArchiveError
from mllock.lock.target import Target

if TYPE_CHECKING:  # slow to import, and only needed to resolve
    from packaging.requirements import Requirement

__all__ = ["Closure", "WheelMetadata", "closure", "parse_requirement", "read_metadata"]

MAX_METADATA = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelMetadata:
    """What resolving needs to know of a wheel."""

    name: str
    version: str
    requires: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """`needed` are names; `missing` are PEP 508 texts without markers, sorted."""

    needed: frozenset[str]
    missing: tuple[str, ...]


def read_metadata(wheel: Path, name: str) -> WheelMetadata:
    """Name, version and dependencies in a wheel's METADATA. Raises ArchiveError."""
    import zipfile
    from email.parser import BytesParser

    from packaging.utils import canonicalize_name

    try:
        with zipfile.ZipFile(wheel) as archive:
            (info,) = (
                entry
                for entry in archive.infolist()
                if entry.filename.count("/") == 1 and entry.filename.endswith(".dist-info/METADATA")
            )
            if info.file_size > MAX_METADATA:
                raise ArchiveError(f"METADATA of more than {MAX_METADATA} bytes", file=name)
            message = BytesParser().parsebytes(archive.read(info), headersonly=True)
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"not a wheel: {str(error).lower()}", file=name) from None
    except ValueError:
        raise ArchiveError("not a wheel: it needs exactly one METADATA", file=name) from None
    return WheelMetadata(
        name=str(canonicalize_name(str(message["Name"]))),
        version=str(message["Version"]),
        requires=tuple(str(item) for item in message.get_all("Requires-Dist", [])),
    )


def closure(
    requirements: Iterable[str], wheels: Mapping[str, WheelMetadata], target: Target
) -> Closure:
    """Walk from `requirements` through `wheels` (by normalised name) as `target` would.

    Raises ArchiveError if a wheel's own requirement cannot be read.
    """
    from packaging.utils import canonicalize_name

    needed: set[str] = set()
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(parse_requirement(text, "the spec"), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate(dict(target.markers(extra))):
            continue
        name = str(canonicalize_name(requirement.name))
        wheel = wheels.get(name)
        if wheel is None or not requirement.specifier.contains(wheel.version, prereleases=True):
            requirement.marker = None
            missing.add(str(requirement))
            continue
        needed.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(parse_requirement(text, name), wanted) for text in wheel.requires]
    return Closure(needed=frozenset(needed), missing=tuple(sorted(missing)))


def parse_requirement(text: str, source: str) -> Requirement:
    """Raises ArchiveError that names `source`, whose requirement it is."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise ArchiveError(f"a requirement of {source} cannot be read: {reason}") from None
