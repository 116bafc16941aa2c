"""The rules: evidence in, one finding for each claim out. Pure; nothing here reads or prints.

The order of trust, which `decide` keeps and no rule can leave out:

1. bundle     the file is a DSSE bundle, its signature is checked over exactly its payload
2. key        the verifier's policy, or this machine's own key, trusts the signer for the project
3. payload    the verified bytes read strictly as a record, or as an image statement
4. lock       the record's materials are those of the lock whose content digest it names
5. subjects   the record's subjects are those of its model's manifest
6. bytes      what lies in the target, hashed now, is what 3 to 5 say

A later step is proven only if the steps that it rests on are. What a payload without a trusted
signature says can refute, never prove: `_rest_on` turns such a "proven" into "unproven". Missing
evidence is "unproven" with its cure. Claims that are not asked of a target are "not asked".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mllock.attest.image_statement import ImageStatement
from mllock.check import claims_live as live
from mllock.check.claims_behaviour import behaviour
from mllock.check.claims_image import code, configuration, environment
from mllock.check.claims_lineage import lineage
from mllock.check.claims_model import model
from mllock.check.claims_release import release
from mllock.check.evidence import (
    ContainerFacts,
    Endpoint,
    Evidence,
    FoundTree,
    ImageFacts,
    ProbesSeen,
    Signed,
)
from mllock.check.findings import not_asked, proven, refuted, unproven
from mllock.check.types import CLAIMS, Claim, Difference, Finding
from mllock.train.record import Record

__all__ = ["decide", "hashed_bytes", "signature"]

_RULES: dict[Claim, Callable[[Evidence, Record], Finding]] = {
    "lineage": lineage,
    "model": model,
    "environment": environment,
    "code": code,
    "configuration": configuration,
}
_LIVE_RULES: dict[Claim, Callable[[Evidence, Record], Finding]] = {
    "lineage": lineage,
    "model": live.model,
    "environment": live.environment,
    "code": live.code,
    "configuration": live.configuration,
}
_OF_IMAGES: tuple[Claim, ...] = ("environment", "code", "configuration")
_OF_BYTES: tuple[Claim, ...] = ("model", *_OF_IMAGES)
_OF_STATEMENT: tuple[Claim, ...] = ("code", "configuration")


def decide(evidence: Evidence) -> tuple[Finding, ...]:
    """One finding for each of CLAIMS, in their order."""
    record = evidence.record.usable
    found: dict[Claim, Finding] = {"signature": signature(evidence)}
    folder = isinstance(evidence.target, FoundTree)
    rules = _LIVE_RULES if isinstance(evidence.target, ContainerFacts) else _RULES
    for claim, rule in rules.items():
        if isinstance(evidence.target, Endpoint) and claim in _OF_BYTES:
            found[claim] = not_asked(claim, "an endpoint shows answers, and none of its bytes")
        elif folder and claim in _OF_IMAGES:
            found[claim] = not_asked(claim, "a folder has no environment, code or configuration")
        elif record is None:
            found[claim] = unproven(
                claim, "there is no record that could say what it should be", cure=_NO_RECORD
            )
        else:
            found[claim] = _rest_on(evidence, rule(evidence, record))
    found["behaviour"] = behaviour(evidence)
    found["release"] = _release(evidence, found)
    return tuple(found[claim] for claim in CLAIMS)


def _release(evidence: Evidence, found: dict[Claim, Finding]) -> Finding:
    facts, record = evidence.release, evidence.record.usable
    if facts is not None and record is not None:
        return _rest_on(evidence, release(evidence, facts, record, found["model"]))
    if evidence.stage is None:
        return not_asked("release", "no stage was named")
    return unproven("release", "there is no record of what it should be", cure=_NO_RECORD)


_NO_RECORD = "name a record with a trusted signature: --run RUN or --record FILE"


def _rest_on(evidence: Evidence, finding: Finding) -> Finding:
    """Steps 1 to 3 come first: nothing is proven by a payload that is not believed."""
    if finding.verdict != "proven":
        return finding
    believed = evidence.record.believed is not None
    if finding.claim in _OF_STATEMENT:
        statement = evidence.statement
        believed = believed and statement is not None and statement.believed is not None
    if believed and signature(evidence).verdict != "refuted":
        return finding
    return unproven(
        finding.claim,
        f"{finding.reason}, but what it is held against has no trusted signature",
        cure="see signature",
    )


def signature(evidence: Evidence) -> Finding:
    """Record, and image statement of an image, by a trusted key and for this project."""
    parts: list[Finding] = [_signed("the record", evidence, evidence.record)]
    if isinstance(evidence.target, ImageFacts | ContainerFacts):
        if evidence.statement is None:
            parts.append(
                unproven(
                    "signature",
                    "no signed image statement is with the image or its run",
                    cure='build the image with "mllock build", which signs one',
                )
            )
        else:
            parts.append(_signed("the image statement", evidence, evidence.statement))
    for verdict in ("refuted", "unproven"):
        for part in parts:
            if part.verdict == verdict:
                return part
    reasons = dict.fromkeys(part.reason for part in parts)
    return replace(parts[0], reason="; ".join(reasons))


def _signed(
    what: str, evidence: Evidence, signed: Signed[Record] | Signed[ImageStatement]
) -> Finding:
    if signed.trust is None:
        return refuted("signature", f"{what} is not signed: {signed.problem}", source=signed.name)
    trust = signed.trust
    if trust.refuted:
        reason = f"{what}: {trust.reason}"
        difference = Difference(
            path=signed.name, expected="a signature by a trusted key", found=trust.fingerprint
        )
        return refuted("signature", reason, [difference], source=signed.name, cure=trust.hint)
    if signed.value is None:
        return refuted("signature", f"{what}: {signed.problem}", source=signed.name)
    if evidence.project is not None and signed.value.project != evidence.project:
        difference = Difference(
            path=signed.name, expected=evidence.project, found=signed.value.project
        )
        return refuted("signature", f"{what} is of another project", [difference])
    if not trust.trusted:
        return unproven(
            "signature",
            f"{what}: {trust.reason} ({trust.fingerprint})",
            cure=trust.hint,
            source=signed.name,
        )
    who = "own key" if trust.status == "own key" else trust.reason
    return proven("signature", f"{who} {trust.fingerprint}", source=signed.name)


def hashed_bytes(evidence: Evidence) -> tuple[int, int]:
    """(bytes that were hashed, bytes that there are to hash) in the target; of recorded answers,
    those that were compared, and all."""
    seen = 0 if evidence.probes is None else sum(probe.size for probe in evidence.probes.seen)
    read, there = _of_target(evidence)
    return read + seen, there + seen + _not_answered(evidence.probes)


def _not_answered(probes: ProbesSeen | None) -> int:
    """At least a byte for each probe that got no answer."""
    return 0 if probes is None else probes.total - len(probes.seen)


def _of_target(evidence: Evidence) -> tuple[int, int]:
    target = evidence.target
    if isinstance(target, Endpoint):
        return 0, 0
    if isinstance(target, ImageFacts):
        read = sum(layer.size for layer in target.layers if layer.contents is not None)
        return read, sum(layer.size for layer in target.layers)
    if isinstance(target, ContainerFacts):
        return target.hashed, target.size
    manifest = evidence.manifest
    record = evidence.record.usable
    if manifest is None or record is None or manifest.digest != record.model:
        return target.size, target.size
    return target.size, manifest.size
