"""Images of a layout to a registry, with the statements about them.

Order: blobs; manifests and artifacts by digest; tags last, so that nothing is tagged before
everything that it names is there, its statements included. The bytes are those of the layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mllock.core.digest import Digest, hex_of
from mllock.core.ports import Reporter
from mllock.store.layout_reader import MAX_DOCUMENT, Layout, LayoutImage
from mllock.store.oci_json import MEDIA_INDEX, MEDIA_MANIFEST, Descriptor, read_manifest
from mllock.store.registry.client import Registry
from mllock.store.registry.referrers import push_referrer
from mllock.store.registry.transfer import Pushed, push_blobs
from mllock.store.registry.upload import BlobSource, push_manifest

__all__ = ["Graph", "graph_of", "push_graphs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """A manifest and all that has to be there with it: its blobs, artifacts about it."""

    manifest: bytes
    digest: Digest
    blobs: tuple[BlobSource, ...]
    artifacts: tuple[Graph, ...] = ()


def graph_of(layout: Layout, image: LayoutImage) -> Graph:
    """An image of the layout and the artifacts that are about it. Raises ArchiveError."""
    artifacts = []
    for entry in layout.manifests:
        if entry.ref is not None:
            continue
        data = layout.read(entry, max_bytes=MAX_DOCUMENT)
        manifest = read_manifest(data, entry.digest)
        if manifest.subject is not None and manifest.subject.digest == image.manifest_digest:
            blobs = tuple(_source(layout, part) for part in (manifest.config, *manifest.layers))
            artifacts.append(Graph(manifest=data, digest=entry.digest, blobs=blobs))
    return Graph(
        manifest=image.manifest,
        digest=image.manifest_digest,
        blobs=(
            BlobSource.of_bytes(image.config),
            *(_source(layout, layer) for layer in image.layers),
        ),
        artifacts=tuple(artifacts),
    )


def _source(layout: Layout, descriptor: Descriptor) -> BlobSource:
    path = layout.folder / "blobs" / "sha256" / hex_of(descriptor.digest)
    return BlobSource(digest=descriptor.digest, size=descriptor.size, content=path)


def push_graphs(
    registry: Registry,
    graphs: tuple[Graph, ...],
    tags: Mapping[str, Digest],
    reporter: Reporter,
    mount_from: str | None = None,
    indexes: Mapping[Digest, bytes] | None = None,
) -> Pushed:
    """Make the registry have the graphs, then put the tags on manifests of them, or on `indexes`
    of such manifests."""
    sources = [
        source for graph in graphs for part in (graph, *graph.artifacts) for source in part.blobs
    ]
    text = f"pushing to {registry.reference.name}"
    pushed = push_blobs(registry, sources, reporter, text, mount_from)
    manifests = {graph.digest: graph.manifest for graph in graphs}
    for digest, manifest in manifests.items():
        push_manifest(registry, manifest, MEDIA_MANIFEST, digest)
    for graph in graphs:
        for artifact in graph.artifacts:
            push_referrer(registry, artifact.manifest, graph.digest)
    for tag, digest in tags.items():
        index = (indexes or {}).get(digest)
        if index is None:
            push_manifest(registry, manifests[digest], MEDIA_MANIFEST, tag)
        else:
            push_manifest(registry, index, MEDIA_INDEX, tag)
    return pushed
