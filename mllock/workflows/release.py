"""`mllock release`: one signed statement that binds a run's set to a stage.

Order: the run is checked like any target, its gates hold by what trusted statements beside it say
and the spec asks today, its images are those that such statements name, then, one process at a time
for a project: that it was compared with what is released now, the numbers (highest that is trusted
or remembered, plus one), the signature, which this machine's own policy has to trust, one file by
rename, and memory. Specified in docs/reference/release.md.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.bundle import read_bundle
from mllock.attest.image_statement import read_image_statement
from mllock.attest.policy import Policy, load_policy
from mllock.attest.release import Release, ReleasedImage, make_release
from mllock.attest.release_files import file_of
from mllock.check.released import require_stage
from mllock.core import canonical
from mllock.errors import AnswerNoError, InputError, RunError
from mllock.gates.releasable import releasable
from mllock.spec.reader import load_spec
from mllock.store.regular import open_regular
from mllock.store.turns import turn
from mllock.train.record import Record
from mllock.train.runs import RunFolder, open_run
from mllock.workflows.check import check_target
from mllock.workflows.context import Context
from mllock.workflows.measure import refuse_another_measure
from mllock.workflows.releases import Stages, all_releases, newest_list, publish, trusted_releases

__all__ = ["Released", "release_run"]

STATEMENTS = ("serve-image.sigstore.json", "train-image.sigstore.json")
DEFAULT_DAYS = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """What was signed, where it is, and by whom."""

    release: Release
    path: Path
    fingerprint: str


def release_run(
    ctx: Context,
    run_id: str,
    stage: str,
    *,
    expires: dt.datetime | None = None,
    now: dt.datetime | None = None,
) -> Released:
    """Sign that this run is the one for `stage` from now on, until `expires` (90 days).

    Raises AnswerNoError for a run that is revoked, is not what its record says, or may not be
    released by its gates.
    """
    require_stage(stage)
    moment = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    end = moment + dt.timedelta(days=DEFAULT_DAYS) if expires is None else expires
    if end <= moment:
        raise InputError("a release that would be over already", expected="an end after now")
    run = open_run(ctx.runs, run_id)
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    spec = load_spec(ctx.project / "mlproject.toml").spec
    # Before the check, which says the same of them in fewer words.
    gates = releasable(spec, run, run.record(), policy, moment.date())
    record = _checked(ctx, run)
    images = _images(run, record, policy)
    with turn(ctx.releases):
        state = all_releases(ctx, record.project, now=moment)
        for one in state.revoked:
            if one.run == record.run_id or one.record == record.digest:
                raise AnswerNoError(
                    f"the run was revoked{f': {one.reason}' if one.reason else ''}",
                    file=run.id,
                    hint="train again, and release that run",
                )
        refuse_another_measure(spec, run, record, policy, state, gates)
        numbers = [r.number for r in trusted_releases(state) if r.stage == stage]
        seen = state.marks.stages.get(stage)
        release = Release(
            project=record.project,
            stage=stage,
            number=max([0 if seen is None else seen.number, *numbers]) + 1,
            run=record.run_id,
            issued=moment,
            expires=end,
            revocations=newest_list(state),
            record=record.digest,
            model=record.model,
            lock=record.lock_content,
            environment=record.environment,
            images=images,
            gates=gates,
        )
        _nothing_doubtful(state, release)
        path = ctx.releases / file_of(release)
        fingerprint = publish(ctx, make_release(release), path, policy, moment)
    return Released(release=release, path=path, fingerprint=fingerprint)


def _checked(ctx: Context, run: RunFolder) -> Record:
    """The run's record, after the run was checked as anybody would check it."""
    record = run.record()
    report = check_target(ctx, f"path:{run.model_path()}", run=run.id)
    for finding in report.findings:
        bad = finding.verdict in ("refuted", "unproven")
        if finding.claim in ("signature", "lineage", "model") and bad:
            paths = ", ".join(difference.path for difference in finding.differences)
            raise AnswerNoError(
                f"{finding.claim} is {finding.verdict}: {finding.reason}",
                file=run.id,
                found=paths or None,
                hint=finding.cure or f'see "mllock check {run.path / "model"}"',
            )
    return record


def _images(run: RunFolder, record: Record, policy: Policy) -> tuple[ReleasedImage, ...]:
    """What trusted statements beside the run say about images of it."""
    found = []
    for name in STATEMENTS:
        try:
            with open_regular(run.path / name, follow=False) as file:
                data = file.read(canonical.MAX_BYTES)
        except FileNotFoundError:
            continue
        bundle = read_bundle(data, name=f"{run.id}/{name}")
        trust = policy.decide(record.project, bundle)
        if not trust.trusted or trust.payload is None:
            raise AnswerNoError(
                f"the image statement is not trusted: {trust.reason}",
                file=f"{run.id}/{name}",
                found=trust.fingerprint,
                hint=trust.hint or "build the image again",
            )
        value = read_image_statement(trust.payload, name=f"{run.id}/{name}")
        about = (value.project, value.lock, value.environment, value.kind)
        wanted = (record.project, record.lock_content, record.environment, name.split("-")[0])
        serves = value.kind == "train" or value.record == record.digest
        if about != wanted or not serves:
            raise AnswerNoError(
                "the image statement is of another run",
                file=f"{run.id}/{name}",
                hint=f"build the image again: mllock build --run {run.id}",
            )
        found.append(
            ReleasedImage(
                kind=value.kind,
                platform=value.platform,
                config=value.config_digest,
                manifest=value.manifest_digest,
            )
        )
    return tuple(found)


def _nothing_doubtful(state: Stages, release: Release) -> None:
    """A release that `check` could not prove, for something else that is there, is not made."""
    here = [
        stated.revocations.number
        for stated in state.statements
        if stated.believed and stated.revocations is not None and stated.project == release.project
    ]
    if max(here, default=0) < release.revocations:
        raise RunError(
            "the newest list of revocations is missing",
            file=".mllock/releases",
            expected=f"list {release.revocations}",
            found=f"list {max(here)}" if here else "none",
            hint="bring it back, or sign it again: mllock revoke RUN, of a run that it names",
        )
    for stated in state.statements:
        other, listed = stated.release, stated.revocations
        matters = stated.problem is not None or (
            not stated.believed
            and stated.project == release.project
            and (
                (
                    other is not None
                    and other.stage == release.stage
                    and other.number >= release.number
                )
                or (listed is not None and listed.number > release.revocations)
            )
        )
        if matters:
            trust = stated.trust
            raise RunError(
                stated.problem or f"not trusted: {'' if trust is None else trust.reason}",
                file=stated.name,
                found=None if trust is None else trust.fingerprint,
                hint=(None if trust is None else trust.hint)
                or "bring the file back, or remove it if it never was good",
            )
