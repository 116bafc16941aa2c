"""The documents of a shared run: index, model, run. Form only, written and read strictly; no IO.

Specified in docs/reference/sharing.md. Law: `read_index(index(...))` gives back what went in.
Readers raise ArchiveError: what comes from a registry is hostile until it was read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, sha256_of
from mllock.core.platform import KNOWN
from mllock.errors import ArchiveError
from mllock.store.oci_json import (
    MEDIA_BUNDLE,
    MEDIA_EMPTY,
    MEDIA_INDEX,
    MEDIA_LAYER,
    MEDIA_MANIFEST,
    MEDIA_SBOM,
    REF_NAME,
    Descriptor,
    Manifest,
    read_index,
    read_manifest,
)

__all__ = [
    "FILE",
    "MAX_RELEASES",
    "MODEL",
    "RUN",
    "RUN_FILES",
    "SHARE",
    "TREE",
    "Entry",
    "Shared",
    "artifact",
    "is_run_file",
    "model_artifact",
    "read_bundle_artifact",
    "read_model",
    "read_run",
    "read_share",
    "run_artifact",
    "share_index",
]

SHARE = "application/vnd.mllock.share.v1"
MODEL = "application/vnd.mllock.model.v1"
RUN = "application/vnd.mllock.run.v1"
TREE = "application/vnd.mllock.tree-manifest.v1"
FILE = "application/vnd.mllock.file.v1"
TITLE = "org.opencontainers.image.title"

RUN_FILES = (
    "code.manifest",
    "data-gates.json",
    "data-gates.sigstore.json",
    "evaluation.sigstore.json",
    "log.txt",
    "metrics.json",
    "mlproject.lock",
    "model-gates.json",
    "model-gates.sigstore.json",
    "model.sig",
    "params.json",
    "record.sigstore.json",
    "serve-image.sigstore.json",
    "train-image.sigstore.json",
)
# What an evaluation wrote about a test source.
EVALUATION_FILE = re.compile(
    r"evaluation/[a-z][a-z0-9_-]{0,63}/(log\.txt|metrics\.json|predictions\.(csv|parquet))"
)
# Releases of the run, and the newest list of revocations.
MAX_RELEASES = 16
_RELEASE = "release"
_UNKNOWN = {"architecture": "unknown", "os": "unknown"}
_MAX_ENTRIES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A manifest that an index names."""

    digest: Digest
    size: int

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": MEDIA_MANIFEST, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What an index holds: `images` by reference name, `statements` and `sboms` about them,
    `releases` and revocations about the run."""

    model: Entry
    run: Entry
    images: Mapping[str, Entry]
    statements: tuple[Entry, ...]
    sboms: tuple[Entry, ...] = ()
    releases: tuple[Entry, ...] = ()


def share_index(shared: Shared, platform: str) -> bytes:
    """The index; `platform` is that of the serving image."""
    known = KNOWN[platform]
    names = {"os": known.os, "architecture": known.architecture}
    if known.variant:
        names["variant"] = known.variant
    entries = [
        _entry(shared.images[ref], None, names if ref == "serve" else _UNKNOWN, ref)
        for ref in ("serve", "train")
        if ref in shared.images
    ]
    entries.append(_entry(shared.model, MODEL, _UNKNOWN, "model"))
    entries.append(_entry(shared.run, RUN, _UNKNOWN, "run"))
    entries += [_entry(statement, MEDIA_BUNDLE, _UNKNOWN, None) for statement in shared.statements]
    entries += [_entry(sbom, MEDIA_SBOM, _UNKNOWN, None) for sbom in shared.sboms]
    entries += [_entry(release, MEDIA_BUNDLE, _UNKNOWN, _RELEASE) for release in shared.releases]
    return canonical.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_INDEX,
            "artifactType": SHARE,
            "manifests": entries,
        }
    )


def _entry(
    entry: Entry, artifact_type: str | None, platform: Mapping[str, str], ref: str | None
) -> dict[str, Any]:
    value = entry.descriptor() | {"platform": dict(platform)}
    if artifact_type is not None:
        value["artifactType"] = artifact_type
    if ref is not None:
        value["annotations"] = {REF_NAME: ref}
    return value


def read_share(data: bytes, name: str) -> Shared:
    """Read an index. Raises ArchiveError."""
    try:
        value = canonical.loads(data)
    except ValueError as error:
        raise ArchiveError(f"not strict JSON: {error}", file=name) from None
    if not isinstance(value, dict) or value.get("artifactType") != SHARE:
        raise ArchiveError(
            "not a shared run",
            file=name,
            expected=f"an index of the type {SHARE}",
            hint='push one with "mllock push"',
        )
    plain = {key: part for key, part in value.items() if key != "artifactType"}
    named: dict[tuple[str | None, str | None], list[Entry]] = {}
    entries = read_index(plain, name)
    if len(entries) > _MAX_ENTRIES:
        raise ArchiveError(f"{len(entries)} manifests, at most {_MAX_ENTRIES}", file=name)
    for entry in entries:
        kind = (entry.artifact_type, entry.ref)
        named.setdefault(kind, []).append(Entry(digest=entry.digest, size=entry.size))
    statements = named.pop((MEDIA_BUNDLE, None), [])
    sboms = named.pop((MEDIA_SBOM, None), [])
    releases = named.pop((MEDIA_BUNDLE, _RELEASE), [])
    images = {}
    for ref in ("serve", "train"):
        if (None, ref) in named:
            images[ref] = _one(named.pop((None, ref)), ref, name)
    model = _one(named.pop((MODEL, "model"), []), "model", name)
    run = _one(named.pop((RUN, "run"), []), "run", name)
    if named:
        kinds = ", ".join(f"{ref} ({kind})" for kind, ref in named)
        raise ArchiveError("an entry of an unknown kind", file=name, found=kinds)
    return Shared(
        model=model,
        run=run,
        images=images,
        statements=tuple(statements),
        sboms=tuple(sboms),
        releases=tuple(releases),
    )


def _one(entries: Sequence[Entry], what: str, name: str) -> Entry:
    if len(entries) != 1:
        raise ArchiveError(f"{len(entries)} entries for the {what}, expected 1", file=name)
    return entries[0]


def model_artifact(tree: bytes, tars: Sequence[Entry], files: Sequence[tuple[str, Entry]]) -> bytes:
    """The model: the text of its tree manifest, tars of small files, large files by path."""
    layers = [{"mediaType": MEDIA_LAYER, "digest": tar.digest, "size": tar.size} for tar in tars]
    layers += [_file(path, entry) for path, entry in files]
    return canonical.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "artifactType": MODEL,
            "config": {"mediaType": TREE, "digest": sha256_of(tree), "size": len(tree)},
            "layers": layers,
        }
    )


def run_artifact(model: Entry, files: Mapping[str, Entry]) -> bytes:
    """The run: files of its folder by name."""
    return artifact(RUN, model, [_file(name, files[name]) for name in sorted(files)])


def artifact(artifact_type: str, subject: Entry, layers: Sequence[Mapping[str, Any]]) -> bytes:
    """An artifact about `subject`, without a config."""
    empty = b"{}"
    return canonical.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": MEDIA_EMPTY, "digest": sha256_of(empty), "size": len(empty)},
            "layers": list(layers),
            "subject": subject.descriptor(),
        }
    )


def _file(name: str, entry: Entry) -> dict[str, Any]:
    return {
        "mediaType": FILE,
        "digest": entry.digest,
        "size": entry.size,
        "annotations": {TITLE: name},
    }


def read_model(data: bytes, name: str) -> Manifest:
    """A model: layers are tars, then files. Raises ArchiveError."""
    manifest = read_manifest(data, name, config_types=(TREE,))
    if manifest.artifact_type != MODEL or manifest.subject is not None:
        raise ArchiveError("not a model", file=name, expected=f"an artifact of the type {MODEL}")
    _layer_types(manifest, (MEDIA_LAYER, FILE), name)
    return manifest


def read_run(data: bytes, name: str, model: Digest) -> dict[str, Descriptor]:
    """The files of a run by name. Raises ArchiveError, also if it is about another model."""
    manifest = read_manifest(data, name)
    if manifest.artifact_type != RUN or manifest.subject is None:
        raise ArchiveError("not a run", file=name, expected=f"an artifact of the type {RUN}")
    if manifest.subject.digest != model:
        raise ArchiveError(
            "a run of another model", file=name, expected=model, found=manifest.subject.digest
        )
    _layer_types(manifest, (FILE,), name)
    files: dict[str, Descriptor] = {}
    for layer in manifest.layers:
        title = layer.annotations.get(TITLE)
        if title is None or not is_run_file(title) or title in files:
            raise ArchiveError("a file that is not of a run", file=name, found=title or "no name")
        files[title] = layer
    for title in ("mlproject.lock", "record.sigstore.json"):
        if title not in files:
            raise ArchiveError(f"{title} is missing", file=name)
    return files


def is_run_file(title: str) -> bool:
    """Whether a file of this name, below the folder of a run, travels."""
    return title in RUN_FILES or EVALUATION_FILE.fullmatch(title) is not None


def read_bundle_artifact(data: bytes, name: str) -> Descriptor:
    """The one bundle of an artifact about a model. Raises ArchiveError."""
    manifest = read_manifest(data, name)
    _layer_types(manifest, (MEDIA_BUNDLE,), name)
    if (
        manifest.artifact_type != MEDIA_BUNDLE
        or manifest.subject is None
        or len(manifest.layers) != 1
    ):
        raise ArchiveError(
            "not a statement", file=name, expected=f"an artifact of the type {MEDIA_BUNDLE}"
        )
    return manifest.layers[0]


def _layer_types(manifest: Manifest, allowed: tuple[str, ...], name: str) -> None:
    for layer in manifest.layers:
        if layer.media_type not in allowed:
            raise ArchiveError("a layer of an unknown type", file=name, found=layer.media_type)
