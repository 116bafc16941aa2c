"""The terms on which a family of gates is asked, and what a gate says by them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mllock.gates.types import Result, Row, Verdict, judge
from mllock.spec.types import Accepted, Severity

__all__ = ["Terms", "quoted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """`accept` are the exceptions of the spec, `day` the one by which they hold or are over."""

    severity: Severity
    accept: tuple[Accepted, ...]
    day: dt.date

    def result(
        self,
        gate: str,
        subject: str,
        summary: str,
        *,
        holds: bool | None,
        measured: float | None = None,
        limit: float | None = None,
        rows: int = 0,
        broken: tuple[tuple[Row, ...], ...] = (),
        details: Mapping[str, Any] | None = None,
    ) -> Result:
        """What came out; `holds` is None where nobody can tell."""
        verdict: Verdict = "passed" if holds else "not judged"
        accepted = None
        if holds is False:
            verdict, accepted = judge(gate, self.severity, self.accept, self.day)
        return Result(
            gate=gate,
            subject=subject,
            verdict=verdict,
            severity=self.severity,
            summary=summary,
            measured=measured,
            limit=limit,
            rows=rows,
            broken=broken,
            details=details or {},
            accepted=accepted,
        )


def quoted(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence: `"a", "b" and 3 more`."""
    every = [f'"{name}"' for name in names]
    shown = every[:most] if len(every) > most + 1 else every
    left = len(every) - len(shown)
    if left:
        return f"{', '.join(shown)} and {left} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
