"""Model gates: metrics and predictions of a run, put to what [gates] asks today.

`prepare_gates` comes before any program runs: what is missing is said before hours are spent.
`judge_run` is for what [evaluate] wrote, `judge_own` for a project without it: the metrics of the
training program. The run that is the measure of `no-worse-than` is believed by its signed
statements only. Raises SpecError, DataError, ProgramError, RunError.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.attest.keys import SigningKey
from mllock.attest.policy import Policy, load_policy
from mllock.attest.release import Release
from mllock.core.digest import Digest
from mllock.errors import RunError
from mllock.gates.config import config_of, is_declared
from mllock.gates.evaluation import Evaluated, read_evaluation
from mllock.gates.measure import MEASURE, measure_digest, measure_name
from mllock.gates.signed import bundle_name, document_name, keep_judgement
from mllock.gates.terms import Terms
from mllock.gates.thresholds import Measured, Released, judge_conditions, judge_no_worse
from mllock.gates.types import Judgement, Result
from mllock.spec.gates import no_worse_of, slices_of
from mllock.spec.types import DataSource, Gates, Severity, SlicesGate, Spec
from mllock.store import atomic
from mllock.train.record import Record
from mllock.train.runs import RunFolder
from mllock.workflows.context import Context

if TYPE_CHECKING:
    from mllock.gates.scored import Scored

__all__ = ["judge_own", "judge_run", "prepare_gates", "publish_judgement"]


SPEC = "mlproject.toml"


def prepare_gates(ctx: Context, spec: Spec, tests: Mapping[str, DataSource]) -> None:
    """See that slices can be made: the columns that they are made by, labels, and the extra."""
    gates = spec.gates
    slices = () if gates is None else slices_of(gates)
    if not slices:
        return
    from mllock.gates.columns import columns
    from mllock.gates.open import open_table

    for name, source in tests.items():
        table = open_table(name, source, ctx.project)
        for key, gate in _keyed(gates):
            columns(table, gate.by, key=f"{key}.by")
        if source.label is not None:
            columns(table, (source.label,), key=f"data.{name}.label")


def judge_run(
    ctx: Context, spec: Spec, sources: Mapping[str, Evaluated], record: Record
) -> Judgement | None:
    """What the model gates say of an evaluation; None if none is declared."""
    gates = spec.gates
    if gates is None or not is_declared(gates, "model"):
        return None
    scored = {name: _scored(ctx, spec, name, one) for name, one in sources.items()}
    measured = {
        name: _measured(name, evaluated, scored[name]) for name, evaluated in sources.items()
    }
    measure = _measure(ctx, gates, record)
    released = _released(ctx, spec, record, measure, _evaluated_before)
    day = dt.datetime.now(dt.UTC).date()
    results = [
        *judge_conditions(gates, measured, _terms(gates, day)),
        *judge_no_worse(gates, measured, released, _terms(gates, day)),
    ]
    for key, gate in _keyed(gates):
        for name, evaluated in sources.items():
            rows = scored[name]
            assert rows is not None  # the spec was read: slices need predictions
            results += _slices(gates, gate, day, name, key, rows(), evaluated)
    inputs = _inputs_of(gates, measure)
    for name, evaluated in sources.items():
        inputs |= evaluated.inputs(name)
    return _judgement(spec, results, inputs, day)


def judge_own(
    ctx: Context, spec: Spec, metrics: Mapping[str, float], record: Record
) -> Judgement | None:
    """What the model gates say of the metrics that the training program wrote; None if none is
    declared, or if test sources are to be evaluated."""
    gates = spec.gates
    if gates is None or not is_declared(gates, "model") or spec.evaluate is not None:
        return None
    measured = {"": _own(spec, metrics, record)}
    measure = _measure(ctx, gates, record)
    released = _released(ctx, spec, record, measure, _own_before)
    day = dt.datetime.now(dt.UTC).date()
    results = [
        *judge_conditions(gates, measured, _terms(gates, day)),
        *judge_no_worse(gates, measured, released, _terms(gates, day)),
    ]
    inputs = _inputs_of(gates, measure)
    inputs |= {f"data/{name}": digest for name, digest in record.data.items()}
    written = record.byproducts.get("metrics.json")
    if written is not None:
        inputs["metrics"] = written
    return _judgement(spec, results, inputs, day)


def publish_judgement(
    folder: Path, judgement: Judgement | None, record: Record, key: SigningKey
) -> None:
    """Put it beside a run's record in the place of the one that is there; None takes that away."""
    if judgement is not None:
        keep_judgement(folder, judgement, record, key)
        return
    for name in (bundle_name("model"), document_name("model")):
        atomic.remove_tree(folder / name)


def _judgement(
    spec: Spec, results: list[Result], inputs: Mapping[str, Digest], day: dt.date
) -> Judgement:
    return Judgement(
        kind="model",
        config=config_of(spec, "model"),
        inputs=inputs,
        day=day,
        results=tuple(results),
    )


