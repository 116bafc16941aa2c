"""What was judged of a run: its evaluations and gates, as they lie beside the record.

For people: `runs`, `show`, `diff` and `report` read this; who may be released is decided elsewhere.
Order of trust: the statement by form, the policy over its signed bytes, the record and the model
that it names, then each document by the digest that the statement has of it. Nothing is passed
over: what does not fit is a problem in words, and its content is not shown. Read only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mllock.attest.bundle import read_bundle
from mllock.attest.policy import Policy, Trust
from mllock.attest.test_result import TestResult, read_test_result
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import InputError, RunError
from mllock.gates.document import read_judgement
from mllock.gates.types import Judgement, Kind, Result
from mllock.store.regular import open_regular
from mllock.train.record import Record
from mllock.train.runs import RunFolder

__all__ = ["Evaluation", "GateState", "Judged", "Statement", "judged"]

MAX_BYTES = 64 * 1024 * 1024
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
        evaluated = _statement(run, record, policy, "evaluation")
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
    name = f"{kind}-gates"
    document = _read(run, f"{name}.json")
    statement = _statement(run, record, policy, name)
    if document is None and statement is None:
        return None
    if document is None or statement is None:
        missing = f"{name}.json" if document is None else f"{name}.sigstore.json"
        raise RunError("no such file in the run", file=f"{run.id}/{missing}")
    _fits(run, statement.value, "results", f"{name}.json", document)
    judgement = read_judgement(document, name=f"{run.id}/{name}.json")
    if judgement.kind != kind or _tests(judgement) != (
        statement.value.passed,
        statement.value.warned,
        statement.value.failed,
    ):
        raise RunError(
            "the statement and its details do not say the same", file=f"{run.id}/{statement.file}"
        )
    return statement, judgement


def _tests(judgement: Judgement) -> tuple[tuple[str, ...], ...]:
    """The names that a statement has in `passed`, `warned` and `failed`."""
    return tuple(
        tuple(sorted(f"{r.gate}: {r.subject}" for r in judgement.results if r.verdict in verdicts))
        for verdicts in (("passed",), ("warned", "accepted", "not judged"), ("failed",))
    )


def _statement(run: RunFolder, record: Record, policy: Policy, name: str) -> Statement | None:
    file = f"{name}.sigstore.json"
    data = _read(run, file)
    if data is None:
        return None
    bundle = read_bundle(data, name=f"{run.id}/{file}")
    trust = policy.decide(record.project, bundle)
    if trust.status == "bad signature":
        raise RunError(trust.reason, file=f"{run.id}/{file}")
    value = read_test_result(bundle.payload, name=f"{run.id}/{file}")
    data_of = {f"data/{source}": digest for source, digest in record.data.items()}
    if (
        value.model != record.model
        or value.configuration.get("record") != record.digest
        or any(
            data_of.get(name) != digest
            for name, digest in value.configuration.items()
            if name.startswith("data/")
        )
    ):
        raise RunError("a statement about another run", file=f"{run.id}/{file}")
    return Statement(file=file, value=value, trust=trust)


def _evaluations(run: RunFolder, value: TestResult) -> list[Evaluation]:
    out = []
    for key in value.configuration:
        kind, _, source = key.partition("/")
        if kind != "metrics" or not _SOURCE.fullmatch(source):
            continue
        file = f"evaluation/{source}/metrics.json"
        data = _read(run, file)
        if data is None:
            raise RunError("no such file in the run", file=f"{run.id}/{file}")
        _fits(run, value, key, file, data)
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


def _fits(run: RunFolder, value: TestResult, key: str, file: str, data: bytes) -> None:
    if value.configuration.get(key) != sha256_of(data):
        raise RunError(
            "not the bytes that the statement names",
            file=f"{run.id}/{file}",
            expected=value.configuration.get(key) or "nothing",
            found=sha256_of(data),
        )


def _read(run: RunFolder, name: str) -> bytes | None:
    """None if it is not there. No link is followed, at no level."""
    path = run.path
    for part in name.split("/")[:-1]:
        path /= part
        if path.is_symlink():
            raise RunError("a link, which is not followed", file=f"{run.id}/{name}")
    try:
        with open_regular(run.path / name, follow=False) as file:
            fits = os.fstat(file.fileno()).st_size <= MAX_BYTES
            data = file.read(MAX_BYTES + 1) if fits else b""
    except FileNotFoundError:
        return None
    except InputError as error:
        raise RunError(error.message, file=f"{run.id}/{name}", found=error.found) from None
    except OSError as error:
        raise RunError(
            f"cannot read: {(error.strerror or str(error)).lower()}", file=f"{run.id}/{name}"
        ) from error
    if not fits or len(data) > MAX_BYTES:
        raise RunError("the file is too large", file=f"{run.id}/{name}")
    return data


def _sentence(error: RunError) -> str:
    return f"{error.file}: {error.message}"
