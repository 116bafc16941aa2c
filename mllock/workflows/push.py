"""`mllock push`: a run with its model, record, lock, statements and images, into a registry.

The form is that of docs/reference/sharing.md. Order: the run is read by form, the registry is
asked, blobs, manifests by digest, artifacts about them, the images' tags, the index's tag last.
Files of the model are verified on their way: small ones while the tar is made, large ones by the
registry, whose refusal is looked into.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock.attest.bundle import read_bundle
from mllock.attest.image_statement import ImageStatement, read_image_statement
from mllock.attest.policy import Policy, load_policy
from mllock.core.digest import Digest, sha256_of
from mllock.core.platform import KNOWN
from mllock.core.tree import SINGLE, TreeManifest
from mllock.core.tree import Entry as TreeEntry
from mllock.errors import ArchiveError, InputError, RunError
from mllock.gates.evaluation import EVALUATION_BUNDLE, EVALUATION_FOLDER, problems_beside
from mllock.image.folder import tree_nodes
from mllock.image.layers import make_layer
from mllock.image.resolve import with_parents
from mllock.store.layout_reader import Layout, LayoutImage, open_layout
from mllock.store.oci_json import (
    MEDIA_BUNDLE,
    MEDIA_INDEX,
    MEDIA_SBOM,
    read_manifest,
)
from mllock.store.registry.client import Registry
from mllock.store.registry.images import Graph, graph_of, push_graphs
from mllock.store.registry.reference import Reference
from mllock.store.registry.share import (
    RUN_FILES,
    Entry,
    Shared,
    artifact,
    is_run_file,
    model_artifact,
    run_artifact,
    share_index,
)
from mllock.store.registry.transfer import Pushed
from mllock.store.registry.upload import BlobSource, push_manifest
from mllock.store.regular import hash_regular
from mllock.train.outputs import MAX_PREDICTIONS
from mllock.train.record import Record
from mllock.train.runs import RunFolder, newest_good, open_run
from mllock.workflows.build import default_output, environment_label
from mllock.workflows.context import Context
from mllock.workflows.publish import tag_of
from mllock.workflows.share_releases import release_graphs

__all__ = ["LATEST", "PushedRun", "push_run", "refuse_changed_files", "refuse_changed_gates"]

LATEST = "latest"
# docs/reference/sharing.md: parts of the form.
LARGE = 1024 * 1024
TAR_BYTES = 32 * 1024 * 1024
MAX_LARGE = 900
# The log may be nobody else's business; recorded answers never are a false server's.
MAY_BE_MISSING = ("log.txt", "probes.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class PushedRun:
    """What is there now: `reference` and `digest` of the index, `images` by kind."""

    run: str
    model: Digest
    reference: Reference
    digest: Digest
    images: dict[str, Reference]
    pushed: Pushed


def push_run(
    ctx: Context, reference: Reference, run_id: str | None = None, mount_from: str | None = None
) -> PushedRun:
    """Push the run `run_id` (default: the newest good one). Raises RunError if there is none,
    IntegrityError for a file that changed, SurroundingsError."""
    names = {kind: tag_of(reference, kind, alone=False) for kind in ("serve", "train")}
    run = _choose(ctx, run_id)
    record = run.record()
    refuse_changed_files(run)
    refuse_changed_gates(run, load_policy(None, ctx.config_dir, ctx.environ))
    with Registry(reference, ctx.environ) as registry:
        registry.greet()
        layout, images = _images(ctx, record)
        model = _model(ctx, run, record)
        graphs = [graph_of(layout, image) for image in images] if layout is not None else []
        pushed = push_graphs(
            registry,
            (*graphs, model),
            {names[image.ref]: image.manifest_digest for image in images},
            ctx.reporter,
            mount_from,
        )
        index = _index(images, graphs, model)
        tag = reference.tag or LATEST
        push_manifest(registry, index, MEDIA_INDEX, tag)
    return PushedRun(
        run=run.id,
        model=record.model,
        reference=reference.tagged(tag),
        digest=sha256_of(index),
        images={image.ref: reference.tagged(names[image.ref]) for image in images},
        pushed=pushed,
    )


def _choose(ctx: Context, run_id: str | None) -> RunFolder:
    if run_id is None:
        run = newest_good(ctx.runs, None)
        if run is None:
            raise RunError("there is no good run to push", hint='make one with "mllock train"')
        return run
    run = open_run(ctx.runs, run_id)
    if run.failure() is not None:
        raise RunError("the run failed: there is no model to push", file=run.id)
    return run


def refuse_changed_files(run: RunFolder) -> None:
    """Raises RunError for a file of the run that is not what the record says, or not there, unless
    it is one that need not travel."""
    record = run.record()
    run.model_manifest()
    run.lock_bytes()
    for name, expected in record.byproducts.items():
        data = _read(run.path / name)
        if data is None:
            if name in MAY_BE_MISSING:
                continue
            raise RunError("no such file in the run", file=f"{run.id}/{name}")
        if sha256_of(data) != expected:
            raise RunError(
                "not the bytes that the record names",
                file=f"{run.id}/{name}",
                expected=expected,
                found=sha256_of(data),
            )


def refuse_changed_gates(run: RunFolder, policy: Policy) -> None:
    """Raises RunError for an evaluation or gates that are not as their statements say, or whose
    signature the policy refutes."""
    for problem in problems_beside(run, run.record(), policy):
        raise problem


def _images(ctx: Context, record: Record) -> tuple[Layout | None, list[LayoutImage]]:
    """The images of the layout that are of this run, the serving image first."""
    folder = default_output(ctx)
    if not folder.exists():
        ctx.reporter.note('no images yet: see "mllock build"; the model is pushed without')
        return None, []
    # A run is shared with the images of the platform that it was trained on.
    trained = record.environment_document
    layout = open_layout(folder, f"{trained.get('os')}/{trained.get('architecture')}")
    found = []
    for ref in ("serve", "train"):
        if ref not in layout.refs:
            continue
        image = layout.image(ref)
        if ref == "serve":
            belongs = record.digest in {s.record for s in _statements(layout, image)}
        else:
            belongs = environment_label(image) == record.environment
        if belongs:
            found.append(image)
        else:
            ctx.reporter.warn(
                f"the {ref} image in {folder} is not of run {record.run_id}: it is left out; "
                f'"mllock build {ref}{" --run " + record.run_id if ref == "serve" else ""}" '
                "makes the one that is"
            )
    return layout, found


def _statements(layout: Layout, image: LayoutImage) -> Iterator[ImageStatement]:
    for data in layout.referrers(image.manifest_digest, MEDIA_BUNDLE):
        try:
            yield read_image_statement(read_bundle(data).payload)
        except RunError:
            continue  # somebody's statement about something else


def _model(ctx: Context, run: RunFolder, record: Record) -> Graph:
    """The model's artifact, and those about it: run, record, releases."""
    manifest, root = run.model_manifest(), run.model_path()
    single = posixpath.basename(record.model_path)
    files = [entry for entry in manifest.entries if entry.digest is not None]
    large = [entry for entry in files if entry.size >= LARGE]
    if len(large) > MAX_LARGE:
        raise InputError(
            f"a model of {len(large)} files of 1 MiB and more, at most {MAX_LARGE} can be pushed",
            file=run.id,
            hint="let the program write fewer and larger files",
        )
    blobs: dict[Digest, BlobSource] = {}
    titled: list[tuple[str, Entry]] = []
    for entry in large:
        assert entry.digest is not None
        path = root if entry.path == SINGLE else root / entry.path
        if entry.digest not in blobs:
            blobs[entry.digest] = BlobSource(digest=entry.digest, size=entry.size, content=path)
            title = f"model/{single if entry.path == SINGLE else entry.path}"
            titled.append((title, Entry(digest=entry.digest, size=entry.size)))
    tars = list(_tars(ctx, root, [e for e in files if e.size < LARGE], single))
    tree = manifest.text()
    data = model_artifact(tree, [Entry(digest=t.digest, size=t.size) for t in tars], titled)
    subject = Entry(digest=sha256_of(data), size=len(data))
    return Graph(
        manifest=data,
        digest=subject.digest,
        blobs=(BlobSource.of_bytes(tree), *tars, *blobs.values()),
        artifacts=(*_run_artifacts(run, subject), *release_graphs(ctx, record, subject)),
    )


