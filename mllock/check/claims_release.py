"""The claim `release`: this run is the released one, not revoked, not an older one. Pure.

Order: what trusted statements say can refute; what is missing, doubtful or not trusted, and would
matter if it were there, leaves the claim unproven; only then it is proven. Nothing in the folder of
releases is passed over, so that no damage to a file makes the answer better. The newest release is
the one with the highest number; memory (`marks`) tells an old one that was put back.
Specified in docs/reference/release.md, "What check decides".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from mllock.attest.release import Release, ReleasedGates, rfc3339
from mllock.attest.release_files import Stated
from mllock.check.evidence import ContainerFacts, Evidence, ImageFacts, ReleaseFacts
from mllock.check.findings import not_asked, proven, refuted, unproven
from mllock.check.types import Difference, Finding
from mllock.core.digest import Digest
from mllock.train.record import Record

__all__ = ["newest", "release", "released_gates"]

# Clocks of honest machines differ by less.
MAX_AHEAD = dt.timedelta(days=1)


def newest(statements: Iterable[Stated], project: str, stage: str) -> tuple[Stated, ...]:
    """The believed releases of this stage that have the highest number: one, none, or rivals."""
    found: dict[str, Stated] = {}
    best = 0
    for stated in statements:
        value = stated.release
        if value is None or not stated.believed or stated.digest is None:
            continue
        if (value.project, value.stage) != (project, stage) or value.number < best:
            continue
        if value.number > best:
            best, found = value.number, {}
        found.setdefault(stated.digest, stated)
    return tuple(found.values())


def release(evidence: Evidence, facts: ReleaseFacts, record: Record, model: Finding) -> Finding:
    """`model` is the finding about the bytes, which this claim rests on."""
    revoked = _revoked(facts, record)
    if revoked is not None:
        return revoked
    if facts.stage is None:
        return not_asked("release", "no stage was named")
    top = newest(facts.statements, record.project, facts.stage)
    if not top:
        return _none(facts, record)
    return (
        _refuted(evidence, facts, record, top)
        or _of_model(model)
        or _doubtful(facts, record, top)
        or _no_image(evidence, top[0])
        or _proven(top[0])
    )


def released_gates(
    facts: ReleaseFacts | None, record: Record | None
) -> tuple[ReleasedGates, ...] | None:
    """What the newest release of the stage says of the gates of this run; None if there is none, if
    there are rivals, or if it is of another run."""
    if facts is None or facts.stage is None or record is None:
        return None
    top = newest(facts.statements, record.project, facts.stage)
    if len(top) != 1 or top[0].release is None or top[0].release.record != record.digest:
        return None
    return top[0].release.gates


def _revoked(facts: ReleaseFacts, record: Record) -> Finding | None:
    for stated in facts.statements:
        if not stated.believed or stated.revocations is None or stated.project != record.project:
            continue
        for one in stated.revocations.revoked:
            if one.run == record.run_id or one.record == record.digest:
                return _is_revoked(record, f"on {one.at:%Y-%m-%d}", one.reason, stated.name)
    if facts.stage is None:
        return None
    reason = facts.marks.is_revoked(record.run_id, record.digest)
    if reason is None:
        return None
    return _is_revoked(record, "as this machine has seen before", reason, facts.memory)


def _is_revoked(record: Record, when: str, reason: str, source: str) -> Finding:
    why = f": {reason}" if reason else ""
    return refuted("release", f"run {record.run_id} was revoked {when}{why}", source=source)


def _none(facts: ReleaseFacts, record: Record) -> Finding:
    """No trusted release of the stage is there."""
    assert facts.stage is not None
    doubt = _passed_over(facts, record, 0)
    if doubt is not None:
        return doubt
    seen = facts.marks.stages.get(facts.stage)
    before = "" if seen is None else f"; release {seen.number} was seen before ({facts.memory})"
    return unproven(
        "release",
        f'no release of {record.project} for stage "{facts.stage}" in {facts.place}{before}',
        cure=f"mllock release RUN --stage {facts.stage}, or name the folder of its statements "
        "with --releases DIR",
    )


def _refuted(
    evidence: Evidence, facts: ReleaseFacts, record: Record, top: tuple[Stated, ...]
) -> Finding | None:
    """What the newest trusted release says against it. With rivals, only what all of them say."""
    found = [_against(evidence, facts, record, stated) for stated in top]
    return None if None in found else found[0]


def _against(
    evidence: Evidence, facts: ReleaseFacts, record: Record, stated: Stated
) -> Finding | None:
    value = stated.release
    assert value is not None
    name = f'release {value.number} of stage "{value.stage}"'
    seen = facts.marks.stages.get(value.stage)
    if seen is not None and value.number < seen.number:
        return refuted(
            "release",
            f"{name} is an older one: release {seen.number} was seen before",
            [Difference(path=facts.memory, expected=str(seen.number), found=str(value.number))],
            source=stated.name,
            cure=f"bring release {seen.number} or a later one back; if what was seen was a "
            "mistake, remove the file that remembers it",
        )
    if (value.run, value.record) != (record.run_id, record.digest):
        differences = [Difference(path="run", expected=value.run, found=record.run_id)]
        if value.run == record.run_id:
            differences = [Difference(path="record", expected=value.record, found=record.digest)]
        return refuted("release", f"{name} is of another run", differences, source=stated.name)
    differences = [*_set(value, record), *_images(evidence, value)]
    if differences:
        return refuted("release", f"{name} binds another set", differences, source=stated.name)
    now = facts.marks.now(facts.clock)
    if now >= value.expires:
        back = "" if now == facts.clock else ", as this machine's clock has shown before"
        return refuted(
            "release",
            f"{name} is over since {rfc3339(value.expires)}; it is {rfc3339(now)}{back}",
            source=stated.name,
            cure=f"mllock release {value.run} --stage {value.stage}",
        )
    return None


def _set(value: Release, record: Record) -> Iterator[Difference]:
    for name, expected, found in (
        ("model", value.model, record.model),
        ("lock", value.lock, record.lock_content),
        ("environment", value.environment, record.environment),
    ):
        if expected != found:
            yield Difference(path=name, expected=expected, found=found)


def _images(evidence: Evidence, value: Release) -> Iterator[Difference]:
    """An image is one of the set if config and manifest are, of those that the target has."""
    digests = _digests(evidence)
    bound = [image for image in value.images if image.kind == "serve"]
    if digests is None or not bound or digests == (None, None):
        return
    # An engine may know no manifest; a config names the bytes of all layers.
    config, manifest = digests
    if any(
        config in (None, image.config) and manifest in (None, image.manifest) for image in bound
    ):
        return
    found = [
        Difference(path=name, expected=" or ".join(expected), found=digest)
        for name, expected, digest in (
            ("config", [image.config for image in bound], config),
            ("manifest", [image.manifest for image in bound], manifest),
        )
        if digest is not None and digest not in expected
    ]
    if found:
        yield from found
    else:
        yield Difference(
            path="config and manifest",
            expected="those of one image of the release",
            found=f"{config} and {manifest}, of two",
        )


def _digests(evidence: Evidence) -> tuple[Digest | None, Digest | None] | None:
    """Config and manifest of the image, or of the container's image; None if it is neither."""
    target = evidence.target
    if isinstance(target, ImageFacts):
        return target.config_digest, target.manifest_digest
    if isinstance(target, ContainerFacts):
        return (None, target.image) if target.image_is_manifest else (target.image, None)
    return None


