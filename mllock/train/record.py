"""The record of a run: an in-toto Statement with SLSA Provenance v1, made and read here.

`make_record` is pure: the same plan, outcome, model and byproducts give the same bytes.
`read_record` takes verified bytes only and reads them strictly: unknown fields are errors, every
part of the lock has its place, and the environment digest is that of the document beside it.
Laws: reading gives back what went in; a record that reads is canonical JSON. Specified field by
field in docs/reference/record.md. Raises RunError.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mllock import __version__
from mllock.attest.statement import digest_set, make_statement, read_statement
from mllock.core import canonical
from mllock.core.digest import Digest, from_hex, parse_digest, sha256_of
from mllock.core.tree import SINGLE, TreeManifest
from mllock.errors import RunError
from mllock.lock.types import Lock
from mllock.spec.types import Scalar
from mllock.train import record_types as wire
from mllock.train.types import CodeIdentity, Outcome, RunPlan

__all__ = ["PREDICATE_TYPE", "Material", "Record", "make_record", "model_subjects", "read_record"]

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
MANIFEST_NAME = "model.manifest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """One artifact of the lock that went in: `name` is its file name, `uri` a package URL."""

    name: str
    uri: str
    digest: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A record, read. `digest` is the sha256 of its payload; `model` the model's tree digest.

    `model_files` are the model's regular files by subject name (`model/PATH`); `lock` is of the
    lock file's bytes, `lock_content` its content digest; `base`, `debs` and `wheels` are in the
    order of the lock. Times are RFC 3339 in UTC.
    """

    digest: Digest
    run_id: str
    mllock: str
    started: str
    finished: str
    project: str
    version: str
    command: tuple[str, ...]
    params: Mapping[str, Scalar]
    model_path: str
    runtime: str
    network: bool
    model: Digest
    model_files: Mapping[str, Digest]
    lock: Digest
    lock_content: Digest
    environment: Digest
    environment_document: Mapping[str, Any]
    facts: Mapping[str, Any]
    wheels_locked: int
    wheels_verified: int
    code: Digest
    commit: str | None
    dirty: bool | None
    data: Mapping[str, Digest]
    base: tuple[Material, ...]
    debs: tuple[Material, ...]
    wheels: tuple[Material, ...]
    byproducts: Mapping[str, Digest] = field(default_factory=dict)


def make_record(
    plan: RunPlan, outcome: Outcome, model: TreeManifest, byproducts: Mapping[str, Digest]
) -> bytes:
    """The payload to sign. Raises ValueError where a value has no canonical JSON."""
    assert plan.spec.train is not None
    wheels = _wheels(plan.lock)
    predicate = {
        "buildDefinition": {
            "buildType": wire.BUILD_TYPE,
            "externalParameters": {
                "project": plan.spec.project.name,
                "version": plan.spec.project.version,
                "command": list(plan.command),
                "params": dict(plan.params),
                "model": plan.spec.train.model,
                "runtime": plan.runtime,
                "network": plan.spec.train.network,
            },
            "internalParameters": {
                "environment": dict(plan.environment_document),
                "facts": dict(outcome.facts),
                "wheels": {"locked": len(wheels), "verified": outcome.wheels_verified},
            },
            "resolvedDependencies": [
                _lock_dependency(plan),
                {
                    "name": "environment",
                    "uri": wire.ENVIRONMENT_URI,
                    "digest": digest_set(plan.environment),
                },
                _code_dependency(plan.code),
                *(
                    {"name": name, "uri": wire.DATA_URI + name, "digest": digest_set(tree.digest)}
                    for name, tree in sorted(plan.data.items())
                ),
                *(_dependency(material) for material in _base(plan.lock)),
                *(_dependency(material) for material in _debs(plan.lock)),
                *(_dependency(material) for material in wheels),
            ],
        },
        "runDetails": {
            "builder": {"id": wire.BUILDER_ID, "version": {"mllock": __version__}},
            "metadata": {
                "invocationId": plan.run_id,
                "startedOn": outcome.started,
                "finishedOn": outcome.finished,
            },
            "byproducts": [
                {"name": name, "digest": digest_set(digest)}
                for name, digest in sorted(byproducts.items())
            ],
        },
    }
    subjects = model_subjects(model, plan.spec.train.model)
    return make_statement(PREDICATE_TYPE, subjects, predicate)


def model_subjects(model: TreeManifest, path: str) -> dict[str, Digest]:
    """The subjects of a record: the manifest, then every file; `path` is `[train] model`.

    A model that is a single file is called `model/NAME`, with the last component of `path`.
    Links and empty folders have no bytes: the manifest alone binds them.
    """
    subjects = {MANIFEST_NAME: model.digest}
    for entry in model.entries:
        if entry.digest is not None:
            name = posixpath.basename(path) if entry.path == SINGLE else entry.path
            subjects[f"model/{name}"] = entry.digest
    return subjects


