"""Which of the resolved wheels the image needs, by the image's own markers.

pip-compile reads environment markers with the Python it runs on; the image's may have another
patch release, and `python_full_version < "3.11.3"` then means another thing. So the walk from the
requirements is done again over the wheels' own METADATA, with the image's markers: what is not
reached is left out, what is missing is asked for. Pure but for reading the wheels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.errors import ArchiveError
from mllock.lock.extras import NoExtra
from mllock.lock.target import Target

if TYPE_CHECKING:  # slow to import, and only needed to resolve
    from packaging.requirements import Requirement

__all__ = [
    "Closure",
    "WheelMetadata",
    "applies",
    "closure",
    "parse_requirement",
    "read_metadata",
    "shown",
]

MAX_METADATA = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelMetadata:
    """What resolving needs to know of a wheel."""

    name: str
    version: str
    requires: tuple[str, ...]
    # Normalised names of the extras that it has.
    extras: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """`needed` are names; `missing` are PEP 508 texts without markers, sorted; `no_extras` are
    extras that are asked for and that their packages do not have."""

    needed: frozenset[str]
    missing: tuple[str, ...]
    no_extras: frozenset[NoExtra] = frozenset()


def read_metadata(wheel: Path, name: str) -> WheelMetadata:
    """Name, version and dependencies in a wheel's METADATA. Raises ArchiveError."""
    from email.parser import BytesParser

    from packaging.utils import canonicalize_name

    message = BytesParser().parsebytes(_metadata(wheel, name), headersonly=True)
    return WheelMetadata(
        name=str(canonicalize_name(str(message["Name"]))),
        version=str(message["Version"]),
        requires=tuple(str(item) for item in message.get_all("Requires-Dist", [])),
        extras=frozenset(
            str(canonicalize_name(str(item))) for item in message.get_all("Provides-Extra", [])
        ),
    )


def _metadata(wheel: Path, name: str) -> bytes:
    import lzma
    import zipfile
    import zlib

    try:
        with wheel.open("rb") as file, zipfile.ZipFile(file) as archive:
            found = [
                entry
                for entry in archive.infolist()
                if entry.filename.count("/") == 1 and entry.filename.endswith(".dist-info/METADATA")
            ]
            if len(found) != 1:
                raise ArchiveError("not a wheel: it needs exactly one METADATA", file=name)
            if found[0].file_size > MAX_METADATA:
                raise ArchiveError(f"METADATA of more than {MAX_METADATA} bytes", file=name)
            return archive.read(found[0])
    except (zipfile.BadZipFile, ValueError, struct.error) as error:
        reason = str(error).lower()
    except (zlib.error, lzma.LZMAError, EOFError):
        reason = "its METADATA is damaged"
    except NotImplementedError as error:
        reason = f"its METADATA is not to be read: {str(error).lower()}"
    except RuntimeError:
        reason = "its METADATA is encrypted"
    except OSError as error:
        if error.errno is not None:
            raise
        reason = "its METADATA is damaged"  # bz2 says so of data that is none
    raise ArchiveError(f"not a wheel: {shown(reason)}", file=name)


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
    no_extras: set[NoExtra] = set()
    waiting = [(parse_requirement(text, "the spec"), "", "the spec") for text in requirements]
    while waiting:
        requirement, extra, source = waiting.pop()
        if not applies(requirement, target, extra, source):
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
                if wanted and str(canonicalize_name(wanted)) not in wheel.extras:
                    no_extras.add(NoExtra(name=name, version=wheel.version, extra=wanted))
                seen.add((name, wanted))
                waiting += [
                    (parse_requirement(text, name), wanted, name) for text in wheel.requires
                ]
    return Closure(
        needed=frozenset(needed),
        missing=tuple(sorted(missing)),
        no_extras=frozenset(no_extras),
    )


def parse_requirement(text: str, source: str, file: str | None = None) -> Requirement:
    """Raises ArchiveError that names `source`, whose requirement it is, and its `file`."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise _unreadable(text, source, file, str(error).splitlines()[0]) from None
    except RecursionError:
        raise _unreadable(text, source, file, "it is nested too deeply") from None


def applies(
    requirement: Requirement, target: Target, extra: str, source: str, file: str | None = None
) -> bool:
    """Whether `target` needs it, for `extra` of what asks. Raises ArchiveError as above."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.version import InvalidVersion

    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate(dict(target.markers(extra)))
    except (UndefinedComparison, InvalidVersion):
        reason = "its marker compares what cannot be compared"
    except UndefinedEnvironmentName as error:
        reason = f"no wheel may ask for {error.args[0]}"
    except RecursionError:
        reason = "it is nested too deeply"
    raise _unreadable(str(requirement), source, file, reason)


def shown(requirement: Requirement | str) -> str:
    """Fit for a message: without credentials, and not long."""
    from mllock.spec.importing.secrets import one_line

    return one_line(str(requirement))


def _unreadable(text: str, source: str, file: str | None, reason: str) -> ArchiveError:
    return ArchiveError(
        f"a requirement of {source} cannot be read: {shown(reason)}", file=file, found=shown(text)
    )