def _of_model(model: Finding) -> Finding | None:
    if model.verdict == "refuted":
        return refuted("release", "what is there is not the model that was released: see model")
    if model.verdict == "not asked":
        return unproven(
            "release",
            f"no bytes of the released model are seen: {model.reason}",
            cure="check the folder, the layout or the image that runs there",
        )
    if model.verdict != "proven":
        return unproven(
            "release", "whether the released model is there is not proven", cure="see model"
        )
    return None


def _doubtful(facts: ReleaseFacts, record: Record, top: tuple[Stated, ...]) -> Finding | None:
    """What is missing or not trusted, and would matter."""
    stated, value = top[0], top[0].release
    assert value is not None
    name = f'release {value.number} of stage "{value.stage}"'
    seen = facts.marks.stages.get(value.stage)
    rivals = [other.name for other in top]
    if len(top) > 1 or (
        seen is not None and seen.number == value.number and seen.statement != stated.digest
    ):
        more = ", ".join(rivals) if len(top) > 1 else f"{stated.name}, and one that was seen before"
        return unproven(
            "release",
            f"there are two that are {name}: {more}",
            cure="release again: the next one has a higher number",
        )
    if value.issued > facts.marks.now(facts.clock) + MAX_AHEAD:
        return unproven(
            "release",
            f"{name} was issued at {rfc3339(value.issued)}, and here it is {rfc3339(facts.clock)}",
            cure="set the clock of this machine, or of the one that released",
            source=stated.name,
        )
    lists = [
        other.revocations.number
        for other in facts.statements
        if other.believed and other.revocations is not None and other.project == record.project
    ]
    known = max(value.revocations, facts.marks.revocations)
    here = max(lists, default=0)
    if here < known:
        has = f"only list {here} is in {facts.place}" if here else f"{facts.place} has none"
        return unproven(
            "release",
            f"list {known} of revocations is known of, and {has}",
            cure="bring the newest list of revocations there; if it is lost, sign it again on a "
            "machine that has seen it: mllock revoke RUN, of a run that it names",
        )
    return _passed_over(facts, record, value.number, here, stated)