def read_record(payload: bytes, *, name: str = "record") -> Record:
    """Read a record whose signature was verified."""
    statement = read_statement(payload, PREDICATE_TYPE, name=name)
    subjects = dict(statement.subjects)
    model = subjects.pop(MANIFEST_NAME, None)
    if model is None or statement.subject[0].name != MANIFEST_NAME:
        raise RunError(f"the first subject is not {MANIFEST_NAME}", file=name, key="subject")
    if not all(subject.startswith("model/") for subject in subjects):
        raise RunError("a subject is not a file of the model", file=name, key="subject")
    raw = wire.read_predicate(statement.predicate, name)
    definition, details = raw.build_definition, raw.run_details
    external, internal = definition.external_parameters, definition.internal_parameters
    parts = wire.sort_dependencies(definition.resolved_dependencies, name)
    environment = canonical.digest_of(internal.environment)
    if parts.environment.digest.digest != environment:
        raise RunError(
            "the environment digest is not that of the environment document",
            file=name,
            key="predicate.buildDefinition.resolvedDependencies",
            expected=environment,
            found=parts.environment.digest.digest,
        )
    code = parts.code.annotations
    return Record(
        digest=sha256_of(payload),
        run_id=details.metadata.invocation_id,
        mllock=details.builder.version.mllock,
        started=details.metadata.started_on,
        finished=details.metadata.finished_on,
        project=external.project,
        version=external.version,
        command=external.command,
        params=external.params,
        model_path=external.model,
        runtime=external.runtime,
        network=external.network,
        model=model,
        model_files=subjects,
        lock=parts.lock.digest.digest,
        lock_content=parse_digest(parts.lock.annotations.content_digest),
        environment=environment,
        environment_document=internal.environment,
        facts=internal.facts,
        wheels_locked=internal.wheels.locked,
        wheels_verified=internal.wheels.verified,
        code=parts.code.digest.digest,
        commit=code.commit,
        dirty=code.dirty,
        data={part.name: part.digest.digest for part in parts.data},
        base=_materials(parts.base),
        debs=_materials(parts.debs),
        wheels=_materials(parts.wheels),
        byproducts={part.name: part.digest.digest for part in details.byproducts},
    )


def lock_materials(lock: Lock) -> tuple[tuple[Material, ...], ...]:
    """What a record of `lock` must say about base, debs and wheels, in that order."""
    return _base(lock), _debs(lock), _wheels(lock)


def _materials(parts: tuple[wire.Plain, ...]) -> tuple[Material, ...]:
    return tuple(Material(name=p.name, uri=p.uri, digest=p.digest.digest) for p in parts)


def _base(lock: Lock) -> tuple[Material, ...]:
    images = tuple(
        Material(name=name, uri=wire.BASE_URI + name, digest=parse_digest(image.manifest))
        for image in lock.base.platforms
        if (name := f"{lock.base.reference}?platform={image.platform}")
    )
    return images + tuple(
        Material(
            name=index.suite,
            uri=wire.BASE_URI + index.suite,
            digest=parse_digest(index.inrelease),
        )
        for index in lock.base.indexes
    )


def _debs(lock: Lock) -> tuple[Material, ...]:
    return tuple(
        Material(
            name=posixpath.basename(deb.filename),
            uri=f"{wire.DEB_URI}{_purl(deb.name)}@{_purl(deb.version)}?arch={deb.architecture}",
            digest=from_hex(deb.sha256),
        )
        for deb in lock.system
    )


def _wheels(lock: Lock) -> tuple[Material, ...]:
    return tuple(
        Material(
            name=wheel.name,
            uri=f"{wire.WHEEL_URI}{_purl(package.name)}@{_purl(package.version)}",
            digest=from_hex(wheel.hashes["sha256"]),
        )
        for package in lock.python.packages
        for wheel in package.wheels
    )


def _purl(text: str) -> str:
    # Package URL specification: everything but these is percent-encoded.
    return quote(text, safe=":~.-_")


def _dependency(material: Material) -> dict[str, Any]:
    return {
        "name": material.name,
        "uri": material.uri,
        "digest": digest_set(material.digest),
    }


def _lock_dependency(plan: RunPlan) -> dict[str, Any]:
    return {
        "name": "mlproject.lock",
        "uri": wire.LOCK_URI,
        "digest": digest_set(sha256_of(plan.lock_bytes)),
        "annotations": {"content-digest": plan.lock.content_digest},
    }


def _code_dependency(code: CodeIdentity) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": "code",
        "uri": wire.CODE_URI,
        "digest": digest_set(code.manifest.digest),
    }
    # SLSA: annotations are for facts beside the digest; none where there is no repository.
    if code.commit is not None:
        out["annotations"] = {"commit": code.commit, "dirty": bool(code.dirty)}
    return out