def _run_artifacts(run: RunFolder, subject: Entry) -> tuple[Graph, ...]:
    """The run, and its record on its own."""
    empty = BlobSource.of_bytes(b"{}")
    files: dict[str, BlobSource] = {}
    for name in RUN_FILES:
        data = _read(run.path / name)
        if data is not None:
            files[name] = BlobSource.of_bytes(data)
    files |= _evaluation_files(run)
    entries = {name: Entry(digest=s.digest, size=s.size) for name, s in files.items()}
    whole = run_artifact(subject, entries)
    bundle = entries["record.sigstore.json"]
    layer = {"mediaType": MEDIA_BUNDLE, "digest": bundle.digest, "size": bundle.size}
    record = artifact(MEDIA_BUNDLE, subject, [layer])
    return (
        Graph(manifest=whole, digest=sha256_of(whole), blobs=(empty, *files.values())),
        Graph(manifest=record, digest=sha256_of(record), blobs=(empty,)),
    )


def _evaluation_files(run: RunFolder) -> dict[str, BlobSource]:
    """What an evaluation left, if there is a statement about it. Predictions are not held."""
    found: dict[str, BlobSource] = {}
    if not (run.path / EVALUATION_BUNDLE).is_file():
        return found
    for path in sorted((run.path / EVALUATION_FOLDER).glob("*/*")):
        name = f"{EVALUATION_FOLDER}/{path.parent.name}/{path.name}"
        if is_run_file(name) and path.is_file() and not path.is_symlink():
            digest = hash_regular(path, max_bytes=MAX_PREDICTIONS)
            found[name] = BlobSource(digest=digest, size=path.stat().st_size, content=path)
    return found


