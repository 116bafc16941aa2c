"""`mllock runs` and `mllock show`: what runs there are, and what one of them says.

The signature of a run that is shown is verified with the user's policy, or the machine's own key
where there is none. A run that is not as its record says is listed as damaged, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mllock.core.digest import Digest
from mllock.errors import RunError
from mllock.lock.types import Lock
from mllock.spec.types import Scalar
from mllock.train.record import Record
from mllock.train.runs import Failure, RunFolder, list_runs, newest_good, open_run
from mllock.workflows.context import Context
from mllock.workflows.judged import GateState, Judged, judged
from mllock.workflows.releases import Stages, all_releases

if TYPE_CHECKING:  # whoever builds asks for runs, and for no policy
    from mllock.attest.policy import Policy, Trust

__all__ = ["RunDetails", "RunRow", "run_of_lock", "run_to_serve", "runs_of", "show_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """One run; `problem` says why it is not good. `metrics` are the run's own and, by
    `SOURCE/METRIC`, those of its evaluations; `stages` are those that it is released to now."""

    id: str
    status: Literal["good", "failed", "damaged"]
    params: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    model: Digest | None = None
    problem: str | None = None
    gates: GateState | None = None
    stages: tuple[str, ...] = ()
    revoked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDetails:
    """One run in full: `record` and `trust` for a good one, `failure` for a failed one.

    `stages` are those that it was released to, with what became of it; `revoked` is the reason (it
    may be empty) if it was revoked.
    """

    run: RunFolder
    metrics: Mapping[str, float]
    record: Record | None = None
    trust: Trust | None = None
    failure: Failure | None = None
    stages: Mapping[str, str] = field(default_factory=dict)
    revoked: str | None = None
    judged: Judged = field(default_factory=Judged)


def runs_of(ctx: Context, policy: Path | None = None) -> tuple[RunRow, ...]:
    """All runs of the project, newest first. Reads records, hashes no models."""
    runs = list_runs(ctx.runs)
    if not runs:
        return ()  # and a policy that cannot be read is nobody's trouble yet
    trusted = _policy(ctx, policy)
    states: dict[str, Stages] = {}

    def released(record: Record) -> Stages:
        if record.project not in states:
            states[record.project] = all_releases(ctx, record.project, policy=policy)
        return states[record.project]

    return tuple(_row(run, trusted, released) for run in runs)


def show_run(ctx: Context, run: str | None, policy: Path | None) -> RunDetails:
    """One run: the newest good one, else the newest, or the one whose ID starts with `run`.

    Raises RunError if there is none, or if its record cannot be read.
    """
    folder = _choose(ctx, run)
    if folder.has_failed:
        return RunDetails(run=folder, metrics={}, failure=folder.failure())
    problem = folder.damage()
    if problem is not None:
        raise problem
    bundle = folder.bundle()
    record = folder.record()
    trusted = _policy(ctx, policy)
    trust = trusted.decide(record.project, bundle)
    stages, revoked = _released(ctx, record, policy)
    return RunDetails(
        run=folder,
        metrics=folder.metrics(),
        record=record,
        trust=trust,
        stages=stages,
        revoked=revoked,
        judged=judged(folder, record, trusted),
    )


def _released(
    ctx: Context, record: Record, policy: Path | None
) -> tuple[dict[str, str], str | None]:
    """Stages with the newest release of this run in each, and why it was revoked."""
    state = all_releases(ctx, record.project, policy=policy)
    mine: dict[str, tuple[int, str]] = {}
    for stated in state.statements:
        value = stated.release
        if value is None or value.record != record.digest or value.project != record.project:
            continue
        text = f"release {value.number}, {state.status(stated)}"
        mine[value.stage] = max(mine.get(value.stage, (0, "")), (value.number, text))
    reasons = [
        one.reason
        for one in state.revoked
        if one.run == record.run_id or one.record == record.digest
    ]
    return {stage: text for stage, (_, text) in sorted(mine.items())}, next(iter(reasons), None)


def run_to_serve(ctx: Context, lock: Lock, run_id: str | None) -> RunFolder:
    """The run to serve: see `run_of_lock`."""
    return run_of_lock(ctx, lock, run_id, "serve")


def run_of_lock(ctx: Context, lock: Lock, run_id: str | None, verb: str) -> RunFolder:
    """The run whose ID starts with `run_id`, else the newest good one; of `lock` in any case.

    `verb` is what is to be done with its model. Raises RunError.
    """
    content = Digest(lock.content_digest)
    if run_id is None:
        run = newest_good(ctx.runs, content)
        if run is None:
            raise RunError(
                f"no run of this lock: there is no model to {verb}",
                hint='make one with "mllock train"',
            )
        return run
    run = open_run(ctx.runs, run_id)
    problem = run.damage()
    if problem is not None:
        raise problem
    record = run.record()
    if record.lock_content != content:
        raise RunError(
            "the run was trained from another lock",
            file=run.id,
            expected=content,
            found=record.lock_content,
            hint='train again with "mllock train", or bring that lock back',
        )
    return run


def _choose(ctx: Context, run: str | None) -> RunFolder:
    if run is not None:
        return open_run(ctx.runs, run)
    newest = newest_good(ctx.runs, None) or next(iter(list_runs(ctx.runs)), None)
    if newest is None:
        raise RunError("there are no runs yet", hint='make one with "mllock train"')
    return newest


def _policy(ctx: Context, path: Path | None) -> Policy:
    from mllock.attest.policy import load_policy

    return load_policy(path, ctx.config_dir, ctx.environ)


def _row(run: RunFolder, policy: Policy, released: Callable[[Record], Stages]) -> RunRow:
    try:
        failure = run.failure() if run.has_failed else None
        if failure is not None:
            return RunRow(
                id=run.id,
                status="failed",
                params=failure.params,
                metrics={},
                problem=failure.reason,
            )
        problem = run.damage()
        if problem is not None:
            raise problem
        record = run.record()
        found = judged(run, record, policy)
        stages, revoked = _stages_now(record, released(record))
        return RunRow(
            id=run.id,
            status="good",
            params=record.params,
            metrics=run.metrics() | _evaluated(found),
            model=record.model,
            gates=found.state,
            stages=stages,
            revoked=revoked,
        )
    except RunError as error:
        status: Literal["failed", "damaged"] = "failed" if run.has_failed else "damaged"
        return RunRow(id=run.id, status=status, params={}, metrics={}, problem=error.message)


def _evaluated(found: Judged) -> dict[str, float]:
    return {
        f"{evaluation.source}/{name}": value
        for evaluation in found.evaluations
        for name, value in evaluation.metrics.items()
    }


def _stages_now(record: Record, state: Stages) -> tuple[tuple[str, ...], bool]:
    """The stages whose newest release is this run, and whether it was revoked."""
    stages = {
        stated.release.stage
        for stated in state.statements
        if stated.release is not None
        and stated.release.record == record.digest
        and stated.release.project == record.project
        and state.status(stated) == "released"
    }
    revoked = any(one.run == record.run_id or one.record == record.digest for one in state.revoked)
    return tuple(sorted(stages)), revoked
