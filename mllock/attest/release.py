"""Releases and lists of revocations: what may be deployed to a stage, and what no more.

Values and their payloads only: nothing is signed, decided or written here. A release binds model,
images, lock and record as one set; a list names every run of a project that was withdrawn so far.
Law: reading gives back what was made; what reads is canonical JSON whose subjects are those of its
predicate. Specified field by field in docs/reference/release.md. Raises RunError.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from mllock.attest.statement import Statement, Strict, make_statement, read_statement
from mllock.core.digest import Digest, parse_digest
from mllock.errors import RunError

__all__ = [
    "RELEASE_TYPE",
    "REVOCATIONS_TYPE",
    "Accepted",
    "Release",
    "ReleasedGates",
    "ReleasedImage",
    "Revocations",
    "Revoked",
    "is_stage",
    "make_release",
    "make_revocations",
    "read_release",
    "read_revocations",
    "rfc3339",
]

RELEASE_TYPE = "urn:mllock:predicate:release:1"
REVOCATIONS_TYPE = "urn:mllock:predicate:revocations:1"
MAX_NUMBER = 2**53 - 1
NOT_A_STAGE = "revoked"

DigestText = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=255)]
Stage = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=64)]
RunId = Annotated[str, Meta(pattern=r"^[0-9]{8}-[0-9]{6}-[a-z0-9]{4}\Z")]
Number = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
Count = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]
NonEmpty = Annotated[str, Meta(min_length=1)]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
ImageKind = Literal["train", "serve"]
GatesKind = Literal["data", "model"]
Outcome = Literal["PASSED", "WARNED", "FAILED"]
T = TypeVar("T", bound=Strict)


class _Image(Strict, frozen=True, kw_only=True):
    kind: ImageKind
    platform: NonEmpty
    config: DigestText
    manifest: DigestText


class _Accepted(Strict, frozen=True, kw_only=True):
    gate: NonEmpty
    until: Day
    reason: NonEmpty


class _Gates(Strict, frozen=True, kw_only=True):
    kind: GatesKind
    statement: DigestText
    result: Outcome
    passed: Count
    warned: Count
    failed: Count
    accepted: tuple[_Accepted, ...]


class _Release(Strict, frozen=True, kw_only=True):
    project: Name
    stage: Stage
    number: Number
    run: RunId
    issued: Moment
    expires: Moment
    revocations: Count
    record: DigestText
    model: DigestText
    lock: DigestText
    environment: DigestText
    images: tuple[_Image, ...]
    # Absent where no gates were asked, as in every release of before.
    gates: Annotated[tuple[_Gates, ...], Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET


class _Revoked(Strict, frozen=True, kw_only=True):
    run: RunId
    record: DigestText
    reason: str
    at: Moment


class _Revocations(Strict, frozen=True, kw_only=True):
    project: Name
    number: Number
    issued: Moment
    revoked: Annotated[tuple[_Revoked, ...], Meta(min_length=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasedImage:
    """One image of the set, by the digests of its config and manifest."""

    kind: ImageKind
    platform: str
    config: Digest
    manifest: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """An exception that was made for a gate, through the day `until`."""

    gate: str
    until: dt.date
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasedGates:
    """How gates came out: `statement` is the sha256 of the payload of their test result; the rest
    is what it says, with the exceptions that were made."""

    kind: GatesKind
    statement: Digest
    result: Outcome
    passed: int = 0
    warned: int = 0
    failed: int = 0
    accepted: tuple[Accepted, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """`record` is the sha256 of the record's payload, `model` a tree digest, `lock` the content
    digest; `expires` is the first moment at which it is over; `revocations` the number of the
    newest list that its signer knew. Times are aware, in whole seconds."""

    project: str
    stage: str
    number: int
    run: str
    issued: dt.datetime
    expires: dt.datetime
    revocations: int
    record: Digest
    model: Digest
    lock: Digest
    environment: Digest
    images: tuple[ReleasedImage, ...] = ()
    gates: tuple[ReleasedGates, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Revoked:
    """A run that was withdrawn; `record` is the sha256 of its record's payload."""

    run: str
    record: Digest
    reason: str
    at: dt.datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocations:
    """Everything that was withdrawn from a project until `issued`, sorted by run."""

    project: str
    number: int
    issued: dt.datetime
    revoked: tuple[Revoked, ...]


def is_stage(text: str) -> bool:
    """Whether `text` may name a stage."""
    try:
        msgspec.convert(text, Stage)
    except msgspec.ValidationError:
        return False
    return text != NOT_A_STAGE


