"""`mllock build --explain`: what each layer is, whether it had to be made, and why it is another.

What was built last is read from the layout that is written over: manifest, bill of materials and
statement of the image of that kind. So there is no note of its own that could disagree with it, and
what was pulled explains itself as well. Old and new are read by the same function and compared by
`mllock.workflows.changes`. Signatures are not looked at: nothing is decided by an explanation, and
what cannot be read is as good as no earlier build.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllock.attest.bundle import read_bundle
from mllock.attest.image_statement import ImageStatement, read_image_statement
from mllock.core import canonical
from mllock.errors import MllockError
from mllock.image.types import Image, Layer
from mllock.store.cache import Cache
from mllock.store.layout_reader import INDEX, Layout, LayoutImage, open_layout
from mllock.store.oci_json import MEDIA_BUNDLE, MEDIA_SBOM
from mllock.workflows.changes import Facts, Package, image_changes, layer_changes

__all__ = ["Explanation", "LayerExplained", "Past", "explain_against", "look_back"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerExplained:
    """`state` is "new" if this build made it, "cached" if its bytes were in the cache before;
    `changes` say why the image of last time has another one in its place."""

    layer: Layer
    state: str
    changes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """`first` says that there is no earlier image of this kind to compare with; `changes` are of
    the image as a whole."""

    kind: str
    platform: str
    first: bool
    changes: tuple[str, ...]
    layers: tuple[LayerExplained, ...]

    @property
    def same(self) -> bool:
        """Nothing changed since the last build."""
        return not self.first and not self.changes and not any(x.changes for x in self.layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What there was before a build: images by kind and platform, and the names of the cache's
    blobs."""

    images: Mapping[tuple[str, str], Facts]
    blobs: frozenset[str]


def look_back(folder: Path, cache: Cache) -> Past:
    """Before building: it is gone afterwards."""
    images: dict[tuple[str, str], Facts] = {}
    if os.path.lexists(folder / INDEX):
        for kind in ("train", "serve"):
            images |= {(kind, name): facts for name, facts in _from_layout(folder, kind)}
    blobs = cache.root / "blobs" / "sha256"
    return Past(images=images, blobs=frozenset(path.name for path in blobs.glob("??/*")))


def explain_against(past: Past, image: Image, statement: bytes, sbom: bytes) -> Explanation:
    """`image` held against the one of its kind that was there before."""
    now = _facts(
        tuple(layer.diff_id for layer in image.layers),
        canonical.loads(image.config),
        read_image_statement(read_bundle(statement).payload),
        canonical.loads(sbom),
    )
    before = past.images.get((image.kind, image.platform))
    return Explanation(
        kind=image.kind,
        platform=image.platform,
        first=before is None,
        changes=() if before is None else image_changes(before, now),
        layers=tuple(
            LayerExplained(
                layer=layer,
                state="cached" if layer.digest.partition(":")[2] in past.blobs else "new",
                changes=() if before is None else layer_changes(before, now, layer),
            )
            for layer in image.layers
        ),
    )


def _from_layout(folder: Path, kind: str) -> Iterator[tuple[str, Facts]]:
    """What there is of `kind`, by platform."""
    try:
        layout = open_layout(folder)
        images = layout.images(kind) if kind in layout.refs else ()
    except MllockError:
        return
    for image in images:
        config = image.config_value
        facts = _facts_of(layout, image)
        if facts is not None:
            yield f"{config.get('os')}/{config.get('architecture')}", facts


def _facts_of(layout: Layout, image: LayoutImage) -> Facts | None:
    try:
        statement = _statement(layout, image.manifest_digest)
        bills = layout.referrers(image.manifest_digest, MEDIA_SBOM)
        diff_ids = tuple(image.config_value["rootfs"]["diff_ids"])
        for bill in bills:
            value = canonical.loads(bill)
            if value["metadata"]["tools"]["components"][0]["name"] == "mllock":
                return _facts(diff_ids, image.config_value, statement, value)
    except (MllockError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        # Written by others, damaged, or of another version: it explains nothing.
        return None
    return None


def _statement(layout: Layout, digest: Any) -> ImageStatement:
    (bundle,) = layout.referrers(digest, MEDIA_BUNDLE)
    return read_image_statement(read_bundle(bundle).payload)


def _facts(
    diff_ids: tuple[str, ...],
    config: Mapping[str, Any],
    statement: ImageStatement,
    sbom: Mapping[str, Any],
) -> Facts:
    """Raises ValueError, KeyError, TypeError or IndexError for what mllock did not write."""
    image = sbom["metadata"]["component"]
    properties = _properties(image)
    packages = []
    run = None
    for component in sbom["components"]:
        own = _properties(component)
        if component["type"] == "machine-learning-model":
            run = str(component["version"])
        elif component["type"] == "library":
            packages.append(
                Package(
                    name=str(component["name"]),
                    kind="deb" if str(component["purl"]).startswith("pkg:deb/") else "pypi",
                    version=str(component["version"]),
                    sha256=str(component["hashes"][0]["content"]),
                    layer=own.get("layer", ""),
                )
            )
    return Facts(
        diff_ids=diff_ids,
        frame=next((str(x.diff_id) for x in statement.layers if x.kind == "python"), None),
        wheels=_wheels_of_bytecode(statement),
        packages=tuple(packages),
        files={entry.path: entry.line() for entry in statement.code.entries},
        settings=dict(config["config"]),
        params={
            name.removeprefix("param:"): value
            for name, value in properties.items()
            if name.startswith("param:")
        },
        model=statement.model,
        run=run,
        python=properties["python"],
        base=properties["base"],
        base_digest=properties.get("base-digest"),
        bytecode=any(layer.kind == "bytecode" for layer in statement.layers),
        builder_format=properties["builder-format"],
        mllock=str(sbom["metadata"]["tools"]["components"][0]["version"]),
    )


def _wheels_of_bytecode(statement: ImageStatement) -> dict[str, str]:
    """A layer of bytecode has the title of the layer that holds its sources."""
    python = {x.title: str(x.diff_id) for x in statement.layers if x.kind == "python"}
    return {
        str(x.diff_id): python[x.title]
        for x in statement.layers
        if x.kind == "bytecode" and x.title in python
    }


def _properties(component: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(item["name"]).removeprefix("mllock:"): str(item["value"])
        for item in component.get("properties", ())
    }