def _passed_over(
    facts: ReleaseFacts, record: Record, number: int, lists: int = 0, top: Stated | None = None
) -> Finding | None:
    """The first statement that is not believed, and would matter if it were."""
    for stated in facts.statements:
        if stated.problem is not None:
            return unproven(
                "release",
                f"{stated.name} cannot be read as what it was: {stated.problem}",
                cure=f"bring that file of {facts.place} back, or remove it if it never was good",
            )
        if stated.believed or stated.project != record.project:
            continue
        if top is not None and stated.digest == top.digest:
            continue
        value, listed = stated.release, stated.revocations
        matters = (
            value is not None and value.stage == facts.stage and value.number >= max(number, 1)
        ) or (
            listed is not None
            and (listed.number > lists or any(r.run == record.run_id for r in listed.revoked))
        )
        if matters:
            assert stated.trust is not None
            what = f"release {value.number}" if value is not None else "a list of revocations"
            return unproven(
                "release",
                f"{what} ({stated.name}) is not trusted: {stated.trust.reason} "
                f"({stated.trust.fingerprint})",
                cure=stated.trust.hint
                or f"if it should not be there, remove it from {facts.place}",
            )
    return None


def _no_image(evidence: Evidence, stated: Stated) -> Finding | None:
    value = stated.release
    assert value is not None
    digests = _digests(evidence)
    if digests is None:
        return None
    if digests == (None, None):
        return unproven("release", "which image this is cannot be read", cure="see configuration")
    if not any(image.kind == "serve" for image in value.images):
        return unproven(
            "release",
            f'release {value.number} of stage "{value.stage}" binds no serving image',
            cure=f"mllock build serve --run {value.run}, then release it again",
            source=stated.name,
        )
    return None


def _proven(stated: Stated) -> Finding:
    value, trust = stated.release, stated.trust
    assert value is not None
    assert trust is not None
    who = "own key" if trust.status == "own key" else trust.reason
    return proven(
        "release",
        f'release {value.number} of stage "{value.stage}", until {rfc3339(value.expires)}, '
        f"is run {value.run}; {who} {trust.fingerprint}",
        source=stated.name,
    )
