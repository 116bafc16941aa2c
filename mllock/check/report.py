"""A report as lines for people and as JSON for programs: the same findings. Pure.

Names come from targets that may lie: whatever is not plain printable text is escaped, so that
no name can hide, reorder or forge a line. The JSON is specified in docs/reference/check.md.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from mllock.attest.release import ReleasedGates
from mllock.check.types import Finding, Report

__all__ = ["escape", "lines", "to_json"]

VERSION = 1
_WIDTH = 13


def escape(text: str) -> str:
    r"""`text` in one line of printable characters: others as \n, \x1b, \u202e."""
    return "".join(_escaped(char) for char in text)


def _escaped(char: str) -> str:
    # Cc, Cf (bidi and zero-width), Cs, Co, Cn, and the separators that end a line.
    if char == "\\":
        return "\\\\"
    if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029":
        return char.encode("unicode_escape", "surrogatepass").decode("ascii")
    return char


def lines(report: Report) -> Iterator[str]:
    """What the terminal shows: the claims, aligned, and what differs."""
    yield f"checked  {escape(report.chosen)}"
    yield f"against  {escape(report.record)}"
    yield ""
    for finding in report.findings:
        yield from _finding(report, finding)
    yield ""
    if report.gates is not None:
        for line in gates_lines(report.gates):
            yield f"{'gates':<{_WIDTH}}  {escape(line)}"
        yield ""
    yield _conclusion(report)


def _finding(report: Report, finding: Finding) -> Iterator[str]:
    level = finding.level or " "
    verdict = finding.verdict
    reason = finding.reason
    if verdict == "unproven" and finding.claim in report.accepted:
        reason += " (accepted)"
    yield f"{finding.claim:<{_WIDTH}}  {verdict:<9}  {level}  {escape(reason)}"
    indent = " " * (_WIDTH + 2)
    for difference in finding.differences:
        yield f"{indent}{escape(difference.path)}"
        yield f"{indent}  expected  {escape(difference.expected)}"
        yield f"{indent}  found     {escape(difference.found)}"
    more = finding.differing - len(finding.differences)
    if more > 0:
        yield f"{indent}and {more} more"
    if finding.cure is not None:
        what = "to prove it" if finding.verdict == "unproven" else "hint"
        yield f"{indent}{what}: {escape(finding.cure)}"


def _conclusion(report: Report) -> str:
    verdicts = {
        verdict: [f.claim for f in report.findings if f.verdict == verdict]
        for verdict in ("proven", "refuted", "unproven")
    }
    asked = sum(len(claims) for claims in verdicts.values())
    counted = [f"{len(verdicts['proven'])} of {asked} asked claims proven"]
    named = [
        f"{verdict}: {', '.join(verdicts[verdict])}"
        for verdict in ("refuted", "unproven")
        if verdicts[verdict]
    ]
    return "; ".join([*counted, *named])


def to_json(report: Report) -> dict[str, Any]:
    """The report as a JSON value; keys that a version adds are new, none changes its meaning."""
    return {
        "version": VERSION,
        "target": escape(report.target),
        "chosen": escape(report.chosen),
        "record": escape(report.record),
        "run": report.run,
        "exit-code": report.exit_code(),
        "checked-bytes": report.checked_bytes,
        "expected-bytes": report.expected_bytes,
        "findings": [_finding_json(report, finding) for finding in report.findings],
        "gates": None if report.gates is None else gates_to_json(report.gates),
    }


def gates_lines(gates: Sequence[ReleasedGates]) -> Iterator[str]:
    """What a release says about the gates of its run, a line for each kind and exception."""
    if not gates:
        yield "none were declared when it was released"
    for one in gates:
        counts = (("passed", one.passed), ("warned", one.warned), ("failed", one.failed))
        said = ", ".join(f"{number} {name}" for name, number in counts if number)
        yield f"{one.kind}: {one.result.lower()} ({said or 'nothing was asked'})"
        for accepted in one.accepted:
            yield f"{one.kind}: {accepted.gate} accepted until {accepted.until}: {accepted.reason}"


def gates_to_json(gates: Sequence[ReleasedGates]) -> list[dict[str, Any]]:
    return [
        {
            "kind": one.kind,
            "result": one.result,
            "passed": one.passed,
            "warned": one.warned,
            "failed": one.failed,
            "accepted": [
                {
                    "gate": escape(accepted.gate),
                    "until": accepted.until.isoformat(),
                    "reason": escape(accepted.reason),
                }
                for accepted in one.accepted
            ],
            "statement": one.statement,
        }
        for one in gates
    ]


def _finding_json(report: Report, finding: Finding) -> dict[str, Any]:
    return {
        "claim": finding.claim,
        "verdict": finding.verdict,
        "level": finding.level,
        "reason": escape(finding.reason),
        "source": None if finding.source is None else escape(finding.source),
        "cure": None if finding.cure is None else escape(finding.cure),
        "accepted": finding.verdict == "unproven" and finding.claim in report.accepted,
        "differing": finding.differing,
        "differences": [
            {"path": escape(d.path), "expected": escape(d.expected), "found": escape(d.found)}
            for d in finding.differences
        ],
    }
