"""Whether a run may be released, by its gates: signed, about this run, by what [gates] asks today.

Order, for each kind that [gates] declares: the statement is believed (`mllock.gates.signed`), it
was asked what the spec asks, what it looked at is what is signed about the evaluation, nothing
failed, and every exception that was made still is one. Anything else is an answer "no" that names
the command that would help. Raises AnswerNoError.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator

from mllock.attest.policy import Policy
from mllock.attest.release import Accepted, ReleasedGates
from mllock.errors import AnswerNoError, RunError
from mllock.gates.config import config_of, kinds_of
from mllock.gates.evaluation import EVALUATION_BUNDLE, read_evaluation
from mllock.gates.measure import MEASURE
from mllock.gates.signed import SignedJudgement, bundle_name, document_name, read_signed
from mllock.gates.types import Kind, Result
from mllock.gates.words import lines_of
from mllock.spec.gates import accepts
from mllock.spec.types import Spec
from mllock.train.record import Record
from mllock.train.runs import RunFolder

__all__ = ["releasable"]

_OF = {"data": "its data", "model": "its metrics"}


def releasable(
    spec: Spec, run: RunFolder, record: Record, policy: Policy, day: dt.date
) -> tuple[ReleasedGates, ...]:
    """What a release says about the gates of `run`: nothing, where none is declared."""
    return tuple(_of_kind(spec, run, record, policy, day, kind) for kind in kinds_of(spec))


def _of_kind(
    spec: Spec, run: RunFolder, record: Record, policy: Policy, day: dt.date, kind: Kind
) -> ReleasedGates:
    command = f"mllock {'gates' if kind == 'data' else 'evaluate'} {run.id}"
    names = (bundle_name(kind), document_name(kind))
    if not any(os.path.lexists(run.path / name) for name in names):
        raise AnswerNoError(
            f"the run was not judged by the gates of {_OF[kind]}", file=run.id, hint=command
        )
    try:
        signed = read_signed(run, kind, record, policy)
        if kind == "model" and spec.evaluate is not None:
            _same_evaluation(run, record, policy, signed)
    except RunError as error:
        raise AnswerNoError(
            f"the gates of {_OF[kind]} cannot be believed: {error.message}",
            file=error.file,
            key=error.key,
            expected=error.expected,
            found=error.found,
            hint=error.hint or command,
        ) from error
    _as_asked_today(spec, run, kind, signed, command)
    results = signed.judgement.results
    _nothing_failed(run, kind, results, command)
    return ReleasedGates(
        kind=kind,
        statement=signed.digest,
        result=signed.statement.result,
        passed=len(signed.statement.passed),
        warned=len(signed.statement.warned),
        failed=len(signed.statement.failed),
        accepted=tuple(dict.fromkeys(_exceptions(spec, run, results, day, command))),
    )


def _same_evaluation(
    run: RunFolder, record: Record, policy: Policy, signed: SignedJudgement
) -> None:
    """The metrics and predictions that were judged are those that the evaluation wrote."""
    evaluation = read_evaluation(run, record, policy)
    if evaluation is None:
        raise RunError("no such file in the run", file=f"{run.id}/{EVALUATION_BUNDLE}")
    inputs = {
        key: digest
        for name, evaluated in evaluation.sources.items()
        for key, digest in evaluated.inputs(name).items()
    }
    judged = {key: digest for key, digest in signed.judgement.inputs.items() if key != MEASURE}
    if inputs != judged:
        raise RunError(
            "another evaluation than the one that was judged", file=f"{run.id}/{EVALUATION_BUNDLE}"
        )


def _as_asked_today(
    spec: Spec, run: RunFolder, kind: Kind, signed: SignedJudgement, command: str
) -> None:
    expected, found = config_of(spec, kind), signed.judgement.config
    if expected != found:
        raise AnswerNoError(
            f"the run was judged by other gates of {_OF[kind]} than those of mlproject.toml",
            file=run.id,
            key=f"{kind}-gates",
            expected=expected,
            found=found,
            hint=command,
        )


def _nothing_failed(run: RunFolder, kind: Kind, results: Iterable[Result], command: str) -> None:
    failed = [result for result in results if result.blocks]
    if not failed:
        return
    said = (line.removeprefix(f"{'failed':<10}  ") for one in failed for line in lines_of(one))
    number = "a gate" if len(failed) == 1 else f"{len(failed)} gates"
    cure = "train with other data" if kind == "data" else "train a better model"
    raise AnswerNoError(
        f"{number} of {_OF[kind]} failed",
        file=run.id,
        key=f"{kind}-gates",
        found="\n       ".join(said),
        hint=f"{cure}, or make an exception that ends, [[gates.accept]], and then: {command}",
    )


def _exceptions(
    spec: Spec, run: RunFolder, results: Iterable[Result], day: dt.date, command: str
) -> Iterator[Accepted]:
    """The exceptions that were made. One that is over, or that nobody makes any more, is none."""
    declared = () if spec.gates is None else spec.gates.accept
    for result in results:
        made = result.accepted
        if made is None:
            continue
        if not any(accepts(one.gate, result.gate) and made.until <= one.until for one in declared):
            reason = "is not in mlproject.toml any more"
        elif made.until < day:
            reason = f"is over since {made.until}"
        else:
            yield Accepted(gate=made.gate, until=made.until, reason=made.reason)
            continue
        raise AnswerNoError(
            f"the exception for {made.gate} {reason}",
            file=run.id,
            key=f"{result.gate}: {result.subject}",
            found=made.reason,
            hint=command,
        )