def _terms(gates: Gates, day: dt.date) -> Callable[[Severity], Terms]:
    return lambda severity: Terms(severity=severity, accept=gates.accept, day=day)


def _keyed(gates: Gates | None) -> Iterator[tuple[str, SlicesGate]]:
    """Gates of slices with the keys that they stand at."""
    if gates is None:
        return
    several = isinstance(gates.slices, tuple)
    for index, gate in enumerate(slices_of(gates)):
        yield (f"gates.slices[{index}]" if several else "gates.slices"), gate


def _slices(
    gates: Gates,
    gate: SlicesGate,
    day: dt.date,
    name: str,
    key: str,
    scored: Scored,
    evaluated: Evaluated,
) -> Iterator[Result]:
    from mllock.gates.slices import judge_slices

    return judge_slices(
        scored,
        gate,
        _terms(gates, day)(gate.severity),
        source=name,
        key=key,
        inputs=evaluated.inputs(name),
    )


def _scored(
    ctx: Context, spec: Spec, name: str, evaluated: Evaluated
) -> Callable[[], Scored] | None:
    """The rows of a test source with their predictions, read once and when they are needed."""
    place = evaluated.predictions
    if place is None:
        return None

    @functools.cache
    def read() -> Scored:
        from mllock.gates.open import open_file, open_table
        from mllock.gates.scored import Scored as Rows
        from mllock.gates.scored import blamed

        assert spec.evaluate is not None
        source = spec.data[name]
        shown = spec.evaluate.predictions or place.name
        with blamed():
            predictions = open_file("predictions", place, shown=shown)
        return Rows(
            open_table(name, source, ctx.project),
            predictions,
            source,
            place=shown,
            positive=spec.evaluate.positive,
        )

    return read


def _measured(name: str, evaluated: Evaluated, scored: Callable[[], Scored] | None) -> Measured:
    def computed(metric: str) -> float | None:
        from mllock.spec.gates import SLICE_METRICS

        if scored is None or metric not in SLICE_METRICS:
            return None
        from mllock.gates.slices import value_of

        return value_of(scored(), metric)

    return Measured(source=name, written=evaluated.metrics, data=evaluated.data, computed=computed)


def _own(spec: Spec, metrics: Mapping[str, float], record: Record) -> Measured:
    """The metrics of a training program were measured by the one test source, if there is one."""
    tests = [name for name, source in spec.data.items() if source.role == "test"]
    data = record.data.get(tests[0]) if len(tests) == 1 else None
    return Measured(source="", written=metrics, data=data)


Before = Callable[[Context, Spec, RunFolder, Record, Policy], Mapping[str, Measured]]


def _evaluated_before(
    ctx: Context, spec: Spec, run: RunFolder, record: Record, policy: Policy
) -> Mapping[str, Measured]:
    found = read_evaluation(run, record, policy)
    if found is None:
        return {}
    # Predictions are compared with data that is the same only if its digest is.
    here = {name: source for name, source in spec.data.items() if source.role == "test"}
    return {
        name: _measured(name, one, _scored(ctx, spec, name, one) if name in here else None)
        for name, one in found.sources.items()
    }


def _own_before(
    _ctx: Context, spec: Spec, run: RunFolder, record: Record, _policy: Policy
) -> Mapping[str, Measured]:
    return {"": _own(spec, run.metrics(), record)}


def _measure(ctx: Context, gates: Gates, record: Record) -> Release | None:
    """The release that `no-worse-than` names; None if it names none, or nothing is released yet."""
    if no_worse_of(gates) is None:
        return None
    from mllock.workflows.measure import measure_of
    from mllock.workflows.releases import all_releases

    return measure_of(all_releases(ctx, record.project), gates)


def _inputs_of(gates: Gates, measure: Release | None) -> dict[str, Digest]:
    return {} if no_worse_of(gates) is None else {MEASURE: measure_digest(measure)}


def _released(
    ctx: Context, spec: Spec, record: Record, release: Release | None, before: Before
) -> Released | None:
    """The run of that release, believed by what is signed about it."""
    if release is None:
        return None
    name = measure_name(release)
    if release.record == record.digest:
        return Released(run=release.run, name=name, sources={}, is_this=True)
    run = RunFolder(ctx.runs / release.run)
    if not run.path.is_dir():
        raise RunError(
            "the run that is the measure is not here",
            file=release.run,
            key="gates.no-worse-than",
            expected=f"the run of {name}",
            hint='bring it with "mllock pull"',
        )
    policy = load_policy(None, ctx.config_dir, ctx.environ)
    old = run.record()
    if old.digest != release.record or not policy.decide(old.project, run.bundle()).trusted:
        raise RunError(
            "not the run that was released",
            file=release.run,
            key="gates.no-worse-than",
            expected=release.record,
            found=old.digest,
        )
    return Released(run=run.id, name=name, sources=before(ctx, spec, run, old, policy))
