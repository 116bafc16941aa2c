"""Conditions on metrics, and no metric worse than that of the run that is released. Pure.

A metric is what the program wrote; where it wrote none of that name and there are predictions, it
is computed from them (`mllock.gates.slices.value_of`). A metric that is not there holds nothing.
Two runs are compared by the same data only: what was measured by other data is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mllock.core.digest import Digest
from mllock.gates.terms import Terms
from mllock.gates.types import Result
from mllock.spec import hints
from mllock.spec.gates import Condition, conditions_of, higher_is_better, no_worse_of
from mllock.spec.types import Gates, NoWorseGate, Severity

__all__ = ["Measured", "Released", "judge_conditions", "judge_no_worse"]

MakeTerms = Callable[[Severity], Terms]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What is known of a model by one test source, "" for the metrics of the training program.

    `data` is the digest of what it was measured by; `computed` answers what the program did not
    write.
    """

    source: str
    written: Mapping[str, float]
    data: Digest | None = None
    computed: Callable[[str], float | None] = field(default=lambda _: None)

    def metric(self, name: str) -> float | None:
        value = self.written.get(name)
        return self.computed(name) if value is None else value

    def subject(self, text: str) -> str:
        return f"{self.source}: {text}" if self.source else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """The run that is the measure: `name` says which release it is of; `sources` are empty if it
    was not evaluated. `is_this` says that it is the very run that is judged."""

    run: str
    name: str
    sources: Mapping[str, Measured]
    is_this: bool = False


def judge_conditions(
    gates: Gates, sources: Mapping[str, Measured], terms_of: MakeTerms
) -> Iterator[Result]:
    """The gate `metrics`, each condition for its source or all of them."""
    for condition in conditions_of(gates):
        for name, measured in sources.items():
            if condition.source in (None, name):
                yield _condition(condition, measured, terms_of(condition.severity))


def _condition(condition: Condition, measured: Measured, terms: Terms) -> Result:
    value = measured.metric(condition.metric)
    if value is None:
        summary = f'there is no metric "{condition.metric}"'
        near = hints.near(condition.metric, tuple(measured.written))
        if near:
            summary += f': did you mean "{near}"?'
    else:
        summary = f"{condition.metric} is {value:.6g}"
    return terms.result(
        "metrics",
        measured.subject(condition.text),
        summary,
        holds=value is not None and condition.holds(value),
        measured=value,
        limit=condition.limit,
        details=_details(measured, condition.metric),
    )


def judge_no_worse(
    gates: Gates,
    sources: Mapping[str, Measured],
    released: Released | None,
    terms_of: MakeTerms,
) -> Iterator[Result]:
    """The gate `no-worse-than`; `released` is None if nothing is released yet."""
    gate = no_worse_of(gates)
    if gate is None:
        return
    conditions = conditions_of(gates)
    for name, measured in sources.items():
        of_source = [one for one in conditions if one.source in (None, name)]
        for metric in gate.metrics or dict.fromkeys(one.metric for one in of_source):
            yield _no_worse(
                gate,
                measured,
                metric,
                released,
                terms_of(gate.severity),
                higher=higher_is_better(metric, of_source),
            )


def _no_worse(
    gate: NoWorseGate,
    measured: Measured,
    metric: str,
    released: Released | None,
    terms: Terms,
    *,
    higher: bool,
) -> Result:
    subject = measured.subject(metric)
    details: dict[str, object] = _details(measured, metric)
    if released is None:
        return terms.result(
            "no-worse-than", subject, "nothing is released yet", holds=True, details=details
        )
    details["released"] = released.run
    if released.is_this:
        return terms.result(
            "no-worse-than", subject, f"this is {released.name}", holds=True, details=details
        )
    value = measured.metric(metric)
    if value is None:
        summary = f'there is no metric "{metric}"'
        return terms.result("no-worse-than", subject, summary, holds=False, details=details)
    before = released.sources.get(measured.source)
    old, problem = None, None
    if before is None:
        where = f" by {measured.source}" if measured.source else ""
        problem = f"run {released.run} was not evaluated{where}: mllock evaluate {released.run}"
    elif before.data != measured.data:
        problem = f"run {released.run} was evaluated by other data"
    else:
        old = before.metric(metric)
    if problem is None and old is None:
        problem = f'run {released.run} has no metric "{metric}"'
    if problem is not None or old is None:
        return terms.result(
            "no-worse-than",
            subject,
            f"{problem}, which is {released.name}",
            holds=None,
            measured=value,
            details=details,
        )
    worse = old - value if higher else value - old
    return terms.result(
        "no-worse-than",
        subject,
        f"{metric} is {value:.6g}, and {old:.6g} in {released.name}",
        holds=worse <= gate.tolerance,
        measured=value,
        limit=old - gate.tolerance if higher else old + gate.tolerance,
        details=details,
    )


def _details(measured: Measured, metric: str) -> dict[str, object]:
    details: dict[str, object] = {"metric": metric}
    if measured.source:
        details["source"] = measured.source
    return details
