"""The wire form of a record's predicate: SLSA Provenance v1 as mllock writes it, no more.

https://slsa.dev/spec/v1.0/provenance. Fields that mllock does not write are refused: a reader
that skips what it does not know would believe less than what was signed. `mllock.train.record`
turns this into a `Record`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mllock.attest.statement import DigestSet, Strict
from mllock.errors import RunError
from mllock.spec.types import Scalar

__all__ = ["Parts", "Plain", "Predicate", "read_predicate", "sort_dependencies"]

BUILD_TYPE = "urn:mllock:build-type:train:1"
BUILDER_ID = "urn:mllock:builder:local"
LOCK_URI = "mllock:lock"
ENVIRONMENT_URI = "mllock:environment"
CODE_URI = "mllock:code"
DATA_URI = "mllock:data/"
BASE_URI = "mllock:base/"
DEB_URI = "pkg:deb/debian/"
WHEEL_URI = "pkg:pypi/"

NonEmpty = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
DigestText = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Timestamp = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
]
RunId = Annotated[str, Meta(pattern=r"^[0-9]{8}-[0-9]{6}-[a-z0-9]{4}\Z")]


class ExternalParameters(Strict, frozen=True, kw_only=True):
    project: NonEmpty
    version: NonEmpty
    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    params: dict[str, Scalar]
    model: NonEmpty
    runtime: NonEmpty
    network: bool


class WheelCounts(Strict, frozen=True, kw_only=True):
    locked: Count
    verified: Count


class InternalParameters(Strict, frozen=True, kw_only=True):
    environment: dict[str, Any]
    facts: dict[str, Any]
    wheels: WheelCounts


class LockAnnotations(Strict, frozen=True, kw_only=True, rename="kebab"):
    content_digest: DigestText


class CodeAnnotations(Strict, frozen=True, kw_only=True):
    commit: Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})\Z")] | None = None
    dirty: bool | None = None


class Plain(Strict, frozen=True, kw_only=True):
    """A ResourceDescriptor without annotations."""

    name: NonEmpty
    uri: NonEmpty
    digest: DigestSet


class LockDependency(Plain, frozen=True, kw_only=True):
    annotations: LockAnnotations


class CodeDependency(Plain, frozen=True, kw_only=True):
    annotations: CodeAnnotations = CodeAnnotations()


class BuildDefinition(Strict, frozen=True, kw_only=True):
    build_type: Literal["urn:mllock:build-type:train:1"]
    external_parameters: ExternalParameters
    internal_parameters: InternalParameters
    resolved_dependencies: tuple[dict[str, Any], ...]


class BuilderVersion(Strict, frozen=True, kw_only=True):
    mllock: NonEmpty


class BuilderIdentity(Strict, frozen=True, kw_only=True):
    id: Literal["urn:mllock:builder:local"]
    version: BuilderVersion


class Metadata(Strict, frozen=True, kw_only=True):
    invocation_id: RunId
    started_on: Timestamp
    finished_on: Timestamp


class Byproduct(Strict, frozen=True, kw_only=True):
    name: NonEmpty
    digest: DigestSet


class RunDetails(Strict, frozen=True, kw_only=True):
    builder: BuilderIdentity
    metadata: Metadata
    byproducts: tuple[Byproduct, ...]


class Predicate(Strict, frozen=True, kw_only=True):
    build_definition: BuildDefinition
    run_details: RunDetails


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """resolvedDependencies by what they are."""

    lock: LockDependency
    environment: Plain
    code: CodeDependency
    data: tuple[Plain, ...]
    base: tuple[Plain, ...]
    debs: tuple[Plain, ...]
    wheels: tuple[Plain, ...]


def read_predicate(predicate: dict[str, Any], name: str) -> Predicate:
    try:
        raw = msgspec.convert(predicate, Predicate)
    except ValueError as error:
        raise RunError(f"not a record: {error}", file=name, key="predicate") from None
    names = [part.name for part in raw.run_details.byproducts]
    if len(set(names)) != len(names):
        raise RunError("two byproducts have one name", file=name, key="predicate.runDetails")
    return raw


def sort_dependencies(raw: tuple[dict[str, Any], ...], name: str) -> Parts:
    """Read resolvedDependencies: lock, environment, code, then data, base, debs, wheels."""
    key = "predicate.buildDefinition.resolvedDependencies"
    try:
        if len(raw) < 3:
            raise RunError("lock, environment or code is missing", file=name, key=key)
        lock = msgspec.convert(raw[0], LockDependency)
        environment = msgspec.convert(raw[1], Plain)
        code = msgspec.convert(raw[2], CodeDependency)
        others = [msgspec.convert(part, Plain) for part in raw[3:]]
    except ValueError as error:
        raise RunError(f"not a record: {error}", file=name, key=key) from None
    named = {
        ("mlproject.lock", LOCK_URI): lock,
        ("environment", ENVIRONMENT_URI): environment,
        ("code", CODE_URI): code,
    }
    for (part_name, uri), part in named.items():
        if (part.name, part.uri) != (part_name, uri):
            raise RunError(f"{part_name} is missing or not in its place", file=name, key=key)
    groups = {prefix: _group(others, prefix) for prefix in (DATA_URI, BASE_URI, DEB_URI, WHEEL_URI)}
    if [part for group in groups.values() for part in group] != others:
        raise RunError("a dependency of an unknown kind, or not in order", file=name, key=key)
    for group in groups.values():
        names = [part.name for part in group]
        if len(set(names)) != len(names):
            raise RunError("two dependencies have one name", file=name, key=key)
    for prefix in (DATA_URI, BASE_URI):
        if any(part.uri != prefix + part.name for part in groups[prefix]):
            raise RunError("a dependency has another name than its URI", file=name, key=key)
    return Parts(
        lock=lock,
        environment=environment,
        code=code,
        data=groups[DATA_URI],
        base=groups[BASE_URI],
        debs=groups[DEB_URI],
        wheels=groups[WHEEL_URI],
    )


def _group(parts: Iterable[Plain], prefix: str) -> tuple[Plain, ...]:
    return tuple(part for part in parts if part.uri.startswith(prefix))
