"""OCI documents: valid by the specification's own schemas, and golden."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from support.nodes import blob, file, folder, hardlink, symlink

from mllock.core.canonical import digest_of
from mllock.core.digest import sha256_of
from mllock.image.config import assemble, plan_environment
from mllock.image.environment import document_of_config, environment_document, image_variables
from mllock.image.resolve import with_parents
from mllock.image.types import ImageConfig, ImagePlan, Layer

GOLDENS = Path(__file__).parents[1] / "goldens" / "image"


def layer(kind: str, number: int) -> Layer:
    return Layer(
        kind=kind,
        title=f"layer {number}",
        digest=sha256_of(f"blob {number}".encode()),
        diff_id=sha256_of(f"tar {number}".encode()),
        size=100 + number,
        unpacked=1000 + number,
    )


PLAN = ImagePlan(
    kind="serve",
    platform="linux/arm64",
    layers=(layer("base", 0), layer("python", 1), layer("code", 2), layer("model", 3)),
    config=ImageConfig(
        command=("uvicorn", "serve:app"),
        variables=image_variables({"OMP_NUM_THREADS": "1", "A": "é=b"}),
        port=8080,
        labels={"org.opencontainers.image.title": "wine-quality", "a": "b"},
    ),
)


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize("port", [None, 8080])
def test_the_documents_are_valid(platform: str, port: int | None, validate_oci) -> None:
    image = assemble(replace(PLAN, platform=platform, config=replace(PLAN.config, port=port)))
    validate_oci(image.config, "config-schema.json")
    validate_oci(image.manifest, "image-manifest-schema.json")


def test_a_wrong_document_is_seen(validate_oci) -> None:
    config = json.loads(assemble(PLAN).config)
    del config["rootfs"]["diff_ids"]
    with pytest.raises(jsonschema.ValidationError):
        validate_oci(json.dumps(config).encode(), "config-schema.json")


def test_goldens(golden) -> None:
    image = assemble(PLAN)
    golden(GOLDENS / "config.json", image.config)
    golden(GOLDENS / "manifest.json", image.manifest)
    changed = assemble(replace(PLAN, config=replace(PLAN.config, workdir="/app2")))
    assert changed.manifest_digest != image.manifest_digest


def test_golden_layer(golden) -> None:
    """docs/reference/builder-format.md shows this layer."""
    nodes = with_parents(
        [
            file("opt/hello", b"hello\n"),
            file("opt/run", b"#!/bin/sh\n", 0o755),
            symlink("opt/link", "hello"),
            hardlink("opt/again", "opt/hello"),
            folder("tmp", 0o1777),
            file("opt/" + "n" * 120, b"long"),
        ]
    )
    golden(GOLDENS / "layer.tar.gz", blob(nodes))
    assert blob(reversed(nodes)) == blob(nodes)


def test_the_environment_digest_of_an_image() -> None:
    image = assemble(PLAN)
    document = plan_environment(PLAN.platform, PLAN.layers, PLAN.config)
    assert document_of_config(json.loads(image.config), 2) == document
    assert image.environment == digest_of(document)


def test_the_vector_of_the_documentation() -> None:
    from mllock.core.platform import KNOWN

    document = environment_document(
        platform=KNOWN["linux/amd64"],
        diff_ids=[sha256_of(b"base"), sha256_of(b"python")],
        variables=image_variables({"OMP_NUM_THREADS": "1"}),
        user="10001:10001",
        workdir="/app",
    )
    text = (Path(__file__).parents[2] / "docs/reference/environment-digest.md").read_text()
    assert digest_of(document) in text
    assert json.dumps(document, sort_keys=True, separators=(",", ":")) in text.replace("\n", "")


def test_what_is_not_the_environment_changes_nothing() -> None:
    image = assemble(PLAN)
    other = replace(
        PLAN,
        kind="train",
        layers=(*PLAN.layers[:2], layer("code", 9)),
        config=replace(PLAN.config, command=("python",), labels={}, port=None),
    )
    assert assemble(other).environment == image.environment
    assert assemble(other).config_digest != image.config_digest


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "0:0"},
        {"workdir": "/"},
        {"variables": {"PATH": "/bin"}},
    ],
)
def test_what_is_the_environment_changes_it(changes) -> None:
    other = replace(PLAN, config=replace(PLAN.config, **changes))
    assert assemble(other).environment != assemble(PLAN).environment
    swapped = replace(PLAN, layers=(PLAN.layers[1], PLAN.layers[0], *PLAN.layers[2:]))
    assert assemble(swapped).environment != assemble(PLAN).environment
    assert assemble(replace(PLAN, platform="linux/amd64")).environment != (
        assemble(PLAN).environment
    )


def test_a_config_that_has_no_environment() -> None:
    config = json.loads(assemble(PLAN).config)
    with pytest.raises(ValueError, match="4 layers, expected at least 5"):
        document_of_config(config, 5)
    with pytest.raises(ValueError, match="4 layers, expected at least 1"):
        document_of_config(config, 0)
    config["config"]["Env"] += ["A=c"]
    with pytest.raises(ValueError, match="a variable without value, or twice: 'A'"):
        document_of_config(config, 2)
    config["config"]["Env"] = ["A"]
    with pytest.raises(ValueError, match="a variable without value, or twice: 'A'"):
        document_of_config(config, 2)
