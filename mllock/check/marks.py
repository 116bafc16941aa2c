"""What this verifier has seen of a project's releases: high-water marks, never lowered.

A release that was replaced is still signed well; only a machine that remembers a newer one can tell
that it is an old one put back. One small file for each project on the verifier's side. `raised` is
pure, and its laws are those of a maximum: order and repetition do not matter, nothing goes down.
Specified in docs/reference/release.md. Raises RunError for a file that does not read: one that was
damaged is not one that says nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mllock.attest import release as wire
from mllock.attest.release import Revoked, rfc3339
from mllock.attest.release_files import Stated
from mllock.core import canonical
from mllock.core.digest import Digest, parse_digest
from mllock.errors import RunError
from mllock.store import atomic
from mllock.store.turns import turn

__all__ = ["Marks", "Seen", "marks_file", "read_marks", "remember", "revoked_of"]

MAX_BYTES = 16 * 1024 * 1024


class _Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: wire.Number
    statement: wire.DigestText | None


class _Revoked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    record: wire.DigestText
    reason: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    project: wire.Name
    clock: wire.Moment
    stages: dict[wire.Stage, _Seen]
    revocations: wire.Count
    revoked: dict[Annotated[str, Meta(min_length=1)], _Revoked]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The highest release of a stage that was seen: its number, and the sha256 of its payload;
    None if two different ones with that number were."""

    number: int
    statement: Digest | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """`clock` is the latest time at which a check was made; `revoked` maps a run to its record and
    the reason, for all that trusted lists have ever named."""

    project: str
    clock: dt.datetime | None = None
    stages: Mapping[str, Seen] = field(default_factory=dict)
    revocations: int = 0
    revoked: Mapping[str, tuple[Digest, str]] = field(default_factory=dict)

    def now(self, clock: dt.datetime) -> dt.datetime:
        """The time to decide with: a clock that was set back revives nothing."""
        return clock if self.clock is None else max(clock, self.clock)

    def raised(self, statements: Iterable[Stated], clock: dt.datetime) -> Marks:
        """These marks after `statements` were seen; only what is believed counts."""
        stages, revoked = dict(self.stages), dict(self.revoked)
        revocations = self.revocations
        for stated in statements:
            if not stated.believed or stated.project != self.project:
                continue
            if stated.release is not None:
                release = stated.release
                assert stated.digest is not None
                seen = Seen(number=release.number, statement=stated.digest)
                stages[release.stage] = _higher(stages.get(release.stage, seen), seen)
                revocations = max(revocations, release.revocations)
            if stated.revocations is not None:
                revocations = max(revocations, stated.revocations.number)
                for one in stated.revocations.revoked:
                    named = (one.record, one.reason)
                    revoked[one.run] = max(revoked.get(one.run, named), named)
        return Marks(
            project=self.project,
            clock=self.now(clock).replace(microsecond=0),
            stages=stages,
            revocations=revocations,
            revoked=revoked,
        )

    def is_revoked(self, run: str, record: Digest) -> str | None:
        """The reason (it may be empty) if this run or record was revoked, else None."""
        for name, (digest, reason) in self.revoked.items():
            if name == run or digest == record:
                return reason
        return None


def _higher(left: Seen, right: Seen) -> Seen:
    if left.number != right.number:
        return max(left, right, key=lambda seen: seen.number)
    return left if left == right else Seen(number=left.number, statement=None)


def marks_file(folder: Path, project: str) -> Path:
    return folder / f"{project}.json"


def read_marks(folder: Path, project: str) -> Marks:
    """What was seen of `project`; nothing yet if there is no file."""
    path = marks_file(folder, project)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Marks(project=project)
    except OSError as error:
        raise RunError(
            f"cannot read what was seen: {(error.strerror or str(error)).lower()}", file=str(path)
        ) from error
    try:
        raw = msgspec.convert(canonical.loads(data, max_bytes=MAX_BYTES), _File)
        clock = dt.datetime.fromisoformat(raw.clock)
    except ValueError as error:  # msgspec.ValidationError is one
        raise _damaged(path, str(error)) from None
    if raw.project != project:
        raise _damaged(path, f"it is about project {raw.project}")
    return Marks(
        project=project,
        clock=clock,
        stages={
            name: Seen(
                number=seen.number,
                statement=None if seen.statement is None else parse_digest(seen.statement),
            )
            for name, seen in raw.stages.items()
        },
        revocations=raw.revocations,
        revoked={run: (parse_digest(one.record), one.reason) for run, one in raw.revoked.items()},
    )


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(
        f"what this machine has seen of releases does not read: {reason}",
        file=str(path),
        hint="bring the file back, or remove it to forget what was seen",
    )


def remember(folder: Path, project: str, statements: Iterable[Stated], clock: dt.datetime) -> Marks:
    """Raise the marks of `project` on the disk, alone, from what they are by now."""
    with turn(folder, 0o700):
        before = read_marks(folder, project)
        marks = before.raised(statements, clock)
        if marks != before:
            atomic.write_bytes(marks_file(folder, project), _dump(marks), 0o600)
    return marks


def _dump(marks: Marks) -> bytes:
    assert marks.clock is not None
    return (
        canonical.dumps(
            {
                "version": 1,
                "project": marks.project,
                "clock": rfc3339(marks.clock),
                "stages": {
                    name: {"number": seen.number, "statement": seen.statement}
                    for name, seen in marks.stages.items()
                },
                "revocations": marks.revocations,
                "revoked": {
                    run: {"record": digest, "reason": reason}
                    for run, (digest, reason) in marks.revoked.items()
                },
            }
        )
        + b"\n"
    )


def revoked_of(statements: Iterable[Stated], marks: Marks) -> tuple[Revoked, ...]:
    """Everything that trusted lists name, and what is remembered of earlier ones."""
    found: dict[str, Revoked] = {}
    at = marks.clock or dt.datetime.fromtimestamp(0, dt.UTC)
    for stated in statements:
        if stated.believed and stated.revocations is not None:
            if stated.project != marks.project:
                continue
            for one in stated.revocations.revoked:
                found.setdefault(one.run, one)
    for run, (record, reason) in marks.revoked.items():
        found.setdefault(run, Revoked(run=run, record=record, reason=reason, at=at))
    return tuple(found[run] for run in sorted(found))
