"""Judgements as bytes: canonical JSON, one reader and one writer.

The document is kept beside the run, and a test-result statement (`mllock.attest.test_result`)
names it by digest. Law: reading gives back what was written. Raises RunError.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mllock.core import canonical
from mllock.core.digest import parse_digest
from mllock.errors import RunError
from mllock.gates.types import Judgement, Kind, Result, Row, Verdict
from mllock.spec.types import Accepted, Severity

__all__ = ["read_judgement", "result_document", "write_judgement"]

DigestText = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
NonEmpty = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object; unknown fields are errors, absent ones have their defaults."""


class _Row(_Strict, frozen=True, kw_only=True):
    source: NonEmpty
    file: str
    row: Annotated[int, Meta(ge=1)]
    key: dict[str, str] = {}


class _Accepted(_Strict, frozen=True, kw_only=True):
    gate: NonEmpty
    until: dt.date
    reason: NonEmpty


class _Result(_Strict, frozen=True, kw_only=True):
    gate: NonEmpty
    subject: NonEmpty
    verdict: Verdict
    severity: Severity
    summary: NonEmpty
    measured: float | None = None
    limit: float | None = None
    rows: Count = 0
    broken: tuple[tuple[_Row, ...], ...] = ()
    details: dict[str, Any] = {}
    accepted: _Accepted | None = None


class _Judgement(_Strict, frozen=True, kw_only=True):
    v: Literal[1]
    kind: Kind
    config: DigestText
    inputs: dict[NonEmpty, DigestText]
    day: dt.date
    results: tuple[_Result, ...]


def write_judgement(judgement: Judgement) -> bytes:
    """Raises RunError for what would not read."""
    value = msgspec.to_builtins(
        {
            "v": 1,
            "kind": judgement.kind,
            "config": judgement.config,
            "inputs": dict(judgement.inputs),
            "day": judgement.day,
            "results": [result_document(result) for result in judgement.results],
        }
    )
    try:
        data = canonical.dumps(value)
    except ValueError as error:
        raise RunError(f"the results of the gates cannot be written: {error}") from None
    read_judgement(data)
    return data


def read_judgement(data: bytes, *, name: str = "judgement") -> Judgement:
    """Read strictly. Only bytes that a trusted statement names prove anything."""
    try:
        value = canonical.loads(data)
        raw = msgspec.convert(value, _Judgement)
        same = canonical.dumps(value) == data
    except ValueError as error:
        raise RunError(f"not results of gates: {error}", file=name) from None
    if not same:
        raise RunError("not results of gates: not in canonical form (RFC 8785)", file=name)
    return Judgement(
        kind=raw.kind,
        config=parse_digest(raw.config),
        inputs={key: parse_digest(digest) for key, digest in raw.inputs.items()},
        day=raw.day,
        results=tuple(_result(result) for result in raw.results),
    )


def result_document(result: Result) -> dict[str, Any]:
    """As it stands in the document: JSON values."""
    accepted = result.accepted
    document = {
        "gate": result.gate,
        "subject": result.subject,
        "verdict": result.verdict,
        "severity": result.severity,
        "summary": result.summary,
        "measured": result.measured,
        "limit": result.limit,
        "rows": result.rows,
        "broken": [[_row(row) for row in rows] for rows in result.broken],
        "details": dict(result.details),
        "accepted": None
        if accepted is None
        else {
            "gate": accepted.gate,
            "until": accepted.until.isoformat(),
            "reason": accepted.reason,
        },
    }
    return {
        key: value
        for key, value in document.items()
        if value is not None and value not in ([], {}) and (key != "rows" or value)
    }


def _row(row: Row) -> dict[str, Any]:
    document = {"source": row.source, "file": row.file, "row": row.row}
    return {**document, "key": dict(row.key)} if row.key else document


def _result(raw: _Result) -> Result:
    accepted = raw.accepted
    return Result(
        gate=raw.gate,
        subject=raw.subject,
        verdict=raw.verdict,
        severity=raw.severity,
        summary=raw.summary,
        measured=raw.measured,
        limit=raw.limit,
        rows=raw.rows,
        broken=tuple(
            tuple(Row(source=r.source, file=r.file, row=r.row, key=r.key) for r in rows)
            for rows in raw.broken
        ),
        details=raw.details,
        accepted=None
        if accepted is None
        else Accepted(gate=accepted.gate, until=accepted.until, reason=accepted.reason),
    )
