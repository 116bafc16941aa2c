"""Bills of materials: valid by CycloneDX's strict schema, read by others, the same bytes again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from mllock import __version__
from mllock.attest.sbom import BaseFacts, Ingredient, Licence, Materials, ModelFacts, make_sbom
from mllock.core import canonical
from mllock.core.digest import sha256_of


def sha(text: str) -> Any:
    return sha256_of(text.encode())


LIBC = Ingredient(
    kind="deb",
    name="libstdc++6",
    version="1:12.2.0-14+deb12u1~x",
    architecture="amd64",
    sha256="1" * 64,
    layer=sha("base"),
)
NUMPY = Ingredient(
    kind="pypi",
    name="numpy",
    version="2.1.0+local.1",
    sha256="2" * 64,
    layer=sha("numpy"),
    licences=(Licence(kind="expression", text="BSD-3-Clause AND MIT"),),
)
PANDAS = Ingredient(
    kind="pypi",
    name="pandas",
    version="2.2.2",
    sha256="3" * 64,
    licences=(
        Licence(kind="name", text="BSD License"),
        Licence(kind="name", text='"; DROP <b>'),
    ),
)
MODEL = ModelFacts(
    run="20261123-081501-k3f9",
    record=sha("record"),
    path="out/model",
    digest=sha("model"),
    layer=sha("model layer"),
    metrics={"accuracy": 0.91, "rows": 956, "tiny": 1e-7},
    params={"alpha": 0.5, "fast": True, "name": "né", "seed": 42},
    data={"train": sha("train"), "test": sha("test")},
)
SERVE = Materials(
    project="wine-quality",
    version="1.0.0",
    description="Wine — “good”",
    kind="serve",
    platform="linux/amd64",
    manifest=sha("manifest"),
    config=sha("config"),
    environment=sha("environment"),
    builder_format=0,
    base=BaseFacts(name="debian:bookworm", suite="bookworm"),
    suite="bookworm",
    python="3.11.2",
    ingredients=(PANDAS, LIBC, NUMPY),
    model=MODEL,
)
TRAIN = replace(SERVE, kind="train", description=None, model=None, params={"alpha": 0.5})
IMAGE = BaseFacts(name="example.org/python:3.11", manifest=sha("base"))
OTHER_BASE = replace(TRAIN, base=IMAGE, suite=None, ingredients=(NUMPY,))
DEBS_ABOVE = replace(TRAIN, base=IMAGE, suite="bookworm")
NO_METRICS = replace(SERVE, model=replace(MODEL, metrics={}, params={}, data={}, layer=None))


def problems(data: bytes) -> str | None:
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode())
    return None if found is None else str(found)


@pytest.mark.parametrize("materials", [SERVE, TRAIN, OTHER_BASE, DEBS_ABOVE, NO_METRICS])
def test_the_schema_takes_it(materials: Materials) -> None:
    data = make_sbom(materials)
    assert problems(data) is None
    assert canonical.dumps(canonical.loads(data)) == data


def test_the_schema_would_refuse() -> None:
    """What the validator above is good for: a card on what is no model, an unknown key."""
    for change in (
        lambda bom: bom["components"][0].update(surprise=1),
        lambda bom: model(bom)["modelCard"].update(surprise=1),
        lambda bom: bom.update(serialNumber="urn:uuid:1"),
        lambda bom: bom["components"].append(bom["components"][0]),
        lambda bom: model(bom)["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0].update(
            value=0.5
        ),
    ):
        bom = json.loads(make_sbom(SERVE))
        change(bom)
        assert problems(json.dumps(bom).encode()) is not None


def model(bom: dict[str, Any]) -> dict[str, Any]:
    (found,) = [c for c in bom["components"] if c["type"] == "machine-learning-model"]
    return found


def test_others_read_it() -> None:
    bom = json.loads(make_sbom(SERVE))
    # The library has no model card: it reads the rest.
    del model(bom)["modelCard"]
    read = Bom.from_json(bom)
    assert str(read.metadata.component.type) == "ComponentType.CONTAINER"
    assert {str(c.purl) for c in read.components if c.purl is not None} == {
        "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1~x?arch=amd64&distro=debian-12",
        "pkg:pypi/numpy@2.1.0%2Blocal.1",
        "pkg:pypi/pandas@2.2.2",
    }
    for component in bom["components"]:
        if "purl" in component:
            purl = PackageURL.from_string(component["purl"])
            assert (purl.name, purl.version) == (component["name"], component["version"])
            assert purl.to_string() == component["purl"]


def test_what_is_in_it() -> None:
    bom = json.loads(make_sbom(SERVE))
    assert bom["metadata"]["tools"]["components"][0]["version"] == __version__
    assert "timestamp" not in bom["metadata"]
    assert bom["metadata"]["component"]["hashes"] == [
        {"alg": "SHA-256", "content": sha("manifest").removeprefix("sha256:")}
    ]
    assert [c["bom-ref"] for c in bom["components"]] == [
        "data/test",
        "data/train",
        "model",
        "os",
        "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1~x?arch=amd64&distro=debian-12",
        "pkg:pypi/numpy@2.1.0%2Blocal.1",
        "pkg:pypi/pandas@2.2.2",
    ]
    by_ref = {c["bom-ref"]: c for c in bom["components"]}
    assert by_ref["os"]["name"], by_ref["os"]["version"] == ("debian", "12")
    assert by_ref["pkg:pypi/numpy@2.1.0%2Blocal.1"] == {
        "type": "library",
        "bom-ref": "pkg:pypi/numpy@2.1.0%2Blocal.1",
        "name": "numpy",
        "version": "2.1.0+local.1",
        "purl": "pkg:pypi/numpy@2.1.0%2Blocal.1",
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": "2" * 64}],
        "licenses": [{"expression": "BSD-3-Clause AND MIT", "acknowledgement": "declared"}],
        "properties": [{"name": "mllock:layer", "value": sha("numpy")}],
    }
    assert model(bom) == {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": "wine-quality",
        "version": "20261123-081501-k3f9",
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": sha("model").removeprefix("sha256:")}],
        "properties": [
            {"name": "mllock:layer", "value": sha("model layer")},
            {"name": "mllock:path", "value": "/app/out/model"},
            {"name": "mllock:record", "value": sha("record")},
            {"name": "mllock:run", "value": "20261123-081501-k3f9"},
        ],
        "modelCard": {
            "bom-ref": "model-card",
            "modelParameters": {"datasets": [{"ref": "data/test"}, {"ref": "data/train"}]},
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {"type": "accuracy", "value": "0.91"},
                    {"type": "rows", "value": "956"},
                    {"type": "tiny", "value": "1e-7"},
                ]
            },
            "properties": [
                {"name": "mllock:param:alpha", "value": "0.5"},
                {"name": "mllock:param:fast", "value": "true"},
                {"name": "mllock:param:name", "value": "né"},
                {"name": "mllock:param:seed", "value": "42"},
            ],
        },
    }
    # Data is documented, and no part of what runs.
    assert by_ref["data/train"]["scope"] == "excluded"
    (image, of_model) = bom["dependencies"]
    assert set(by_ref) - set(image["dependsOn"]) == {"data/test", "data/train"}
    assert of_model == {"ref": "model", "dependsOn": ["data/test", "data/train"]}


def test_a_base_that_is_an_image() -> None:
    """Named by digest; what its makers put into it is not known, and that is said."""
    for materials in (OTHER_BASE, DEBS_ABOVE):
        bom = json.loads(make_sbom(materials))
        (base,) = [c for c in bom["components"] if c["bom-ref"] == "base"]
        assert base["name"], base["version"] == ("example.org/python:3.11", sha("base"))
        assert bom["compositions"] == [{"aggregate": "unknown", "assemblies": ["base"]}]
        assert "os" not in [c["bom-ref"] for c in bom["components"]]
    assert "distro=debian-12" in json.dumps(json.loads(make_sbom(DEBS_ABOVE)))
    assert "compositions" not in json.loads(make_sbom(SERVE))


def test_same_values_same_bytes_and_other_values_other_numbers() -> None:
    first = make_sbom(SERVE)
    assert make_sbom(replace(SERVE, ingredients=(NUMPY, PANDAS, LIBC))) == first
    numbers = {json.loads(first)["serialNumber"]}
    for other in (
        TRAIN,
        OTHER_BASE,
        NO_METRICS,
        replace(SERVE, manifest=sha("x")),
        replace(SERVE, ingredients=(PANDAS, LIBC)),
        replace(SERVE, model=replace(MODEL, digest=sha("x"))),
    ):
        numbers.add(json.loads(make_sbom(other))["serialNumber"])
    assert len(numbers) == 7
