"""The claims about a container: files path by path, and what the engine says of the instance. Pure.

The files were exported from the merged tree, which is what the processes see but for mounts; so
these findings are of level B. A path that differs is told by the claim whose file it is, and by
`configuration`, which says that nothing was written or mounted over what is executed, imported or
read. What was written where nothing of that is, is unproven; scratch folders are outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mllock.attest.image_statement import ImageStatement
from mllock.check.claims_image import (
    APP,
    claim_of,
    no_statement,
    statement_of_another,
    trained_elsewhere,
)
from mllock.check.claims_model import model_in
from mllock.check.claims_platform import trained_on_another, wanted_document
from mllock.check.compare import compare_trees, tree_below
from mllock.check.evidence import ContainerFacts, Evidence
from mllock.check.findings import count, proven, refuted, unproven
from mllock.check.live import Judged, judge, protected
from mllock.check.live_lists import SCRATCH
from mllock.check.tree import is_below
from mllock.check.types import Claim, Difference, Finding
from mllock.train.record import Record

__all__ = ["code", "configuration", "environment", "model"]

_SOURCE = "files of the container, as the engine exports them"
_LIVE = "the engine's description of the container, and its files"
_AGAIN = "see configuration"


def model(evidence: Evidence, record: Record) -> Finding:
    """The files under the model's path are the record's subjects."""
    facts = _facts(evidence)
    if not facts.readable:
        return _unread("model")
    found = model_in(evidence, record, facts.merged)
    more = _more(facts, record, "model", found.differences)
    if found.verdict == "proven" and not more:
        return replace(found, level="B", source=_SOURCE)
    differences = [*found.differences, *more]
    return refuted(
        "model", f"not the model of run {record.run_id}", differences, source=_SOURCE, level="B"
    )


def code(evidence: Evidence, record: Record) -> Finding:
    """`/app` without the model is the code of the image statement."""
    facts = _facts(evidence)
    if not facts.readable:
        return _unread("code")
    statement = _statement(evidence)
    if statement is None:
        return no_statement("code")
    found = tree_below(facts.merged, APP, without=f"{APP}/{record.model_path}")
    told = compare_trees(statement.code, found, f"/{APP}")
    differences = [*told, *_more(facts, record, "code", told)]
    if differences:
        reason = "not the code of the image statement"
        return refuted("code", reason, differences, source=_SOURCE, level="B")
    files = sum(1 for entry in found.entries.values() if entry.digest is not None)
    reason = f"{count(files, 'file')} in /{APP} as in the image statement"
    return proven("code", reason, source=_SOURCE, level="B")


def environment(evidence: Evidence, record: Record) -> Finding:
    """All files that are neither code, model nor record are those of the environment's layers."""
    facts = _facts(evidence)
    document, foreign = wanted_document(record, evidence.statement)
    if document is None:
        return refuted("environment", "the record's environment is of no form that is known")
    if not facts.readable:
        return _unread("environment")
    differences = [
        difference
        for path, difference in facts.differences.items()
        if claim_of(path, record.model_path) == "environment" and _counts(facts, path)
    ]
    gone = [digest for digest in document.diff_ids if digest in facts.missing]
    for digest in gone:
        number = document.diff_ids.index(digest) + 1
        if facts.missing[digest]:
            differences.append(
                Difference(path=f"layer {number}", expected=digest, found=facts.missing[digest])
            )
    if not foreign:
        differences += statement_of_another(evidence, record)
    if differences:
        reason = f"not the environment that the {'image statement' if foreign else 'record'} names"
        return refuted("environment", reason, differences, source=_SOURCE, level="B")
    if gone:
        return unproven(
            "environment",
            f"the files of {count(len(gone), 'layer')} cannot be listed: the engine does not have "
            "the image, and neither cache nor layout have the layer",
            cure='make the layers again with "mllock build"',
        )
    if foreign:
        said = f"the files of {count(len(document.diff_ids), 'layer')}"
        return trained_on_another(record, evidence.statement, said, _SOURCE)
    same = f"the files of {count(len(document.diff_ids), 'layer')} are those of the environment "
    same += record.environment
    elsewhere = trained_elsewhere(record, same, _SOURCE)
    return elsewhere or proven("environment", same, source=_SOURCE, level="B")


