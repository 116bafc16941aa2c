"""`mllock gates`, and what `mllock train` asks of its data before anything is built or run.

Order, where a statement is signed: the data is what the lock says, by content; the gates read it;
nobody wrote to it meanwhile; then the document and the statement. A run's data gates may be asked
again, by the gates of today; the newest answer replaces the one before. Alone, the gates look at
what is here, and nothing is signed. Raises the errors of the rooms, and AnswerNoError.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mllock.core.tree import TreeManifest
from mllock.data.pin import verify_source
from mllock.data.touched import Looks, look, touched
from mllock.errors import AnswerNoError, InputError, RunError, StaleLockError, VoidRunError
from mllock.gates.ask import Answers, ask
from mllock.gates.config import config_of, is_declared
from mllock.gates.open import need_polars, open_table
from mllock.gates.signed import GatesState, keep_judgement
from mllock.gates.tables import Table
from mllock.gates.types import Judgement, Result
from mllock.gates.words import lines_of, ways_out
from mllock.lock.format import parse_lock
from mllock.spec.loaded import LoadedSpec
from mllock.spec.reader import load_spec
from mllock.spec.sources import here
from mllock.train.record import Record
from mllock.train.runs import RunFolder, open_run
from mllock.workflows.context import Context
from mllock.workflows.own_places import refuse_led_out

__all__ = ["GatesResult", "ask_gates", "judge_run", "judge_training", "ready_for_gates", "state_of"]

SPEC = "mlproject.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class GatesResult:
    """Of `mllock gates`. With a run, `fingerprint` is of the key that signed."""

    answers: Answers
    run: str | None = None
    fingerprint: str | None = None

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.answers.declared if result.blocks)


def ask_gates(ctx: Context, *, day: dt.date | None = None) -> GatesResult:
    """Ask all data gates of the data that is here, the undeclared ones for advice."""
    loaded = load_spec(ctx.project / SPEC)
    if not loaded.spec.data:
        raise InputError(
            "there is no data to ask about",
            file=SPEC,
            hint='declare some, e.g. [data.train] with source = "data/train.csv"',
        )
    need_polars()
    return GatesResult(answers=_ask(ctx, loaded, {}, day or _today(), advise=True))


def judge_run(ctx: Context, run_id: str, *, day: dt.date | None = None) -> GatesResult:
    """Ask the declared data gates again about the data of a run, and sign what they say."""
    from mllock.attest.keys import load_or_create_key

    loaded = load_spec(ctx.project / SPEC)
    run = open_run(ctx.runs, run_id)
    refuse_led_out(ctx, run.path)
    record = _good(run, loaded)
    ready_for_gates(loaded)
    if not is_declared(loaded.spec.gates, "data"):
        raise InputError(
            "no gate of data is declared: there is nothing to judge the run by",
            file=SPEC,
            hint='declare one, e.g. [gates.leakage], or see what "mllock gates" says',
        )
    ctx.reporter.step(f"verifying the data of {run.id}")
    before = {name: look(ctx.project, name, source) for name, source in loaded.spec.data.items()}
    manifests = _data_of(ctx, loaded, run)
    key = load_or_create_key(ctx.config_dir, ctx.environ)
    when = day or _today()
    answers = _ask(ctx, loaded, manifests, when, advise=False)
    _untouched(ctx, loaded, before)
    judgement = _judgement(loaded, answers, manifests, when)
    keep_judgement(run.path, judgement, record, key)
    return GatesResult(answers=answers, run=run.id, fingerprint=key.fingerprint)


def ready_for_gates(loaded: LoadedSpec) -> None:
    """Raises InputError if data gates are declared and what they need is not installed."""
    if is_declared(loaded.spec.gates, "data"):
        need_polars()


def judge_training(
    ctx: Context,
    loaded: LoadedSpec,
    manifests: Mapping[str, TreeManifest],
    before: Mapping[str, Looks],
    *,
    despite: bool = False,
    day: dt.date | None = None,
) -> Judgement | None:
    """The declared data gates before a run, about data that was verified just now, after the look
    `before`.

    None if there are none. Raises AnswerNoError if one fails, unless `despite` says to go on.
    """
    if not is_declared(loaded.spec.gates, "data"):
        return None
    when = day or _today()
    answers = _ask(ctx, loaded, manifests, when, advise=False)
    # That nobody writes to it while the program runs as well is asked after the program.
    _untouched(ctx, loaded, before)
    failed = [result for result in answers.declared if result.blocks]
    for result in answers.declared:
        if result.verdict in ("warned", "accepted") or (despite and result.blocks):
            first, *more = lines_of(result)
            ctx.reporter.warn("\n".join([" ".join(first.split()), *more]))
    if failed and not despite:
        raise refused(failed)
    return _judgement(loaded, answers, manifests, when)


def state_of(judgement: Judgement) -> GatesState:
    """In one word."""
    if judgement.blocks:
        return "failed"
    return "warned" if judgement.warns else "passed"


def refused(failed: Sequence[Result]) -> AnswerNoError:
    """Training that does not start: which gates, which rows, and every way out."""
    number = "a gate does" if len(failed) == 1 else f"{len(failed)} gates do"
    found = [line.removeprefix(f"{'failed':<10}  ") for one in failed for line in lines_of(one)]
    family = failed[0].gate.partition(".")[0]
    accept = f'accept = [{{ gate = "{failed[0].gate}", until = 2027-01-31, reason = "..." }}]'
    ways = (
        *ways_out(failed),
        f"or accept it until a day: [gates] {accept}",
        f'or let it only warn: [gates.{family}] severity = "warn"',
        "or train all the same, a run that is not released: mllock train --despite-gates",
    )
    return AnswerNoError(
        f"{number} not hold, and nothing was trained",
        file=SPEC,
        key="gates",
        found="\n       ".join(found),
        hint="\n      ".join(ways),
    )


def _ask(
    ctx: Context,
    loaded: LoadedSpec,
    manifests: Mapping[str, TreeManifest],
    day: dt.date,
    *,
    advise: bool,
) -> Answers:
    ctx.reporter.step("asking the gates about the data")
    return ask(loaded.spec, _tables(ctx, loaded, manifests), day, advise=advise)


def _tables(
    ctx: Context, loaded: LoadedSpec, manifests: Mapping[str, TreeManifest]
) -> Callable[[str], Table]:
    def table(name: str) -> Table:
        source = loaded.spec.data[name]
        return open_table(name, source, ctx.project, manifest=manifests.get(name))

    return table


def _judgement(
    loaded: LoadedSpec,
    answers: Answers,
    manifests: Mapping[str, TreeManifest],
    day: dt.date,
) -> Judgement:
    return Judgement(
        kind="data",
        config=config_of(loaded.spec, "data"),
        inputs={f"data/{name}": manifests[name].digest for name in answers.sources},
        day=day,
        results=answers.declared,
    )


def _good(run: RunFolder, loaded: LoadedSpec) -> Record:
    """The record of a run of this project that can be judged."""
    if run.has_failed:
        raise RunError(
            "the run failed, and there is no model to judge", file=run.id, hint='see "mllock runs"'
        )
    problem = run.damage()
    if problem is not None:
        raise problem
    record = run.record()
    if record.project != loaded.spec.project.name:
        raise RunError(
            "the run of another project",
            file=run.id,
            expected=loaded.spec.project.name,
            found=record.project,
        )
    return record


def _data_of(ctx: Context, loaded: LoadedSpec, run: RunFolder) -> dict[str, TreeManifest]:
    """All sources of the spec, as the run had them. Raises RunError if one is another by now."""
    lock = parse_lock(run.lock_bytes(), f"{run.id}/mlproject.lock")
    manifests = {}
    for name, source in loaded.spec.data.items():
        pin = lock.data.get(name)
        if pin is None:
            raise RunError(
                "the run was trained without this data source",
                file=run.id,
                key=f"data.{name}",
                hint="train again, and judge that run",
            )
        try:
            manifests[name] = verify_source(ctx.project, name, source, pin)
        except StaleLockError as error:
            raise RunError(
                f"the data is not what the run was trained on: {error.message}",
                file=run.id,
                key=f"data.{name}",
                expected=error.expected,
                found=error.found,
                hint="bring that data back, or train again and judge that run",
            ) from error
    return manifests


def _untouched(ctx: Context, loaded: LoadedSpec, before: Mapping[str, Looks]) -> None:
    for name, source in loaded.spec.data.items():
        path = touched(before[name], look(ctx.project, name, source))
        if path is not None:
            raise VoidRunError(
                "data changed while the gates read it",
                file=f"{here(source)}/{path}" if path else here(source),
                key=f"data.{name}",
                hint="nothing may write to declared data meanwhile; ask again",
            )


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
