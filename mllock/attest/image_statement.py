"""Image statements: what `mllock build` says about an image, next to it and never inside of it.

An in-toto Statement v1 whose subjects are the image's config and manifest, so that the statement
can be found from either. The predicate holds all that `check` compares a deployed image with.
Specified in docs/reference/record.md. Values only; raises RunError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mllock.attest.statement import Strict, make_statement, read_statement
from mllock.core import canonical, tree
from mllock.core.digest import Digest, parse_digest
from mllock.core.tree import TreeManifest
from mllock.errors import RunError

__all__ = ["PREDICATE_TYPE", "ImageStatement", "LayerFact", "make_image_statement"]
__all__ += ["read_image_statement"]

PREDICATE_TYPE = "urn:mllock:predicate:image:1"

DigestText = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
NonEmpty = Annotated[str, Meta(min_length=1)]
LayerKind = Literal["base", "system", "python", "bytecode", "code", "model", "record"]
ImageKind = Literal["train", "serve"]


class _Environment(Strict, frozen=True, kw_only=True):
    digest: DigestText
    document: dict[str, Any]


class _Layer(Strict, frozen=True, kw_only=True):
    kind: LayerKind
    title: str
    diff_id: DigestText


class _Code(Strict, frozen=True, kw_only=True):
    digest: DigestText
    manifest: str


class _Materials(Strict, frozen=True, kw_only=True):
    record: DigestText | None
    lock: DigestText
    code: _Code
    model: DigestText | None


class _Predicate(Strict, frozen=True, kw_only=True):
    project: NonEmpty
    kind: ImageKind
    platform: NonEmpty
    environment: _Environment
    layers: Annotated[tuple[_Layer, ...], Meta(min_length=1)]
    config: dict[str, Any]
    runtime_variables: tuple[NonEmpty, ...]
    materials: _Materials


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFact:
    """One layer, bottom up: what it is for and the digest of its uncompressed tar."""

    kind: LayerKind
    title: str
    diff_id: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageStatement:
    """What a statement says. `record` and `model` are there for a serve image only.

    `config_digest` and `manifest_digest` name the image; `environment` is the digest of
    `environment_document`; `lock` is the lock's content digest; `record` is the sha256 of the
    record's payload; `model` its tree digest.
    """

    project: str
    kind: ImageKind
    platform: str
    config_digest: Digest
    manifest_digest: Digest
    environment: Digest
    environment_document: Mapping[str, Any]
    layers: tuple[LayerFact, ...]
    config: Mapping[str, Any]
    runtime_variables: tuple[str, ...]
    lock: Digest
    code: TreeManifest
    record: Digest | None = None
    model: Digest | None = None


def make_image_statement(
    *,
    project: str,
    kind: ImageKind,
    platform: str,
    config_digest: Digest,
    manifest_digest: Digest,
    environment_document: Mapping[str, Any],
    layers: Sequence[LayerFact],
    config: Mapping[str, Any],
    runtime_variables: Sequence[str],
    lock: Digest,
    code: TreeManifest,
    record: Digest | None = None,
    model: Digest | None = None,
) -> bytes:
    """The payload to sign. Law: `read_image_statement` gives back what went in."""
    predicate = {
        "project": project,
        "kind": kind,
        "platform": platform,
        "environment": {
            "digest": canonical.digest_of(environment_document),
            "document": environment_document,
        },
        "layers": [
            {"kind": layer.kind, "title": layer.title, "diffId": layer.diff_id} for layer in layers
        ],
        "config": config,
        "runtimeVariables": list(runtime_variables),
        "materials": {
            "record": record,
            "lock": lock,
            "code": {"digest": code.digest, "manifest": code.text().decode("utf-8")},
            "model": model,
        },
    }
    subjects = {"config": config_digest, "manifest": manifest_digest}
    return make_statement(PREDICATE_TYPE, subjects, predicate)


def read_image_statement(payload: bytes, *, name: str = "image statement") -> ImageStatement:
    """Read strictly, digests of what is inside recomputed. Only verified bytes belong here."""
    statement = read_statement(payload, PREDICATE_TYPE, name=name)
    subjects = statement.subjects
    if set(subjects) != {"config", "manifest"}:
        raise RunError("the subjects are not config and manifest", file=name, key="subject")
    try:
        raw = msgspec.convert(statement.predicate, _Predicate)
        code = tree.parse(raw.materials.code.manifest.encode("utf-8"))
    except ValueError as error:
        raise RunError(f"not an image statement: {error}", file=name, key="predicate") from None
    _expect(name, "environment", canonical.digest_of(raw.environment.document), raw.environment)
    _expect(name, "materials.code", code.digest, raw.materials.code)
    serve = raw.kind == "serve"
    if serve != (raw.materials.record is not None) or serve != (raw.materials.model is not None):
        raise RunError(
            "record and model belong to a serve image, and only to one",
            file=name,
            key="predicate.materials",
        )
    return ImageStatement(
        project=raw.project,
        kind=raw.kind,
        platform=raw.platform,
        config_digest=subjects["config"],
        manifest_digest=subjects["manifest"],
        environment=parse_digest(raw.environment.digest),
        environment_document=raw.environment.document,
        layers=tuple(
            LayerFact(kind=layer.kind, title=layer.title, diff_id=parse_digest(layer.diff_id))
            for layer in raw.layers
        ),
        config=raw.config,
        runtime_variables=raw.runtime_variables,
        lock=parse_digest(raw.materials.lock),
        code=code,
        record=_optional(raw.materials.record),
        model=_optional(raw.materials.model),
    )


def _expect(name: str, key: str, found: Digest, stated: _Environment | _Code) -> None:
    if found != stated.digest:
        raise RunError(
            "the digest is not that of what is written beside it",
            file=name,
            key=f"predicate.{key}.digest",
            expected=found,
            found=stated.digest,
        )


def _optional(text: str | None) -> Digest | None:
    return None if text is None else parse_digest(text)
