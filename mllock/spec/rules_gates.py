"""Rules for [gates]: what their names name is there, and each of them can be judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mllock.spec import hints
from mllock.spec.gates import (
    DISPARITIES,
    GATES,
    SLICE_METRICS,
    read_condition,
    slices_of,
    splits_of,
)
from mllock.spec.loaded import LoadedSpec
from mllock.spec.places import Part
from mllock.spec.types import MetricGate, SlicesGate

__all__ = ["check_gates"]


def check_gates(loaded: LoadedSpec) -> None:
    """Raises SpecError."""
    if loaded.spec.gates is None:
        return
    _metrics(loaded)
    _no_worse(loaded)
    _accept(loaded)
    _leakage(loaded)
    _drift(loaded)
    for parts, gate in _slices(loaded):
        _slice(loaded, gate, *parts)


def _metrics(loaded: LoadedSpec) -> None:
    spec, gates = loaded.spec, loaded.spec.gates
    assert gates is not None
    for index, item in enumerate(gates.metrics):
        place: tuple[Part, ...] = ("gates", "metrics", index)
        gate = item if isinstance(item, MetricGate) else MetricGate(that=item)
        if isinstance(item, MetricGate):
            place = (*place, "that")
        if read_condition(gate.that) is None:
            raise loaded.error(
                "not a condition",
                *place,
                expected='a metric, an operator and a number, e.g. "accuracy >= 0.9"',
                found=f'"{gate.that}"',
            )
        if gate.source is not None:
            tests = [name for name, source in spec.data.items() if source.role == "test"]
            _source(loaded, gate.source, tests, "gates", "metrics", index, "source")
            if spec.evaluate is None:
                raise loaded.error(
                    "there is no [evaluate]",
                    *("gates", "metrics", index, "source"),
                    hint="metrics of one test source are what [evaluate] writes for it",
                )
    written = spec.evaluate is not None or (spec.train is not None and spec.train.metrics)
    if gates.metrics and not written:
        raise loaded.error(
            "nothing writes metrics",
            *("gates", "metrics"),
            hint="declare [train] metrics, or [evaluate]",
        )


def _no_worse(loaded: LoadedSpec) -> None:
    spec, gates = loaded.spec, loaded.spec.gates
    assert gates is not None
    gate = gates.no_worse_than
    if gate is None:
        return
    place: tuple[Part, ...] = ("gates", "no-worse-than")
    named = () if isinstance(gate, str) else gate.metrics
    if not isinstance(gate, str):
        _finite(loaded, gate.tolerance, *place, "tolerance")
        loaded.refuse_twice(named, *place, "metrics")
    if not named and not gates.metrics:
        raise loaded.error(
            "no metric is named",
            *place,
            expected="conditions in gates.metrics, or metrics of its own",
            hint='e.g. no-worse-than = { than = "released", metrics = ["accuracy"] }',
        )
    if spec.evaluate is None and not (spec.train is not None and spec.train.metrics):
        raise loaded.error(
            "nothing writes metrics", *place, hint="declare [train] metrics, or [evaluate]"
        )


def _accept(loaded: LoadedSpec) -> None:
    gates = loaded.spec.gates
    assert gates is not None
    known = sorted({*GATES, *(name.partition(".")[0] for name in GATES)})
    for index, accepted in enumerate(gates.accept):
        place: tuple[Part, ...] = ("gates", "accept", index, "gate")
        _known(loaded, "no such gate", accepted.gate, known, *place, expected=", ".join(known))


def _leakage(loaded: LoadedSpec) -> None:
    spec, gates = loaded.spec, loaded.spec.gates
    assert gates is not None
    gate = gates.leakage
    if gate is None:
        return
    for index, name in enumerate(gate.between):
        _source(loaded, name, list(spec.data), "gates", "leakage", "between", index)
    loaded.refuse_twice(gate.between, "gates", "leakage", "between")
    if len(gate.between) == 1 or len(splits_of(spec)) < 2:
        place: tuple[Part, ...] = ("gates", "leakage")
        raise loaded.error(
            "there are no two splits to compare",
            *((*place, "between") if gate.between else place),
            expected="two data sources or more",
            found=", ".join(f'"{name}"' for name in splits_of(spec)) or "none",
            hint='give the data sources their roles, e.g. role = "test"',
        )
    loaded.refuse_twice(gate.ignore, "gates", "leakage", "ignore")


def _drift(loaded: LoadedSpec) -> None:
    gates = loaded.spec.gates
    assert gates is not None
    if gates.drift is None:
        return
    _finite(loaded, gates.drift.max_psi, "gates", "drift", "max-psi")
    loaded.refuse_twice(gates.drift.columns, "gates", "drift", "columns")
    if len(loaded.spec.data) < 2:
        raise loaded.error(
            "there are no two data sources to compare",
            *("gates", "drift"),
            found=str(len(loaded.spec.data)),
        )


def _slices(loaded: LoadedSpec) -> Iterator[tuple[tuple[Part, ...], SlicesGate]]:
    gates = loaded.spec.gates
    assert gates is not None
    several = isinstance(gates.slices, tuple)
    for index, gate in enumerate(slices_of(gates)):
        yield (("gates", "slices", index) if several else ("gates", "slices")), gate


def _slice(loaded: LoadedSpec, gate: SlicesGate, *place: Part) -> None:
    loaded.refuse_twice(gate.by, *place, "by")
    known = (*SLICE_METRICS, *DISPARITIES)
    listed = ", ".join(known)
    _known(
        loaded, "no such metric of slices", gate.metric, known, *place, "metric", expected=listed
    )
    if gate.max_difference is None and gate.min_ratio is None:
        raise loaded.error(
            "no limit is set",
            *place,
            expected="max-difference, min-ratio or both",
            hint="e.g. max-difference = 0.1",
        )
    if gate.max_difference is not None:
        _finite(loaded, gate.max_difference, *place, "max-difference")
    evaluate = loaded.spec.evaluate
    if evaluate is None or evaluate.predictions is None:
        raise loaded.error(
            "there are no predictions to slice",
            *place,
            hint="declare [evaluate] predictions: one for each row of a test source",
        )


def _source(loaded: LoadedSpec, name: str, known: list[str], *place: Part) -> None:
    message = "no such test source" if place[1] == "metrics" else "no such data source"
    listed = ", ".join(f'"{source}"' for source in known) or "none is declared"
    _known(loaded, message, name, known, *place, expected=listed)


def _known(
    loaded: LoadedSpec,
    message: str,
    name: str,
    known: Sequence[str],
    *place: Part,
    expected: str,
) -> None:
    if name in known:
        return
    near = hints.near(name, known)
    raise loaded.error(
        message,
        *place,
        expected=expected,
        found=f'"{name}"',
        hint=f'did you mean "{near}"?' if near else None,
    )


def _finite(loaded: LoadedSpec, value: float, *place: Part) -> None:
    if not math.isfinite(value):
        raise loaded.error("not a finite number", *place)
