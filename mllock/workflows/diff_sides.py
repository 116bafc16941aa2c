"""What a side of `mllock diff` is: a path, a run, or a git revision, found and read.

A path comes first: a lock, a project's folder (its lock), a run's folder, else a model. Then a run
by its ID or the start of one, then a git revision, of which mlproject.lock is meant. Raises
InputError for what is nothing of these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mllock.attest.policy import Policy
from mllock.core import tree
from mllock.core.digest import sha256_of
from mllock.core.tree import TreeManifest
from mllock.data.git import Repository
from mllock.data.scan import scan
from mllock.diff.trees import Tree
from mllock.diff.types import SideTitle
from mllock.errors import InputError, RunError
from mllock.lock.format import parse_lock, read_bytes, read_lock
from mllock.lock.types import Lock
from mllock.store.regular import open_regular
from mllock.train.record import Record
from mllock.train.runs import RunFolder, is_run_id, list_runs, open_run
from mllock.workflows.context import Context
from mllock.workflows.judged import Judged, judged

__all__ = ["Side", "other_side", "side_of", "side_of_run"]

LOCK = "mlproject.lock"
MAX_BYTES = 64 * 1024 * 1024
_HINT = 'see "mllock runs", or name a lock, the folder or file of a model, or a revision'


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """What one side has; `commit` is where git may have its texts."""

    title: SideTitle
    lock: Lock | None = None
    record: Record | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    judged: Judged = field(default_factory=Judged)
    code: TreeManifest | None = None
    commit: str | None = None
    model: Tree | None = None


def side_of(ctx: Context, text: str, policy: Policy, base: Path) -> Side:
    path = base / text
    if path.exists() or path.is_symlink():
        return _path(path, text, policy)
    try:
        return side_of_run(open_run(ctx.runs, text), policy)
    except RunError as error:
        if _starts_a_run(ctx, text):
            raise
        refusal = error
    repository = Repository.of(ctx.project, decides=False)
    commit = None if repository is None else repository.commit_of(text)
    if repository is None or commit is None:
        raise InputError(
            f'"{text}" is no path, no run and no git revision',
            hint=refusal.hint if "did you mean" in (refusal.hint or "") else _HINT,
        ) from None
    data = repository.blob(commit, LOCK, max_bytes=MAX_BYTES)
    if data is None:
        raise InputError(f"no {LOCK} in the revision", file=text)
    lock = parse_lock(data, f"{text}:{LOCK}")
    title = SideTitle(kind="lock", name=f"{LOCK} of {text}", facts=(f"commit {commit[:12]}",))
    return Side(title=title, lock=lock, commit=commit)


def _starts_a_run(ctx: Context, text: str) -> bool:
    return any(run.id.startswith(text) for run in list_runs(ctx.runs))


def _path(path: Path, text: str, policy: Policy) -> Side:
    root = Path(os.path.realpath(path))
    if path.is_dir() and is_run_id(root.name) and (path / "record.json").exists():
        return side_of_run(RunFolder(root), policy)
    if path.is_dir() and (path / "mlproject.toml").exists():
        path /= LOCK
    if path.name.endswith(".lock") and not path.is_dir():
        return Side(
            title=SideTitle(kind="lock", name=text), lock=parse_lock(read_bytes(path), text)
        )
    manifest = scan(root, name=text)
    what = "file" if manifest.is_single_file else f"{manifest.files} files"
    size = f"{manifest.size} bytes"
    return Side(
        title=SideTitle(kind="model", name=text, facts=(what, size)),
        model=Tree(root=root, name=root.name, manifest=manifest),
    )


def side_of_run(run: RunFolder, policy: Policy) -> Side:
    if run.has_failed:
        failure = run.failure()
        reason = "nothing says why" if failure is None else failure.reason
        raise RunError(f"the run failed, and has nothing to compare: {reason}", file=run.id)
    problem = run.damage()
    if problem is not None:
        raise problem
    record = run.record()
    trust = policy.decide(record.project, run.bundle())
    root = run.model_path()
    return Side(
        title=SideTitle(
            kind="run",
            name=run.id,
            facts=(f"{record.project} {record.version}", f"signature: {trust.status}"),
        ),
        lock=parse_lock(run.lock_bytes(), f"{run.id}/{LOCK}"),
        record=record,
        metrics=run.metrics(),
        judged=judged(run, record, policy),
        code=_code(run, record),
        commit=record.commit,
        model=Tree(root=root, name=root.name, manifest=run.model_manifest(), recorded=True),
    )


def _code(run: RunFolder, record: Record) -> TreeManifest | None:
    """The manifest of the code, if it is there and is the one that was recorded."""
    try:
        with open_regular(run.path / "code.manifest", follow=False) as file:
            data = file.read(MAX_BYTES)
        return tree.parse(data) if sha256_of(data) == record.code else None
    except (OSError, InputError, ValueError):
        return None


def other_side(ctx: Context, left: Side, policy: Policy) -> Side:
    if left.title.kind == "lock":
        return Side(title=SideTitle(kind="lock", name=LOCK), lock=read_lock(ctx.project / LOCK))
    newest = next((run for run in list_runs(ctx.runs) if run.is_good), None)
    if newest is None or newest.id == left.title.name:
        raise InputError(
            f"nothing to compare {left.title.name} with",
            hint="name a second run, lock, model or git revision",
        )
    return side_of_run(newest, policy)