def rfc3339(moment: dt.datetime) -> str:
    """`2026-11-25T22:00:00Z`."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def make_release(release: Release) -> bytes:
    """The payload to sign. Raises RunError for what would not read."""
    predicate: dict[str, Any] = {
        "project": release.project,
        "stage": release.stage,
        "number": release.number,
        "run": release.run,
        "issued": rfc3339(release.issued),
        "expires": rfc3339(release.expires),
        "revocations": release.revocations,
        "record": release.record,
        "model": release.model,
        "lock": release.lock,
        "environment": release.environment,
        "images": [
            {"kind": i.kind, "platform": i.platform, "config": i.config, "manifest": i.manifest}
            for i in sorted(release.images, key=_place)
        ],
    }
    if release.gates:
        predicate["gates"] = [
            {
                "kind": gates.kind,
                "statement": gates.statement,
                "result": gates.result,
                "passed": gates.passed,
                "warned": gates.warned,
                "failed": gates.failed,
                "accepted": [
                    {"gate": a.gate, "until": a.until.isoformat(), "reason": a.reason}
                    for a in sorted(gates.accepted, key=_exception)
                ],
            }
            for gates in sorted(release.gates, key=lambda gates: gates.kind)
        ]
    payload = make_statement(RELEASE_TYPE, _release_subjects(release), predicate)
    read_release(payload)
    return payload


def make_revocations(revocations: Revocations) -> bytes:
    """The payload to sign. Raises RunError for what would not read."""
    ordered = sorted(revocations.revoked, key=lambda revoked: revoked.run)
    predicate = {
        "project": revocations.project,
        "number": revocations.number,
        "issued": rfc3339(revocations.issued),
        "revoked": [
            {"run": r.run, "record": r.record, "reason": r.reason, "at": rfc3339(r.at)}
            for r in ordered
        ],
    }
    payload = make_statement(REVOCATIONS_TYPE, {r.run: r.record for r in ordered}, predicate)
    read_revocations(payload)
    return payload


def read_release(payload: bytes, *, name: str = "release") -> Release:
    """Read strictly. Only verified bytes prove anything."""
    statement = read_statement(payload, RELEASE_TYPE, name=name)
    raw = _convert(statement, _Release, "release", name)
    if raw.stage == NOT_A_STAGE:
        raise RunError(f'no stage is called "{NOT_A_STAGE}"', file=name, key="predicate.stage")
    release = Release(
        project=raw.project,
        stage=raw.stage,
        number=raw.number,
        run=raw.run,
        issued=_moment(raw.issued, name, "issued"),
        expires=_moment(raw.expires, name, "expires"),
        revocations=raw.revocations,
        record=parse_digest(raw.record),
        model=parse_digest(raw.model),
        lock=parse_digest(raw.lock),
        environment=parse_digest(raw.environment),
        images=tuple(
            ReleasedImage(
                kind=image.kind,
                platform=image.platform,
                config=parse_digest(image.config),
                manifest=parse_digest(image.manifest),
            )
            for image in raw.images
        ),
        gates=()
        if raw.gates is msgspec.UNSET
        else tuple(_gates(gates, name) for gates in raw.gates),
    )
    if release.issued >= release.expires:
        raise RunError("it is over before it begins", file=name, key="predicate.expires")
    _ascending([_place(image) for image in release.images], name, "images")
    _ascending([(gates.kind,) for gates in release.gates], name, "gates")
    _expect(_release_subjects(release), statement, name)
    return release


def _gates(raw: _Gates, name: str) -> ReleasedGates:
    gates = ReleasedGates(
        kind=raw.kind,
        statement=parse_digest(raw.statement),
        result=raw.result,
        passed=raw.passed,
        warned=raw.warned,
        failed=raw.failed,
        accepted=tuple(
            Accepted(gate=a.gate, until=_day(a.until, name), reason=a.reason) for a in raw.accepted
        ),
    )
    expected = "FAILED" if raw.failed else "WARNED" if raw.warned else "PASSED"
    if raw.result != expected or len(raw.accepted) > raw.warned:
        raise RunError(
            "the result is not that of its counts",
            file=name,
            key=f"predicate.gates: {raw.kind}",
            expected=expected,
            found=raw.result,
        )
    _ascending([_exception(a) for a in gates.accepted], name, f"gates: {raw.kind}: accepted")
    return gates


def _exception(accepted: Accepted) -> tuple[str, ...]:
    return accepted.gate, accepted.until.isoformat(), accepted.reason


def _day(text: str, name: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise RunError("not a day", file=name, key="predicate.gates", found=text) from None


def read_revocations(payload: bytes, *, name: str = "revocations") -> Revocations:
    """Read strictly. Only verified bytes prove anything."""
    statement = read_statement(payload, REVOCATIONS_TYPE, name=name)
    raw = _convert(statement, _Revocations, "list of revocations", name)
    revoked = tuple(
        Revoked(
            run=r.run,
            record=parse_digest(r.record),
            reason=r.reason,
            at=_moment(r.at, name, f"revoked: {r.run}"),
        )
        for r in raw.revoked
    )
    _ascending([(r.run,) for r in revoked], name, "revoked")
    _expect({r.run: r.record for r in revoked}, statement, name)
    return Revocations(
        project=raw.project,
        number=raw.number,
        issued=_moment(raw.issued, name, "issued"),
        revoked=revoked,
    )


def _release_subjects(release: Release) -> dict[str, Digest]:
    subjects = {"record": release.record, "model.manifest": release.model}
    for image in sorted(release.images, key=_place):
        subjects[f"{image.kind}/{image.platform}/config"] = image.config
        subjects[f"{image.kind}/{image.platform}/manifest"] = image.manifest
    for gates in sorted(release.gates, key=lambda gates: gates.kind):
        subjects[f"gates/{gates.kind}"] = gates.statement
    return subjects


def _place(image: ReleasedImage) -> tuple[str, str]:
    return image.kind, image.platform


def _convert(statement: Statement, kind: type[T], what: str, name: str) -> T:
    try:
        return msgspec.convert(statement.predicate, kind)
    except msgspec.ValidationError as error:
        raise RunError(f"not a {what}: {error}", file=name, key="predicate") from None


def _moment(text: str, name: str, key: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        raise RunError("not a time", file=name, key=f"predicate.{key}", found=text) from None


def _ascending(keys: Sequence[tuple[str, ...]], name: str, key: str) -> None:
    if any(left >= right for left, right in itertools.pairwise(keys)):
        raise RunError("not in order, or one is there twice", file=name, key=f"predicate.{key}")


def _expect(subjects: Mapping[str, Digest], statement: Statement, name: str) -> None:
    if list(subjects.items()) != list(statement.subjects.items()):
        raise RunError("the subjects are not those of the predicate", file=name, key="subject")
