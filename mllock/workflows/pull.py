"""`mllock pull`: a shared run from a registry, as a run folder and a layout, verified on the way.

The order of trust is that of docs/reference/sharing.md: documents by digest, the record's
signature by the verifier's own policy, the run by the record, the model's manifest by the record,
files by the manifest, images by digest. The run appears by one rename, the layout's index by
another; before that there is nothing. Nothing of what is pulled is executed.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.bundle import read_bundle
from mllock.attest.policy import Policy, Trust, load_policy
from mllock.core import tree
from mllock.core.digest import Digest
from mllock.core.platform import KNOWN
from mllock.core.tree import TreeManifest
from mllock.errors import AnswerNoError, ArchiveError, InputError, IntegrityError, RunError
from mllock.gates.evaluation import EVALUATION_FOLDER
from mllock.store import atomic
from mllock.store.layout import refuse_other_folders, write_layout
from mllock.store.layout_reader import MAX_DOCUMENT, LayoutImage
from mllock.store.oci_json import (
    MEDIA_BUNDLE,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    MEDIA_SBOM,
    Descriptor,
    Manifest,
    read_config,
    read_manifest,
)
from mllock.store.registry.client import Document, Registry
from mllock.store.registry.parallel import run_all
from mllock.store.registry.reference import Reference
from mllock.store.registry.share import (
    Entry,
    Shared,
    read_model,
    read_run,
    read_share,
)
from mllock.train.record import Record, read_record
from mllock.train.runs import RunFolder, publish_run
from mllock.workflows.build import default_output, environment_label
from mllock.workflows.context import Context
from mllock.workflows.pull_model import fetch_model, refuse_full_disk
from mllock.workflows.push import LATEST, refuse_changed_files, refuse_changed_gates
from mllock.workflows.share_releases import read_releases, write_releases

__all__ = ["PulledRun", "pull_run"]

SPEC = "mlproject.toml"
MAX_RUN_FILE = 256 * 1024 * 1024
MAX_TREE = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class PulledRun:
    """What is here now; `releases` by their files. `there` says that the run was here before."""

    run: RunFolder
    record: Record
    trust: Trust
    digest: Digest
    images: tuple[str, ...]
    releases: tuple[str, ...]
    there: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    """An image as `write_layout` takes it; its layers are in the cache."""

    platform: str
    layers: tuple[Descriptor, ...]
    config: bytes
    manifest: bytes
    manifest_digest: Digest


def pull_run(ctx: Context, reference: Reference, policy: Path | None = None) -> PulledRun:
    """Restore the run that `reference` (default tag: latest) names. Raises InputError for what is
    no shared run or cannot go here, AnswerNoError for a signature that is refuted, IntegrityError,
    SurroundingsError."""
    refuse_other_folders(default_output(ctx))
    with _tidy(ctx), Registry(reference, ctx.environ) as registry:
        name = reference.digest or reference.tag or LATEST
        index = registry.document(name)
        if index.media_type != MEDIA_INDEX:
            raise ArchiveError(
                "not a shared run",
                file=str(reference),
                found="an image or artifact",
                hint='name the tag that "mllock push" printed',
            )
        shared = read_share(index.data, str(reference))
        documents = _documents(ctx, registry, shared, policy)
        record = documents.record
        releases = read_releases(
            ctx,
            registry,
            [(entry.digest, _document(registry, entry).data) for entry in shared.releases],
            record,
            policy,
        )
        final = ctx.runs / record.run_id
        there = final.exists()
        if there:
            run = _same(RunFolder(final), documents.bundle)
        else:
            run = _run(ctx, registry, documents)
        write_releases(ctx, releases)
        images = _images(ctx, registry, shared)
    return PulledRun(
        run=run,
        record=record,
        trust=documents.trust,
        digest=index.digest,
        images=images,
        releases=tuple(releases),
        there=there,
    )


@contextlib.contextmanager
def _tidy(ctx: Context) -> Iterator[None]:
    """A pull that fails leaves no empty folders where there was nothing."""
    try:
        yield
    finally:
        for folder in (ctx.state / "tmp", ctx.state):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _document(registry: Registry, entry: Entry) -> Document:
    document = registry.document(entry.digest, (MEDIA_MANIFEST,))
    if len(document.data) != entry.size:
        raise ArchiveError(
            "not the size that the index says",
            file=entry.digest,
            expected=f"{entry.size} bytes",
            found=f"{len(document.data)} bytes",
        )
    return document


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """The documents of a shared run, its record's signature not refuted."""

    model: Manifest
    files: dict[str, Descriptor]
    bundle: bytes
    record: Record
    trust: Trust
    policy: Policy


