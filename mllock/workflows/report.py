"""`mllock report`: one run, collected for a page, a pull request or a model card.

Everything is read as the record and the statements say it, and what does not fit is a problem in
words. The model is not hashed: `mllock check` does that. Nothing of the clock, the machine or the
project gets in, but the reader's policy and the releases that the project knows of: the same run
gives the same bytes. Raises RunError for a run without a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from mllock.core import tree
from mllock.core.digest import sha256_of
from mllock.errors import InputError, RunError
from mllock.lock.format import parse_lock
from mllock.lock.types import Lock
from mllock.report.types import DataFacts, Facts, FileFacts, SignatureFacts
from mllock.spec.reader import load_spec
from mllock.store.regular import open_regular
from mllock.train.record import Record
from mllock.train.runs import RunFolder
from mllock.workflows.context import Context
from mllock.workflows.runs import RunDetails, show_run

__all__ = ["Format", "facts_of", "render"]

Format = Literal["html", "md", "card"]
MAX_MANIFEST = 64 * 1024 * 1024


def render(facts: Facts, form: Format, *, keys: bool, licence: str | None, task: str) -> str:
    """The text of a report."""
    if form == "html":
        from mllock.report.page import page

        return page(facts, keys=keys)
    if form == "md":
        from mllock.report.markdown import markdown

        return markdown(facts, keys=keys)
    from mllock.report.card import card

    return card(facts, licence=licence, task=task)


def facts_of(ctx: Context, run: str | None, policy: Path | None) -> Facts:
    """One run in full: the newest good one, or the one whose ID starts with `run`."""
    details = show_run(ctx, run, policy)
    record, trust = details.record, details.trust
    if record is None or trust is None:
        reason = "nothing says why" if details.failure is None else details.failure.reason
        raise RunError(
            f"the run failed, and there is nothing to report: {reason}",
            file=details.run.id,
            hint=f"its log is {details.run.log}",
        )
    found = details.judged
    lock = parse_lock(details.run.lock_bytes(), f"{details.run.id}/mlproject.lock")
    signed = [("record", trust)]
    signed += [(name, statement.trust) for name, statement in found.statements.items()]
    return Facts(
        run=details.run.id,
        project=record.project,
        version=record.version,
        description=_description(ctx, record),
        started=record.started,
        finished=record.finished,
        runtime=record.runtime,
        network=record.network,
        command=record.command,
        params=record.params,
        metrics=details.metrics,
        evaluations={one.source: one.metrics for one in found.evaluations},
        data=_data(lock, record),
        record=record.digest,
        lock=record.lock,
        lock_content=record.lock_content,
        environment=record.environment,
        base=lock.base.reference or f"{lock.base.kind}:{lock.base.suite}",
        python=lock.base.python,
        packages=tuple((one.name, one.version) for one in lock.python.packages),
        debs=tuple((one.name, one.version) for one in lock.system),
        wheels_locked=record.wheels_locked,
        wheels_verified=record.wheels_verified,
        code=record.code,
        code_files=_code_files(details.run, record),
        commit=record.commit,
        dirty=record.dirty,
        model=record.model,
        model_files=_model_files(details),
        machine=tuple(_flat(record.facts)),
        judgements=tuple(one for one in (found.data, found.model) if one is not None),
        gates=found.state,
        problems=found.problems,
        signatures=tuple(
            SignatureFacts(
                what=name,
                fingerprint=one.fingerprint,
                status=one.status,
                reason=one.reason,
                trusted=one.trusted,
            )
            for name, one in signed
        ),
        stages=details.stages,
        revoked=details.revoked,
        mllock=record.mllock,
    )


def _description(ctx: Context, record: Record) -> str:
    """What the project says of itself, if it is here: it is in no record."""
    path = ctx.project / "mlproject.toml"
    if not path.exists():
        return ""
    project = load_spec(path).spec.project
    return project.description if project.name == record.project else ""


def _data(lock: Lock, record: Record) -> tuple[DataFacts, ...]:
    return tuple(
        DataFacts(
            name=name,
            source=pin.source,
            path=pin.path,
            files=pin.files,
            size=pin.size,
            tree=record.data.get(name, pin.tree),
        )
        for name, pin in lock.data.items()
    )


def _model_files(details: RunDetails) -> tuple[FileFacts, ...]:
    return tuple(
        FileFacts(path=entry.path, size=entry.size, digest=entry.digest)
        for entry in details.run.model_manifest().entries
        if entry.digest is not None
    )


def _code_files(run: RunFolder, record: Record) -> int | None:
    try:
        with open_regular(run.path / "code.manifest", follow=False) as file:
            data = file.read(MAX_MANIFEST)
        return tree.parse(data).files if sha256_of(data) == record.code else None
    except (OSError, InputError, ValueError):
        return None


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The machine's facts, one line each."""
    if isinstance(value, Mapping):
        for key, inner in sorted(value.items()):
            yield from _flat(inner, f"{name} {key}".strip())
    elif isinstance(value, list | tuple):
        yield name, ", ".join(str(item) for item in value) or "none"
    else:
        yield name, str(value)
