"""`mllock runs` and `mllock show`: what runs there are, and what one of them says.

The signature of every good run is verified with the user's policy, or the machine's own key where
there is none. A run that is not as its record says is listed as damaged, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mllock.attest.policy import Policy, Trust, load_policy
from mllock.core.digest import Digest
from mllock.errors import RunError
from mllock.lock.types import Lock
from mllock.spec.types import Scalar
from mllock.train.record import Record
from mllock.train.runs import Failure, RunFolder, list_runs, newest_good, open_run
from mllock.workflows.context import Context

__all__ = ["RunDetails", "RunRow", "run_of_lock", "run_to_serve", "runs_of", "show_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """One run; `problem` says why it is not good."""

    id: str
    status: Literal["good", "failed", "damaged"]
    params: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    model: Digest | None = None
    problem: str | None = None


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


def runs_of(ctx: Context) -> tuple[RunRow, ...]:
    """All runs of the project, newest first. Reads records, hashes no models."""
    return tuple(_row(run) for run in list_runs(ctx.runs))


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
    trust = _policy(ctx, policy).decide(record.project, bundle)
    stages, revoked = _released(ctx, record, policy)
    return RunDetails(
        run=folder,
        metrics=folder.metrics(),
        record=record,
        trust=trust,
        stages=stages,
        revoked=revoked,
    )


def _released(
    ctx: Context, record: Record, policy: Path | None
) -> tuple[dict[str, str], str | None]:
    """Stages with the newest release of this run in each, and why it was revoked."""
    from mllock.workflows.releases import all_releases

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
    return load_policy(path, ctx.config_dir, ctx.environ)


def _row(run: RunFolder) -> RunRow:
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
        return RunRow(
            id=run.id,
            status="good",
            params=record.params,
            metrics=run.metrics(),
            model=record.model,
        )
    except RunError as error:
        status: Literal["failed", "damaged"] = "failed" if run.has_failed else "damaged"
        return RunRow(id=run.id, status=status, params={}, metrics={}, problem=error.message)
