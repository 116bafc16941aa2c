"""The claim `lineage`: the record's materials are those of the lock that it names. Pure.

The lock is found by content digest among candidates; which one was found does not matter, for the
record signs that digest. A copy that was kept for the record must be equal to the byte. For an
image, what it carries about itself (`/opt/mllock`) must be this record and its lock and manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mllock.check.claims_image import named_for
from mllock.check.document import document_of
from mllock.check.evidence import Endpoint, Evidence, FoundTree, ImageFacts
from mllock.check.findings import count, proven, refuted, unproven
from mllock.check.types import Difference, Finding
from mllock.core.digest import Digest, is_digest
from mllock.image.environment import image_variables
from mllock.image.read import Member
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.types import Lock
from mllock.probes.types import NAME as PROBES
from mllock.train.record import Material, Record, lock_materials

__all__ = ["lineage"]

LOCK_NAME = "mlproject.lock"
CARRIED = "opt/mllock"


def lineage(evidence: Evidence, record: Record) -> Finding:
    differences = [
        *_locks(evidence, record),
        *_kept(evidence, record),
        *_carried(evidence, record),
        *_statement(evidence, record),
    ]
    lock = _the_lock(evidence, record)
    if lock is not None:
        differences += _materials(lock, record)
    if differences:
        return refuted(
            "lineage", "the record and its lock do not agree", [*differences, *evidence.judged]
        )
    if evidence.judged:
        return refuted(
            "lineage",
            "evaluation or gates beside the run are not what was signed about it",
            evidence.judged,
            cure="judge the run again: mllock evaluate, or mllock gates RUN for those of the data",
        )
    if lock is None:
        return unproven(
            "lineage",
            f"no lock with the content digest {record.lock_content} was found",
            cure="check in the project that trained it, or name its run with --run RUN",
        )
    missing = _missing(evidence, record)
    if missing:
        return unproven(
            "lineage",
            f"missing from the run folder {evidence.run}: {', '.join(missing)}",
            cure="bring them back from a copy of the run: the record has their digests",
        )
    return proven(
        "lineage",
        f"base, {count(len(record.debs), 'deb')}, {count(len(record.wheels), 'wheel')} and "
        f"{count(len(record.data), 'data source')} are those of the lock",
        source=f"{evidence.record.name} and the lock it names",
    )


def _the_lock(evidence: Evidence, record: Record) -> Lock | None:
    for found in evidence.locks:
        if found.lock is not None and found.lock.content_digest == record.lock_content:
            return found.lock
    return None


def _locks(evidence: Evidence, record: Record) -> Iterator[Difference]:
    for found in evidence.locks:
        if found.copy and found.digest != record.lock:
            yield Difference(path=found.name, expected=record.lock, found=found.digest)
        elif found.problem is not None:
            yield found.problem.difference()


def _kept(evidence: Evidence, record: Record) -> Iterator[Difference]:
    if evidence.run is not None and evidence.run != record.run_id:
        yield Difference(path=evidence.record.name, expected=evidence.run, found=record.run_id)
    files = _files(record)
    for name, digest in sorted(evidence.kept.items()):
        if name == LOCK_NAME and is_digest(digest):
            continue  # `_locks` says it
        if digest != files.get(name):
            yield Difference(
                path=f"{evidence.run}/{name}", expected=files.get(name, "nothing"), found=digest
            )
    if evidence.model_signature is not None:
        yield Difference(
            path=f"{evidence.run}/model.sig",
            expected="the signature of the record's signer about this model",
            found=evidence.model_signature,
        )
    code = record.byproducts.get("code.manifest")
    # The digest of a tree is the sha256 of its manifest.
    if code is not None and code != record.code:
        yield Difference(path="code.manifest", expected=record.code, found=code)


def _files(record: Record) -> dict[str, Digest]:
    """What the folder of a run keeps, by name: what `mllock train` left there, and no more."""
    return {
        **record.byproducts,
        "record.json": record.digest,
        "model.manifest": record.model,
        LOCK_NAME: record.lock,
    }


def _missing(evidence: Evidence, record: Record) -> list[str]:
    if evidence.run is None:
        return []
    # The answers to probes are secret: `behaviour` asks for them, and says so.
    return sorted(_files(record).keys() - evidence.kept.keys() - {PROBES})


def _carried(evidence: Evidence, record: Record) -> Iterator[Difference]:
    target = evidence.target
    if isinstance(target, FoundTree | Endpoint):
        return
    if not target.readable:
        if isinstance(target, ImageFacts):
            yield from named_for("lineage", evidence, target)
        return
    expected: dict[str, Digest] = {
        LOCK_NAME: record.lock,
        "model.manifest": record.model,
        "record.sigstore.json": record.digest,
    }
    carried = {
        path.removeprefix(f"{CARRIED}/"): member
        for path, member in target.merged.items()
        if path.startswith(f"{CARRIED}/")
    }
    for name in sorted({*expected, *carried}):
        found = _digest(name, carried.get(name))
        if name not in expected or found != expected[name]:
            yield Difference(
                path=f"/{CARRIED}/{name}", expected=expected.get(name) or "nothing", found=found
            )


def _digest(name: str, member: Member | None) -> str:
    """The digest that says what a carried file is; of a bundle it is that of its payload."""
    if member is None:
        return "nothing"
    if name != "record.sigstore.json" or member.data is None:
        return member.digest or f"a {member.kind}"
    from mllock.attest.bundle import read_bundle
    from mllock.errors import RunError

    try:
        return read_bundle(member.data).payload_digest
    except RunError as error:
        return f"{member.digest} ({error.message})"


def _statement(evidence: Evidence, record: Record) -> Iterator[Difference]:
    statement = None if evidence.statement is None else evidence.statement.usable
    if statement is None:
        return
    assert evidence.statement is not None
    pairs: Mapping[str, tuple[str, str | None]] = {
        "record": (record.digest, statement.record),
        "lock": (record.lock_content, statement.lock),
        "model": (record.model, statement.model),
    }
    for name, (expected, found) in pairs.items():
        if expected != found:
            yield Difference(
                path=f"{evidence.statement.name}: materials.{name}",
                expected=expected,
                found=found or "nothing",
            )


def _materials(lock: Lock, record: Record) -> Iterator[Difference]:
    """Of a lock for several platforms, what is for the one that it was trained on."""
    document = document_of(record)
    platform = None if document is None else f"{document.os}/{document.architecture}"
    if platform not in platforms_of(lock):
        yield Difference(
            path="environment: platform",
            expected=" or ".join(platforms_of(lock)),
            found=platform or "nothing",
        )
        return
    base, debs, wheels = lock_materials(narrowed(lock, platform))
    for name, expected, found in (
        ("base", base, record.base),
        ("debs", debs, record.debs),
        ("wheels", wheels, record.wheels),
    ):
        yield from _compare(name, _by_uri(expected), _by_uri(found))
    yield from _compare("data", {k: pin.tree for k, pin in lock.data.items()}, record.data)
    variables = lock.inputs.environment.get("variables")
    yield from _compare(
        "environment.variables",
        image_variables(
            variables if isinstance(variables, dict) else {},
            None if document is None else lock.base.on(f"{document.os}/{document.architecture}"),
        ),
        {} if document is None else document.variables,
    )


def _by_uri(materials: tuple[Material, ...]) -> dict[str, str]:
    return {f"{material.name} ({material.uri})": material.digest for material in materials}


def _compare(
    kind: str, expected: Mapping[str, str], found: Mapping[str, str]
) -> Iterator[Difference]:
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            yield Difference(
                path=f"{kind}: {name}",
                expected=expected.get(name, "nothing"),
                found=found.get(name, "nothing"),
            )
