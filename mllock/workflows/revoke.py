"""`mllock revoke`: a new signed list of everything that was withdrawn from a project.

It must be possible when a run is bad, or gone: its bytes are not looked at, and a run that was
released is known from its release. What is listed already, or was ever seen to be, stays listed.
Specified in docs/reference/release.md.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.policy import load_policy
from mllock.attest.release import Revocations, Revoked, make_revocations
from mllock.attest.release_files import file_of
from mllock.errors import RunError
from mllock.store.turns import turn
from mllock.train.runs import open_run
from mllock.workflows.context import Context
from mllock.workflows.releases import Stages, all_releases, newest_list, publish, trusted_releases

__all__ = ["Revoking", "revoke_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Revoking:
    """`path` is None if the run was revoked already; `stages` are those it was the released one of;
    `left_out` names lists that were not taken over, for they are not trusted."""

    run: str
    number: int
    path: Path | None
    fingerprint: str | None = None
    stages: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def revoke_run(
    ctx: Context, run_id: str, *, reason: str, project: str, now: dt.datetime | None = None
) -> Revoking:
    """Sign that this run is withdrawn from every stage, with all that were before."""
    moment = (now or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    with turn(ctx.releases):
        state = all_releases(ctx, project, now=moment)
        one = _to_revoke(ctx, state, run_id, reason, moment)
        listed = {
            there.run
            for stated in state.statements
            if stated.believed and stated.revocations is not None
            for there in stated.revocations.revoked
        }
        stages = tuple(
            stage
            for stage in state.stages()
            if any(s.release is not None and s.release.run == one.run for s in state.current(stage))
        )
        number = newest_list(state)
        if one.run in listed:
            return Revoking(run=one.run, number=number, path=None, stages=stages)
        others = [there for there in state.revoked if there.run != one.run]
        value = Revocations(
            project=project, number=number + 1, issued=moment, revoked=(*others, one)
        )
        path = ctx.releases / file_of(value)
        fingerprint = publish(ctx, make_revocations(value), path, policy, moment)
    return Revoking(
        run=one.run,
        number=value.number,
        path=path,
        fingerprint=fingerprint,
        stages=stages,
        left_out=tuple(
            stated.name
            for stated in state.statements
            if stated.revocations is not None and not stated.believed
        ),
    )


def _to_revoke(ctx: Context, state: Stages, run_id: str, reason: str, now: dt.datetime) -> Revoked:
    """The run by its folder, else by a trusted release or list: it may be gone from here."""
    known = {r.run: r.record for r in trusted_releases(state)}
    known |= {one.run: one.record for one in state.revoked}
    try:
        record = open_run(ctx.runs, run_id).record()
    except RunError:
        names = [name for name in known if name.startswith(run_id)]
        if not run_id or len(names) != 1:
            raise
        run, digest = names[0], known[names[0]]
    else:
        if record.project != state.project:
            raise RunError(
                "the run is of another project",
                file=record.run_id,
                expected=state.project,
                found=record.project,
            ) from None
        run, digest = record.run_id, record.digest
    for one in state.revoked:
        if one.run == run:
            return one
    return Revoked(run=run, record=digest, reason=reason, at=now)
