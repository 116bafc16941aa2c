"""Everything that was said about a project's releases, and saying something more.

What is read is put to the user's policy and held against what the user has seen; `publish` signs,
sees that the policy trusts it, writes one file by rename, and remembers. Callers of `publish` take
a `turn` in the folder first. For people and for numbering: what a deployed model is, only `check`
decides.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.bundle import read_bundle, sign_statement
from mllock.attest.keys import load_or_create_key
from mllock.attest.policy import Policy, load_policy
from mllock.attest.release import Release, Revoked
from mllock.attest.release_files import ReleaseFile, Stated, judge, read_folder
from mllock.check.claims_release import newest
from mllock.check.marks import Marks, read_marks, remember, revoked_of
from mllock.errors import InputError, RunError
from mllock.store import atomic
from mllock.workflows.context import Context

__all__ = ["Stages", "all_releases", "newest_list", "publish", "trusted_releases"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """Everything that was said about a project's releases. `statements` are in the order of their
    names, believed or not; `marks` is what this user has seen."""

    project: str
    statements: tuple[Stated, ...]
    revoked: tuple[Revoked, ...]
    marks: Marks
    now: dt.datetime

    def current(self, stage: str) -> tuple[Stated, ...]:
        return newest(self.statements, self.project, stage)

    def stages(self) -> tuple[str, ...]:
        found = {
            stated.release.stage
            for stated in self.statements
            if stated.release is not None and stated.release.project == self.project
        }
        return tuple(sorted(found))

    def status(self, stated: Stated) -> str:
        """`released`, or why a release is not: for people, `check` decides."""
        value = stated.release
        if stated.problem is not None or value is None:
            return f"unreadable: {stated.problem}"
        if not stated.believed:
            return f"not trusted: {'' if stated.trust is None else stated.trust.reason}"
        if any(one.run == value.run or one.record == value.record for one in self.revoked):
            return "revoked"
        top = self.current(value.stage)
        seen = self.marks.stages.get(value.stage)
        if stated.digest not in [other.digest for other in top]:
            return "replaced"
        if seen is not None and seen.number > value.number:
            return f"older than release {seen.number}, which was seen before"
        if self.marks.now(self.now) >= value.expires:
            return "over"
        return "released" if len(top) == 1 else "one of two with this number"


def all_releases(
    ctx: Context,
    project: str,
    *,
    releases: Path | None = None,
    policy: Path | None = None,
    now: dt.datetime | None = None,
) -> Stages:
    """Read everything in the folder of releases. Remembers nothing."""
    if releases is not None and not releases.is_dir():
        raise InputError("no such folder of releases", file=str(releases))
    moment = now or dt.datetime.now(dt.UTC)
    marks = read_marks(ctx.seen_dir, project)
    statements = judge(
        read_folder(ctx.releases if releases is None else releases),
        load_policy(policy, ctx.config_dir, ctx.environ),
        today=marks.now(moment).date(),
    )
    return Stages(
        project=project,
        statements=statements,
        revoked=revoked_of(statements, marks),
        marks=marks,
        now=moment,
    )


def trusted_releases(state: Stages) -> list[Release]:
    return [
        stated.release
        for stated in state.statements
        if stated.believed
        and stated.release is not None
        and stated.release.project == state.project
    ]


def newest_list(state: Stages) -> int:
    numbers = [
        stated.revocations.number
        for stated in state.statements
        if stated.believed
        and stated.revocations is not None
        and stated.revocations.project == state.project
    ]
    known = [release.revocations for release in trusted_releases(state)]
    return max([state.marks.revocations, *numbers, *known])


def publish(ctx: Context, payload: bytes, path: Path, policy: Policy, now: dt.datetime) -> str:
    """Sign, see that it is trusted here, write, read back, remember. The signer's fingerprint."""
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    data = sign_statement(payload, key)
    # The key may have been made this moment: without a policy, it is the one that is trusted now.
    if policy.source is None:
        policy = load_policy(None, ctx.config_dir, ctx.environ)
    name = str(path.relative_to(ctx.releases))
    file = ReleaseFile(name=name, bundle=read_bundle(data, name=name))
    (stated,) = judge([file], policy, today=now.date())
    if not stated.believed:
        assert stated.trust is not None
        raise RunError(
            f"your own policy would not trust this: {stated.trust.reason}",
            file=policy.source,
            found=key.fingerprint,
            hint="mllock keys export > own.pub && mllock keys trust own.pub "
            f"--project {stated.project}",
        )
    if path.exists():
        raise RunError(
            "there is a file already, which is not trusted",
            file=str(path),
            hint="trust its signer, or remove it",
        )
    atomic.write_bytes(path, data)
    assert path.read_bytes() == data
    assert stated.project is not None
    remember(ctx.seen_dir, stated.project, [stated], now)
    return key.fingerprint
