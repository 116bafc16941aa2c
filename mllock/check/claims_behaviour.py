"""The claim `behaviour`: the recorded probes get the recorded answers. Pure.

Evidence of level D, which never proves: whoever recognises a probe can answer it as recorded and
everything else as he likes. One answer that differs refutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mllock.check.evidence import Evidence, ProbesSeen
from mllock.check.findings import count, not_asked, refuted, unproven
from mllock.check.types import Difference, Finding

__all__ = ["behaviour"]


def behaviour(evidence: Evidence) -> Finding:
    seen = evidence.probes
    if seen is None:
        return not_asked("behaviour", "nothing is run by this check")
    if seen.problem is not None:
        return unproven("behaviour", seen.problem, cure=seen.cure)
    source = f"answers of {seen.url}"
    differing = sum(1 for probe in seen.seen if probe.mismatches)
    if differing:
        return replace(
            refuted("behaviour", _differs(seen, differing), [*_differences(seen)], source=source),
            level="D",
        )
    loose = sum(1 for probe in seen.seen if not probe.exact)
    how = f", {loose} of them within a declared tolerance" if loose else ""
    return replace(
        unproven(
            "behaviour",
            f"{len(seen.seen)} of {count(seen.total, 'probe')} answered alike{how}; "
            "a proxy that recognises probes would look the same",
            cure="check the image or the container that runs there, or accept it with "
            "--allow-unproven behaviour",
            source=source,
        ),
        level="D",
    )


def _differs(seen: ProbesSeen, differing: int) -> str:
    reason = f"{differing} of {count(seen.total, 'probe')} answered differently"
    left = seen.total - len(seen.seen)
    return f"{reason}, {left} not answered" if left else reason


def _differences(seen: ProbesSeen) -> Iterator[Difference]:
    for probe in seen.seen:
        for mismatch in probe.mismatches:
            yield Difference(
                path=f"{probe.name}: {mismatch.place}",
                expected=mismatch.expected,
                found=mismatch.found,
            )
