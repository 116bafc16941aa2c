"""The values of gates: what was judged, what came out, and what broke it.

Tables -> Tallies -> Results -> Judgement -> Statement. A `Result` is the answer of one gate about
one subject; a `Judgement` is all answers of one kind about one run, and what they were judged by.
Positions and keys of rows are kept, whole rows never: a judgement is signed, sent and shown to
people who may not see the data. Specified in docs/reference/gates.md.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mllock.core.digest import Digest
from mllock.spec.gates import accepts
from mllock.spec.types import Accepted, Severity

__all__ = ["MAX_BROKEN", "Judgement", "Kind", "Result", "Row", "Verdict", "judge"]

# data: before training, from the data alone. model: from predictions and metrics.
Kind = Literal["data", "model"]
# not judged: there is too little to tell, and the summary says what is missing. It stops nothing.
Verdict = Literal["passed", "warned", "failed", "accepted", "not judged"]

# So many rows are named for a result; `rows` says how many there are.
MAX_BROKEN = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Where a row is: source, file of it (as the source's manifest names it; "" for a source that
    is one file), position in that file from 1, the header not counted, and its key if declared."""

    source: str
    file: str
    row: int
    key: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The answer of one gate about one subject.

    `gate` is one of `mllock.spec.gates.GATES`; `subject` says what it was asked about, e.g.
    "test, train" or "test: accuracy >= 0.9"; `summary` is one sentence that a person understands.
    `broken` are up to MAX_BROKEN of the `rows` that broke it, each a row and what it collides
    with, if it does with another. `details` are JSON values for reports, by gate.
    """

    gate: str
    subject: str
    verdict: Verdict
    severity: Severity
    summary: str
    measured: float | None = None
    limit: float | None = None
    rows: int = 0
    broken: tuple[tuple[Row, ...], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    accepted: Accepted | None = None

    @property
    def blocks(self) -> bool:
        return self.verdict == "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """All results of one kind.

    `config` is the digest of what [gates] and the columns of [data] say that matters to this kind;
    `inputs` are the digests of what was looked at, by name: `data/NAME` tree digests, and for
    `model` also `metrics/NAME` and `predictions/NAME`. `day` is the day, in UTC, by which
    exceptions were taken to hold or to be over.
    """

    kind: Kind
    config: Digest
    inputs: Mapping[str, Digest]
    day: dt.date
    results: tuple[Result, ...]

    @property
    def blocks(self) -> bool:
        return any(result.blocks for result in self.results)

    @property
    def warns(self) -> bool:
        """What did not pass and stops nothing: warnings, exceptions, and what nobody could tell."""
        return any(
            result.verdict in ("warned", "accepted", "not judged") for result in self.results
        )


def judge(
    gate: str, severity: Severity, accept: tuple[Accepted, ...], day: dt.date
) -> tuple[Verdict, Accepted | None]:
    """The verdict on a gate that does not hold: an exception that is not over, else its severity.

    An exception holds through its last day.
    """
    for exception in accept:
        if accepts(exception.gate, gate) and day <= exception.until:
            return "accepted", exception
    return ("failed" if severity == "block" else "warned"), None
