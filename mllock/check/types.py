"""The values of check: Evidence, Difference, Finding, Report; and the one way to exit code 0.

Each claim of docs/reference/check.md gets exactly one finding. A finding is `proven` only with
evidence of level A (bytes) or B (observed from outside); missing evidence is `unproven` or
`refuted`, never a warning. `Report.exit_code` is the only function that can answer 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mllock.attest.release import ReleasedGates

__all__ = ["CLAIMS", "Claim", "Difference", "Finding", "Level", "Report", "Verdict"]

Claim = Literal[
    "signature", "lineage", "model", "environment", "code", "configuration", "behaviour", "release"
]
CLAIMS: tuple[Claim, ...] = (
    "signature",
    "lineage",
    "model",
    "environment",
    "code",
    "configuration",
    "behaviour",
    "release",
)

Verdict = Literal["proven", "refuted", "unproven", "not asked"]

# A: bytes at rest. B: observed from outside. C: self-reported. D: statistical. N: not provable.
Level = Literal["A", "B", "C", "D", "N"]

MAX_DIFFERENCES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that is not what it should be. `path` is inside of the target."""

    path: str
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The verdict on one claim.

    `reason` is one sentence; `source` says which bytes decided; `cure` what would prove an unproven
    claim, or the next step after a refuted one. `differences` holds the first MAX_DIFFERENCES,
    `differing` their whole number.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    level: Level | None = None
    source: str | None = None
    cure: str | None = None
    differences: tuple[Difference, ...] = ()
    differing: int = 0

    def __post_init__(self) -> None:
        if self.verdict == "proven" and self.level not in ("A", "B"):
            raise ValueError(f"{self.claim}: proven needs evidence of level A or B")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All findings about one target, in the order of CLAIMS.

    `target` is as it was given, `chosen` what it was taken for; `record` names the record and says
    why this one, `run` its run. `checked_bytes` of `expected_bytes` were hashed: a partial check
    cannot pass for a whole one. `gates` are those of the release of this run that is the newest
    of the stage that was asked for; None if there is none.
    """

    target: str
    chosen: str
    record: str
    run: str | None = None
    findings: tuple[Finding, ...]
    accepted: frozenset[Claim] = frozenset()
    checked_bytes: int = 0
    expected_bytes: int = 0
    gates: tuple[ReleasedGates, ...] | None = None

    def exit_code(self) -> int:
        """0 all asked claims proven or accepted; 1 something refuted; 3 something unproven."""
        if tuple(finding.claim for finding in self.findings) != CLAIMS:
            return 1
        verdicts = [finding.verdict for finding in self.findings]
        if "refuted" in verdicts:
            return 1
        if self.checked_bytes != self.expected_bytes:
            return 1
        open_claims = [
            f.claim
            for f in self.findings
            if f.verdict == "unproven" and f.claim not in self.accepted
        ]
        if open_claims or "proven" not in verdicts:
            return 3
        return 0
