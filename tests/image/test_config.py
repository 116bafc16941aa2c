"""OCI documents: valid by the specification's own schemas, and golden."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace
from pathlib import Path

import jsonschema
import msgspec
import pytest
from support.nodes import blob, file, folder, hardlink, symlink
from support.wheels import make_wheel

from mllock.core.canonical import digest_of
from mllock.core.digest import sha256_of
from mllock.image.config import assemble, plan_environment
from mllock.image.environment import document_of_config, environment_document, image_variables
from mllock.image.python import PythonGroup, group_nodes, merge
from mllock.image.resolve import with_parents
from mllock.image.tree import Deflated, Node
from mllock.image.types import ImageConfig, ImagePlan, Layer
from mllock.image.wheel import Prefix, wheel_nodes

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
@pytest.mark.parametrize(("port", "health"), [(None, ()), (8080, ("python", "-c", "pass"))])
def test_the_documents_are_valid(
    platform: str, port: int | None, health: tuple[str, ...], validate_oci
) -> None:
    config = replace(PLAN.config, port=port, health=health)
    image = assemble(replace(PLAN, platform=platform, config=config))
    validate_oci(image.config, "config-schema.json")
    validate_oci(image.manifest, "image-manifest-schema.json")


def test_a_health_check() -> None:
    """In Docker's words (moby, HealthConfig): nanoseconds, and a command without a shell."""
    assert "Healthcheck" not in json.loads(assemble(PLAN).config)["config"]
    plan = replace(PLAN, config=replace(PLAN.config, health=("python", "-c", "pass")))
    assert json.loads(assemble(plan).config)["config"]["Healthcheck"] == {
        "Test": ["CMD", "python", "-c", "pass"],
        "Interval": 10_000_000_000,
        "Timeout": 10_000_000_000,
        "StartPeriod": 300_000_000_000,
        "Retries": 3,
    }


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


def passed_through(tmp_path: Path) -> Node:
    """20,000 times "a" as one stored block: a deflate stream that no compressor chose."""
    data = b"a" * 20_000
    stream = (
        b"\x01" + (20_000).to_bytes(2, "little") + (20_000 ^ 0xFFFF).to_bytes(2, "little") + data
    )
    archive = tmp_path / "archive"
    archive.write_bytes(stream)
    content = Deflated(
        archive=archive, offset=0, compressed=len(stream), size=len(data), crc=zlib.crc32(data)
    )
    return Node(path="opt/big", kind="file", mode=0o644, content=content)


def test_golden_layer(golden, tmp_path: Path) -> None:
    """The vector of docs/reference/builder-format.md."""
    nodes = with_parents(
        [
            file("opt/hello", b"hello\n"),
            file("opt/run", b"#!/bin/sh\n", 0o755),
            symlink("opt/link", "hello"),
            hardlink("opt/again", "opt/hello"),
            folder("tmp", 0o1777),
            file("opt/" + "n" * 120, b"long"),
            passed_through(tmp_path),
        ]
    )
    layer = blob(nodes)
    golden(GOLDENS / "layer.tar.gz", layer)
    assert blob(reversed(nodes)) == layer
    for number, node in enumerate(nodes):
        changed = [
            *nodes[:number],
            msgspec.structs.replace(node, mode=node.mode ^ 1),
            *nodes[number + 1 :],
        ]
        assert blob(changed) != layer
    text = (Path(__file__).parents[2] / "docs/reference/builder-format.md").read_text()
    assert sha256_of(layer) in text
    assert sha256_of(gzip.decompress(layer)) in text


def test_golden_wheel(golden, tmp_path: Path) -> None:
    """The layer of a small wheel and the frame, whatever zlib packed the wheel: the tar."""
    files = {"pkg/__init__.py": b"x = 1\n", "pkg-1.0.data/scripts/run": b"#!python\n"}
    path = tmp_path / "pkg-1.0-py3-none-any.whl"
    path.write_bytes(
        make_wheel("pkg", "1.0", files, entry_points="[console_scripts]\npkg = pkg:main\n")
    )
    group = PythonGroup(
        packages=(),
        prefix=Prefix(),
        python="3.11.2",
        base_interpreter="/usr/bin/python3.11",
        frame=True,
    )
    owned = [*group_nodes(group, {}), ("pkg", wheel_nodes(path, path.name))]
    golden(GOLDENS / "wheel.tar.gz", blob(merge(owned)))


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
