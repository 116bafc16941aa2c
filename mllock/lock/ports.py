"""What locking asks of the outside: two resolvers and a data scanner, handed in by the caller.

The pure part of locking (`mllock.lock.make`) combines their answers with the previous lock. The
real ones are `mllock.lock.python`, `mllock.lock.debian` and `mllock.data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mllock.lock.indexes import PackageIndex
from mllock.lock.types import Base, DataPin, DebianPackage, PythonPackage, ReleaseIndex
from mllock.spec.types import DataSource

if TYPE_CHECKING:  # slow to import, and of use to those who resolve
    from mllock.lock.direct import DirectWheel

__all__ = [
    "DataPinner",
    "LockedDebian",
    "PythonRequest",
    "PythonResolver",
    "SystemRequest",
    "SystemResolution",
    "SystemResolver",
    "Upgrade",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Upgrade:
    """Which pins may move: none by default, `names`, or all."""

    all: bool = False
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonRequest:
    """What to resolve. Requirements and constraints are PEP 508 texts, files already read.

    `python` is the full version of the image's interpreter ("3.11.2"), `platform` an OCI platform,
    `glibc` what the base has (major, minor). `pins` are the previous lock's name -> version.
    `exclude_newer` is a time in UTC (ISO 8601): files that came into an index then or later, or in
    an index that does not say when, do not exist. `known` are packages of the previous lock whose
    wheels stay if their versions do. `find_links` are absolute (`mllock.lock.links`).
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    python: str
    platform: str
    glibc: tuple[int, int]
    pins: Mapping[str, str]
    upgrade: Upgrade
    exclude_newer: str | None = None
    indexes: tuple[PackageIndex, ...] = ()
    known: tuple[PythonPackage, ...] = ()
    find_links: tuple[str, ...] = ()
    # Wheels of direct references that are locked already, or were built.
    direct: tuple[DirectWheel, ...] = ()


class PythonResolver(Protocol):
    """Resolves requirements to wheels. Raises ResolutionError or OfflineError."""

    name: str

    def version(self) -> str: ...

    def resolve(self, request: PythonRequest) -> tuple[PythonPackage, ...]:
        """One package for each name, sorted, one wheel each; the wheels are in the blob store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedDebian:
    """What the previous lock has of Debian for one platform: a pin may stay that the archive has no
    more, and an archive that is older than `indexes` is not believed."""

    suite: str
    indexes: tuple[ReleaseIndex, ...]
    packages: tuple[DebianPackage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemRequest:
    """`base` is what the spec names; `packages` are what it asks beyond the base. `previous` is the
    base of the previous lock: a pin that may stay."""

    base: str
    python: str
    packages: tuple[str, ...]
    platform: str
    mirror: str | None
    pins: Mapping[str, str]
    upgrade: Upgrade
    previous: Base | None = None
    locked: LockedDebian | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemResolution:
    base: Base
    packages: tuple[DebianPackage, ...]


class SystemResolver(Protocol):
    """Resolves base and system packages from signed indexes.

    Raises ResolutionError, OfflineError or IntegrityError.
    """

    def resolve(self, request: SystemRequest) -> SystemResolution: ...


class DataPinner(Protocol):
    """Hashes one data source. Raises DataError."""

    def pin(self, name: str, source: DataSource) -> DataPin: ...