def configuration(evidence: Evidence, record: Record) -> Finding:
    """The instance runs the image of the statement, as its config says, with nothing over it."""
    facts = _facts(evidence)
    statement = _statement(evidence)
    if facts.problem is not None:
        difference = [facts.problem.difference()]
        reason = "the files of the container cannot be read"
        if is_below(facts.problem.path.removeprefix("/"), SCRATCH):
            # Any program may fill them: this is no sign of anything else.
            return unproven(
                "configuration",
                reason,
                cure="empty its scratch folders",
                source=_SOURCE,
                differences=difference,
            )
        return refuted("configuration", reason, difference, source=_SOURCE, level="B")
    if statement is None:
        return no_statement("configuration")
    settings, names = _settings(statement), statement.runtime_variables
    judged = judge(facts.raw, settings, names, facts.expected, facts.merged, facts.kernel)
    refuting = [*_image(statement, record, facts), *judged.refuting, *_written(facts)]
    if refuting:
        reason = "not as the image statement has it"
        return refuted("configuration", reason, refuting, source=_LIVE, level="B")
    outside = _outside(judged, facts)
    still_open = [*judged.open, *_elsewhere(facts), *_touched(facts)]
    if still_open:
        return unproven(
            "configuration",
            "image and program are those of the image statement, but what it does not know was "
            f"added to them{outside}",
            cure="start it without what is listed here, declare variables in runtime-variables, "
            "or accept it with --allow-unproven configuration",
            source=_LIVE,
            differences=still_open,
        )
    if not facts.whole or facts.missing:
        return unproven(
            "configuration", "not every layer of the image could be listed", cure="see environment"
        )
    return proven(
        "configuration",
        "image, command, user, working folder and variables are those of the image statement, "
        f"and nothing is written or mounted over them{outside}",
        source=_LIVE,
        level="B",
    )


def _facts(evidence: Evidence) -> ContainerFacts:
    assert isinstance(evidence.target, ContainerFacts)
    return evidence.target


def _statement(evidence: Evidence) -> ImageStatement | None:
    return None if evidence.statement is None else evidence.statement.usable


def _settings(statement: ImageStatement) -> Mapping[str, object]:
    found = statement.config.get("config")
    return found if isinstance(found, dict) else {}


def _unread(claim: Claim) -> Finding:
    return unproven(claim, "the files of the container cannot be read", cure=_AGAIN)


def _more(
    facts: ContainerFacts, record: Record, claim: Claim, told: Sequence[Difference]
) -> list[Difference]:
    """Mode, owner and what no manifest can hold: paths of `claim` that were not told yet."""
    known = {difference.path for difference in told}
    return [
        difference
        for path, difference in facts.differences.items()
        if claim_of(path, record.model_path) == claim
        and difference.path not in known
        and _counts(facts, path)
    ]


def _counts(facts: ContainerFacts, path: str) -> bool:
    """Whether a difference refutes: what the image has, and what is where code is looked for."""
    return path in facts.expected or protected(path) or path.startswith("etc/")


def _image(
    statement: ImageStatement, record: Record, facts: ContainerFacts
) -> Iterator[Difference]:
    if statement.kind != "serve":
        yield Difference(path="image statement: kind", expected="serve", found=statement.kind)
    if statement.project != record.project:
        yield Difference(
            path="image statement: project", expected=record.project, found=statement.project
        )
    manifest = facts.image_is_manifest
    wanted = statement.manifest_digest if manifest else statement.config_digest
    if facts.image != wanted:
        yield Difference(path="the image of the container", expected=wanted, found=facts.image)


def _written(facts: ContainerFacts) -> Iterator[Difference]:
    for path, difference in facts.differences.items():
        if _counts(facts, path):
            yield difference


def _elsewhere(facts: ContainerFacts) -> Iterator[Difference]:
    for path, difference in facts.differences.items():
        if not _counts(facts, path):
            yield difference


def _touched(facts: ContainerFacts) -> Iterator[Difference]:
    for path in facts.touched:
        yield Difference(
            path=f"/{path}",
            expected="never written to since the container was made",
            found="written to; it is right now, and may have been read before",
        )


def _outside(judged: Judged, facts: ContainerFacts) -> str:
    listed = list(judged.outside)
    if facts.scratch:
        listed.append(f"{count(facts.scratch, 'file')} in scratch folders")
    state = facts.raw.get("State")
    if facts.kernel is None and isinstance(state, dict) and state.get("Pid"):
        listed.append("mounts made later in its own namespace, which only its machine's root sees")
    return f"; outside of the proof: {', '.join(listed)}" if listed else ""
