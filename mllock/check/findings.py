"""Making findings: what each verdict must carry is asked for here, once."""

from __future__ import annotations

from collections.abc import Sequence

from mllock.check.types import MAX_DIFFERENCES, Claim, Difference, Finding, Level

__all__ = ["count", "not_asked", "proven", "refuted", "unproven"]


def proven(claim: Claim, reason: str, *, source: str, level: Level = "A") -> Finding:
    """Evidence of level A, bytes at rest, hashed by this process; or of B, seen from outside."""
    return Finding(claim=claim, verdict="proven", level=level, reason=reason, source=source)


def refuted(
    claim: Claim,
    reason: str,
    differences: Sequence[Difference] = (),
    *,
    source: str | None = None,
    cure: str | None = None,
    level: Level = "A",
) -> Finding:
    return Finding(
        claim=claim,
        verdict="refuted",
        level=level,
        reason=reason,
        source=source,
        cure=cure,
        differences=tuple(differences[:MAX_DIFFERENCES]),
        differing=len(differences),
    )


def unproven(
    claim: Claim,
    reason: str,
    *,
    cure: str | None,
    source: str | None = None,
    differences: Sequence[Difference] = (),
) -> Finding:
    return Finding(
        claim=claim,
        verdict="unproven",
        reason=reason,
        cure=cure,
        source=source,
        differences=tuple(differences[:MAX_DIFFERENCES]),
        differing=len(differences),
    )


def not_asked(claim: Claim, reason: str) -> Finding:
    return Finding(claim=claim, verdict="not asked", reason=reason)


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
