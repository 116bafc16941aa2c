"""The bill of materials of an image, in CycloneDX 1.6: what is in it, where from, by digest.

On a serving image it is an ML-BOM as well: the model with its card (params, metrics, data sources).
Pure: the same values give the same bytes, no time and no chance in them; so whoever has lock and
run can make it again and compare. It names the image, and is beside it, never inside of it. It is
written here and not by a library, because a library's next version would write other bytes (ADR
0063); the tests hold it against the schema of CycloneDX and a library's reader. Specified in
docs/reference/sbom.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from mllock import __version__
from mllock.core import canonical
from mllock.core.digest import Digest, hex_of, sha256_of
from mllock.core.platform import KNOWN

__all__ = ["BaseFacts", "Ingredient", "Licence", "Materials", "ModelFacts", "make_sbom"]

_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
# Scanners know releases of Debian by number.
_RELEASES = {"bullseye": "11", "bookworm": "12", "trixie": "13"}
_SAFE = ".-_~"  # package-url: everything else is percent-encoded, but for the colon


@dataclass(frozen=True, kw_only=True, slots=True)
class Licence:
    """What a package says of its licence: an SPDX expression, or a name in somebody's words."""

    kind: Literal["expression", "name"]
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingredient:
    """A package of the lock; `sha256` is of its archive, `layer` the diff_id of where it is."""

    kind: Literal["deb", "pypi"]
    name: str
    version: str
    sha256: str
    layer: Digest | None = None
    architecture: str | None = None
    licences: tuple[Licence, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """A trained model, as its record has it. `digest` and those of `data` are tree digests."""

    run: str
    record: Digest
    path: str
    digest: Digest
    layer: Digest | None
    metrics: Mapping[str, float]
    params: Mapping[str, Any]
    data: Mapping[str, Digest]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseFacts:
    """What an image stands on: an image of others with its manifest's digest, or a `suite` that was
    assembled from the packages that are listed."""

    name: str
    suite: str | None = None
    manifest: Digest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """All that a bill says. `suite` is the one of the Debian packages, if there are any; a train
    image runs with `params`."""

    project: str
    version: str
    description: str | None
    kind: str
    platform: str
    manifest: Digest
    config: Digest
    environment: Digest
    builder_format: int
    base: BaseFacts
    suite: str | None
    python: str
    ingredients: tuple[Ingredient, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    model: ModelFacts | None = None


def make_sbom(materials: Materials) -> bytes:
    """The bill as canonical JSON."""
    components = [_ingredient(item, materials.suite) for item in materials.ingredients]
    if materials.base.suite is not None:
        components.append(_system(materials.base.suite))
    if materials.base.manifest is not None:
        components.append(_base(materials.base.name, materials.base.manifest))
    if materials.model is not None:
        components.append(_model(materials.project, materials.model))
        components += [_data(name, tree) for name, tree in materials.model.data.items()]
    components.sort(key=lambda component: str(component["bom-ref"]))
    image = _image(materials)
    parts = [c["bom-ref"] for c in components if c.get("scope") != "excluded"]
    document: dict[str, Any] = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {
                "components": [{"type": "application", "name": "mllock", "version": __version__}]
            },
            "component": image,
        },
        "components": components,
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": parts}],
    }
    if materials.base.manifest is not None:
        # What others put into their image, they know.
        document["compositions"] = [{"aggregate": "unknown", "assemblies": ["base"]}]
    if materials.model is not None:
        sources = [f"data/{name}" for name in sorted(materials.model.data)]
        document["dependencies"].append({"ref": "model", "dependsOn": sources})
    # RFC 9562, 5.5: made of a name, which is the content itself.
    name = f"urn:mllock:sbom:{sha256_of(canonical.dumps(document))}"
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, name).urn
    return canonical.dumps(document)