def _documents(ctx: Context, registry: Registry, shared: Shared, policy: Path | None) -> _Shared:
    model = read_model(_document(registry, shared.model).data, shared.model.digest)
    files = read_run(_document(registry, shared.run).data, shared.run.digest, shared.model.digest)
    bundle = registry.read(files["record.sigstore.json"], max_bytes=MAX_DOCUMENT)
    verifier = load_policy(policy, ctx.config_dir, ctx.environ)
    record, trust = _trusted(ctx, bundle, verifier)
    if model.config.digest != record.model:
        raise ArchiveError(
            "the model is not the one that the record names",
            file=shared.model.digest,
            expected=record.model,
            found=model.config.digest,
        )
    return _Shared(
        model=model, files=files, bundle=bundle, record=record, trust=trust, policy=verifier
    )


def _run(ctx: Context, registry: Registry, shared: _Shared) -> RunFolder:
    record = shared.record
    text = registry.read(shared.model.config, max_bytes=MAX_TREE)
    try:
        manifest = tree.parse(text)
    except ValueError as error:
        digest = shared.model.config.digest
        raise ArchiveError(f"not a tree manifest: {error}", file=digest) from None
    with atomic.staging(ctx.state / "tmp") as staging:
        staged = staging / record.run_id
        staged.mkdir()
        refuse_full_disk(staged, manifest.size)
        refuse_full_disk(staged, sum(file.size for file in shared.files.values()))
        for title, descriptor in shared.files.items():
            if title.startswith(f"{EVALUATION_FOLDER}/"):
                # Predictions may be larger than what is held.
                with atomic.writing(staged / title) as file:
                    file.writelines(registry.stream(descriptor))
                continue
            data = registry.read(descriptor, max_bytes=MAX_RUN_FILE)
            atomic.write_bytes(staged / title, data)
        atomic.write_bytes(staged / "record.json", read_bundle(shared.bundle).payload)
        atomic.write_bytes(staged / "model.manifest", text)
        refuse_changed_files(RunFolder(staged))
        refuse_changed_gates(RunFolder(staged), shared.policy)
        _model(ctx, registry, shared.model, manifest, staged / "model", record)
        return publish_run(staged, ctx.runs, record.run_id)


def _trusted(ctx: Context, bundle_bytes: bytes, policy: Policy) -> tuple[Record, Trust]:
    """The record, if its signature is not refuted."""
    bundle = read_bundle(bundle_bytes)
    record = read_record(bundle.payload)
    trust = policy.decide(record.project, bundle)
    if trust.refuted:
        raise AnswerNoError(
            f"the record's signature is refused: {trust.reason}",
            file=record.run_id,
            found=trust.fingerprint,
            hint=trust.hint,
        )
    _refuse_other_project(ctx, record)
    return record, trust


def _refuse_other_project(ctx: Context, record: Record) -> None:
    from mllock.spec.reader import load_spec

    path = ctx.project / SPEC
    if not path.is_file():
        return
    project = load_spec(path).spec.project.name
    if project != record.project:
        raise InputError(
            "the run is of another project than this folder",
            file=SPEC,
            key="project.name",
            expected=record.project,
            found=project,
            hint="pull into an empty folder",
        )


def _same(run: RunFolder, bundle_bytes: bytes) -> RunFolder:
    """The run that is here, which has to be the one that would be pulled."""
    try:
        there = run.bundle_bytes()
        run.record()
    except RunError:
        there = b""
    if there != bundle_bytes:
        raise RunError(
            "another run of this name is here",
            file=str(run.path),
            hint="pull into an empty folder, or move it away",
        )
    return run


