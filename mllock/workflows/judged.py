"""What was judged of a run: its evaluations and gates, as they lie beside the record.

For people: `runs`, `show`, `diff` and `report` read this; who may be released is decided elsewhere
(`mllock.gates.releasable`). What is read is read as strictly as there, but for the key: what an
unknown one signed is shown with what the policy says of it, and counts neither as good nor as bad.
Nothing is passed over: what does not fit is a problem in words, and its content is not shown.
Predictions are not hashed here: a list of runs would take minutes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mllock.attest.policy import Policy, Trust
from mllock.attest.test_result import TestResult
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import RunError
from mllock.gates.evaluation import EVALUATION_BUNDLE, EVALUATION_FOLDER
from mllock.gates.signed import (
    bundle_name,
    document_name,
    read_claimed,
    read_details,
    read_optional,
)
from mllock.gates.types import Judgement, Kind, Result
from mllock.train.record import Record
from mllock.train.runs import RunFolder

__all__ = ["Evaluation", "GateState", "Judged", "Statement", "judged"]

_SOURCE = re.compile(r"[a-z][a-z0-9_-]*")

# damaged: there is something about gates, and it is not what was signed about this run.
# not trusted: it is what somebody signed, whom the policy does not trust.
GateState = Literal["passed", "warned", "failed", "not judged", "damaged", "not trusted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A statement about a run that reads and fits it; whether it is believed, `trust` says."""

    file: str
    value: TestResult
    trust: Trust


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What the evaluation on one test source wrote."""

    source: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """`problems` are one sentence each: files that are there and are not what was signed."""

    data: Judgement | None = None
    model: Judgement | None = None
    evaluations: tuple[Evaluation, ...] = ()
    statements: Mapping[str, Statement] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(
            result
            for judgement in (self.data, self.model)
            if judgement is not None
            for result in judgement.results
        )

    @property
    def state(self) -> GateState:
        """The worst of it. What is not trusted says nothing, good or bad."""
        judgements = [one for one in (self.data, self.model) if one is not None]
        if not all(statement.trust.trusted for statement in self.statements.values()):
            return "damaged" if self.problems else "not trusted"
        if any(judgement.blocks for judgement in judgements):
            return "failed"
        if self.problems:
            return "damaged"
        if not judgements:
            return "not judged"
        return "warned" if any(judgement.warns for judgement in judgements) else "passed"


def judged(run: RunFolder, record: Record, policy: Policy) -> Judged:
    """Everything that was judged of the run, and what is wrong with it."""
    problems: list[str] = []
    statements: dict[str, Statement] = {}
    judgements: dict[Kind, Judgement] = {}
    for kind in ("data", "model"):
        try:
            found = _judgement(run, record, policy, kind)
        except RunError as error:
            problems.append(_sentence(error))
            continue
        if found is not None:
            statements[f"{kind}-gates"], judgements[kind] = found
    evaluations: tuple[Evaluation, ...] = ()
    try:
        evaluated = _statement(run, record, policy, EVALUATION_BUNDLE)
        if evaluated is not None:
            statements["evaluation"] = evaluated
            evaluations = tuple(_evaluations(run, evaluated.value))
    except RunError as error:
        problems.append(_sentence(error))
    return Judged(
        data=judgements.get("data"),
        model=judgements.get("model"),
        evaluations=evaluations,
        statements=statements,
        problems=tuple(problems),
    )


def _judgement(
    run: RunFolder, record: Record, policy: Policy, kind: Kind
) -> tuple[Statement, Judgement] | None:
    statement = _statement(run, record, policy, bundle_name(kind))
    if statement is not None:
        return statement, read_details(run, kind, record, statement.value)
    if os.path.lexists(run.path / document_name(kind)):
        raise RunError("no such file in the run", file=f"{run.id}/{bundle_name(kind)}")
    return None


def _statement(run: RunFolder, record: Record, policy: Policy, file: str) -> Statement | None:
    data = read_optional(run, file)
    if data is None:
        return None
    value, trust, _ = read_claimed(data, f"{run.id}/{file}", record, policy)
    return Statement(file=file, value=value, trust=trust)


def _evaluations(run: RunFolder, value: TestResult) -> list[Evaluation]:
    out = []
    for key, digest in value.configuration.items():
        kind, _, source = key.partition("/")
        if kind != "metrics" or not _SOURCE.fullmatch(source):
            continue
        file = f"{EVALUATION_FOLDER}/{source}/metrics.json"
        data = read_optional(run, file)
        if data is None:
            raise RunError("no such file in the run", file=f"{run.id}/{file}")
        if sha256_of(data) != digest:
            raise RunError("not the bytes that the statement names", file=f"{run.id}/{file}")
        out.append(Evaluation(source=source, metrics=_metrics(run, file, data)))
    return out


def _metrics(run: RunFolder, file: str, data: bytes) -> dict[str, float]:
    try:
        value = canonical.loads(data)
    except ValueError as error:
        raise RunError(f"not metrics: {error}", file=f"{run.id}/{file}") from None
    if not isinstance(value, dict) or not all(
        isinstance(number, int | float) and not isinstance(number, bool)
        for number in value.values()
    ):
        raise RunError("not metrics", file=f"{run.id}/{file}", expected="an object of numbers")
    return value


def _sentence(error: RunError) -> str:
    return f"{error.file}: {error.message}"