def _image(materials: Materials) -> dict[str, Any]:
    name, digest = materials.project, materials.manifest
    platform = KNOWN[materials.platform]
    facts = {
        "base": materials.base.name,
        "builder-format": str(materials.builder_format),
        "config": materials.config,
        "environment": materials.environment,
        "kind": materials.kind,
        "platform": materials.platform,
        "python": materials.python,
    }
    if materials.base.manifest is not None:
        facts["base-digest"] = materials.base.manifest
    component: dict[str, Any] = {
        "type": "container",
        "bom-ref": "image",
        "name": name,
        "version": materials.version,
        "purl": f"pkg:oci/{_quoted(name)}@{quote(digest, safe=_SAFE)}?arch={platform.architecture}",
        "hashes": _hashes(hex_of(digest)),
        "properties": _properties(facts) + _params(materials.params),
    }
    if materials.description:
        component["description"] = materials.description
    return component


def _ingredient(item: Ingredient, suite: str | None) -> dict[str, Any]:
    if item.kind == "deb":
        purl = f"pkg:deb/debian/{_quoted(item.name)}@{_quoted(item.version)}?arch="
        purl += _quoted(item.architecture or "")
        if suite is not None:
            purl += f"&distro=debian-{_quoted(_RELEASES.get(suite, suite))}"
    else:
        purl = f"pkg:pypi/{_quoted(item.name)}@{_quoted(item.version)}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": item.name,
        "version": item.version,
        "purl": purl,
        "scope": "required",
        "hashes": _hashes(item.sha256),
    }
    if item.licences:
        component["licenses"] = [_licence(licence) for licence in item.licences]
    if item.layer is not None:
        component["properties"] = _properties({"layer": item.layer})
    return component


def _licence(licence: Licence) -> dict[str, Any]:
    if licence.kind == "expression":
        return {"expression": licence.text, "acknowledgement": "declared"}
    return {"license": {"name": licence.text, "acknowledgement": "declared"}}


def _system(suite: str) -> dict[str, Any]:
    return {
        "type": "operating-system",
        "bom-ref": "os",
        "name": "debian",
        "version": _RELEASES.get(suite, suite),
        "properties": _properties({"suite": suite}),
    }


def _base(name: str, manifest: Digest) -> dict[str, Any]:
    return {
        "type": "container",
        "bom-ref": "base",
        "name": name,
        "version": manifest,
        "scope": "required",
        "hashes": _hashes(hex_of(manifest)),
    }


def _model(project: str, model: ModelFacts) -> dict[str, Any]:
    facts = {"path": f"/app/{model.path}", "record": model.record, "run": model.run}
    if model.layer is not None:
        facts["layer"] = model.layer
    card: dict[str, Any] = {
        "bom-ref": "model-card",
        "modelParameters": {"datasets": [{"ref": f"data/{name}"} for name in sorted(model.data)]},
        "properties": _params(model.params),
    }
    if model.metrics:
        card["quantitativeAnalysis"] = {
            "performanceMetrics": [
                {"type": name, "value": _plain(value)}
                for name, value in sorted(model.metrics.items())
            ]
        }
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": project,
        "version": model.run,
        "scope": "required",
        "hashes": _hashes(hex_of(model.digest)),
        "properties": _properties(facts),
        "modelCard": card,
    }


def _data(name: str, tree: Digest) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": f"data/{name}",
        "name": name,
        # CycloneDX: documented, and not in what runs.
        "scope": "excluded",
        "hashes": _hashes(hex_of(tree)),
        "data": [{"type": "dataset", "name": name}],
    }


def _hashes(value: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": value}]


def _properties(facts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": f"mllock:{name}", "value": value} for name, value in sorted(facts.items())]


def _params(params: Mapping[str, Any]) -> list[dict[str, str]]:
    return _properties({f"param:{name}": _plain(value) for name, value in params.items()})


def _plain(value: object) -> str:
    return value if isinstance(value, str) else canonical.dumps(value).decode("utf-8")


def _quoted(text: str) -> str:
    return quote(text, safe=_SAFE + ":")