def _model(
    ctx: Context,
    registry: Registry,
    artifact: Manifest,
    manifest: TreeManifest,
    folder: Path,
    record: Record,
) -> None:
    from mllock.data.scan import scan

    single = posixpath.basename(record.model_path)
    with ctx.reporter.progress(f"pulling the model of run {record.run_id}", manifest.size) as moved:
        fetch_model(registry, artifact, manifest, folder, single, moved)
    found = scan(folder / single if manifest.is_single_file else folder, name="model")
    if found.digest != record.model:
        raise IntegrityError(
            "the model that was written is not the one that was read",
            file=str(folder),
            expected=record.model,
            found=found.digest,
        )


def _images(ctx: Context, registry: Registry, shared: Shared) -> tuple[str, ...]:
    """The images into the project's layout; their references."""
    if not shared.images:
        return ()
    images = {ref: _image(registry, ref, entry) for ref, entry in shared.images.items()}
    about = {ref: image.manifest_digest for ref, image in images.items()}
    statements = _beside(registry, shared.statements, MEDIA_BUNDLE, about)
    sboms = _beside(registry, shared.sboms, MEDIA_SBOM, about)
    _layers(ctx, registry, {d.digest: d for image in images.values() for d in image.layers})
    labels = {environment_label(image) for image in images.values()}
    write_layout(
        default_output(ctx),
        {ref: _for_layout(image) for ref, image in images.items()},
        statements,
        ctx.cache,
        keep=lambda other: environment_label(other) in labels,
        sboms=sboms,
    )
    return tuple(images)


def _beside(
    registry: Registry, entries: Sequence[Entry], artifact_type: str, about: Mapping[str, Digest]
) -> dict[str, bytes]:
    """The contents of artifacts by the image that they are about; at most one for each."""
    found: dict[str, bytes] = {}
    for entry in entries:
        manifest = read_manifest(_document(registry, entry).data, entry.digest)
        subject = manifest.subject.digest if manifest.subject is not None else None
        named = [ref for ref, digest in about.items() if digest == subject]
        right = manifest.artifact_type == artifact_type and len(manifest.layers) == 1
        if not right or len(named) != 1 or named[0] in found:
            what = "statement" if artifact_type == MEDIA_BUNDLE else "bill of materials"
            raise ArchiveError(f"not a {what} about one of the images", file=entry.digest)
        found[named[0]] = registry.read(manifest.layers[0], max_bytes=MAX_DOCUMENT)
    return found


def _image(registry: Registry, ref: str, entry: Entry) -> LayoutImage:
    data = _document(registry, entry).data
    manifest = read_manifest(data, entry.digest)
    if manifest.artifact_type is not None or manifest.subject is not None:
        raise ArchiveError("an artifact, expected an image", file=entry.digest)
    config = registry.read(manifest.config, max_bytes=MAX_DOCUMENT)
    return LayoutImage(
        ref=ref,
        manifest=data,
        manifest_digest=entry.digest,
        config=config,
        config_digest=manifest.config.digest,
        config_value=read_config(config, manifest.config.digest, len(manifest.layers)),
        layers=manifest.layers,
    )


def _for_layout(image: LayoutImage) -> _Image:
    value = image.config_value
    platform = f"{value.get('os')}/{value.get('architecture')}"
    if platform not in KNOWN:
        raise ArchiveError(
            "an image of an unknown platform", file=image.config_digest, found=platform
        )
    return _Image(
        platform=platform,
        layers=image.layers,
        config=image.config,
        manifest=image.manifest,
        manifest_digest=image.manifest_digest,
    )


def _layers(ctx: Context, registry: Registry, layers: dict[Digest, Descriptor]) -> None:
    """Layers into the cache; those that are there, by their bytes, are not fetched."""
    there = ctx.cache.get_all(layers)
    missing = [layer for digest, layer in layers.items() if there[digest] is None]
    total = sum(layer.size for layer in missing)
    if not missing:
        return
    with ctx.reporter.progress(f"pulling {len(missing)} layers", total) as advance:
        run_all(registry, [_Layer(ctx, registry, layer, advance).fetch for layer in missing])


@dataclass(frozen=True, slots=True)
class _Layer:
    ctx: Context
    registry: Registry
    descriptor: Descriptor
    advance: Callable[[int], None]

    def fetch(self) -> None:
        layer = self.descriptor
        with self.ctx.cache.writer(expected=layer.digest, max_bytes=layer.size) as writer:
            for chunk in self.registry.stream(layer):
                writer.write(chunk)
                self.advance(len(chunk))
            writer.commit()