def _read(path: Path) -> bytes | None:
    if path.is_symlink() or not path.is_file():
        return None
    return path.read_bytes()


def _tars(
    ctx: Context, root: Path, small: Sequence[TreeEntry], single: str
) -> Iterator[BlobSource]:
    """Small files together, in the order of the manifest, each tar of at most TAR_BYTES of them."""
    batch: list[TreeEntry] = []
    held = 0
    for number, entry in enumerate(small):
        batch.append(entry)
        held += entry.size
        last = number + 1 == len(small)
        if last or held + small[number + 1].size > TAR_BYTES:
            prefix = f"model/{single}" if entry.path == SINGLE else "model"
            nodes = with_parents(tree_nodes(root, TreeManifest(tuple(batch)), prefix))
            layer = make_layer(ctx.cache, "model", "model", nodes)
            path = ctx.cache.blob_path(layer.digest)
            yield BlobSource(digest=layer.digest, size=layer.size, content=path)
            batch, held = [], 0


def _index(images: Sequence[LayoutImage], graphs: Sequence[Graph], model: Graph) -> bytes:
    run, _, *releases = model.artifacts
    shared = Shared(
        model=Entry(digest=model.digest, size=len(model.manifest)),
        run=Entry(digest=run.digest, size=len(run.manifest)),
        images={
            image.ref: Entry(digest=image.manifest_digest, size=len(image.manifest))
            for image in images
        },
        statements=tuple(_about(graphs, MEDIA_BUNDLE)),
        sboms=tuple(_about(graphs, MEDIA_SBOM)),
        releases=tuple(
            Entry(digest=release.digest, size=len(release.manifest)) for release in releases
        ),
    )
    platform = next((_platform(image) for image in images if image.ref == "serve"), "linux/amd64")
    return share_index(shared, platform)


def _about(graphs: Sequence[Graph], artifact_type: str) -> Iterator[Entry]:
    """What mllock put beside the images, at most one for each. What others put there is pushed with
    them, and is not a part of the run."""
    for graph in graphs:
        subject = Entry(digest=graph.digest, size=len(graph.manifest))
        for part in graph.artifacts:
            layers = read_manifest(part.manifest, part.digest).layers
            content = [
                {"mediaType": artifact_type, "digest": layer.digest, "size": layer.size}
                for layer in layers
            ]
            own = artifact(artifact_type, subject, content)
            if len(layers) == 1 and part.manifest == own:
                yield Entry(digest=part.digest, size=len(part.manifest))
                break


def _platform(image: LayoutImage) -> str:
    value = f"{image.config_value.get('os')}/{image.config_value.get('architecture')}"
    if value not in KNOWN:
        raise ArchiveError("an image of an unknown platform", file=image.ref, found=value)
    return value
