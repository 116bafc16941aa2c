"""`mllock check` of an image for several platforms, of which one trained the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.world import RUN, World, finding, verdicts
from support.world_platforms import AMD, ARM, make_two

from mllock.core.digest import Digest, hex_of, sha256_of
from mllock.core.platform import image_platform
from mllock.errors import InputError
from mllock.store.image_index import image_index
from mllock.store.layout_reader import LayoutImage, open_layout
from mllock.workflows.build import build_images

PROVEN = ("signature", "lineage", "model", "code", "configuration")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_two(tmp_path_factory.mktemp("two"))


@pytest.fixture
def two(made: World, tmp_path: Path) -> World:
    copy = made.copy(tmp_path / "w")
    shutil.copytree(made.root / "cache", copy.root / "cache", symlinks=True)
    return copy


def test_where_it_was_trained_all_is_proven(two: World) -> None:
    report = two.check("oci:.mllock/oci", platform=AMD)
    assert report.exit_code() == 0
    assert {claim: verdicts(report)[claim] for claim in (*PROVEN, "environment")} == dict.fromkeys(
        (*PROVEN, "environment"), "proven"
    )


def test_elsewhere_the_environment_is_unproven_and_says_why(two: World) -> None:
    report = two.check("oci:.mllock/oci", platform=ARM)
    found = verdicts(report)
    assert {claim: found[claim] for claim in PROVEN} == dict.fromkeys(PROVEN, "proven")
    image = open_layout(two.oci, ARM).image("serve")
    digest = image.config_value["config"]["Labels"]["mllock.environment"]
    environment = finding(report, "environment")
    assert (environment.verdict, environment.reason, environment.cure) == (
        "unproven",
        f"trained on linux/amd64, this is for linux/arm64: 3 layers are the environment {digest} "
        "of the image statement, made from the same lock",
        "check the image for linux/amd64, train on linux/arm64, or accept it with "
        "--allow-unproven environment",
    )
    assert report.exit_code() == 3
    accepted = two.check("oci:.mllock/oci", platform=ARM, accepted=("environment",))
    assert accepted.exit_code() == 0


def test_the_default_is_this_machines(two: World) -> None:
    own = two.check("oci:.mllock/oci")
    named = two.check("oci:.mllock/oci", platform=image_platform())
    assert own.findings == named.findings


def test_a_platform_that_is_not_there(two: World) -> None:
    with pytest.raises(InputError) as caught:
        two.check("oci:.mllock/oci", platform="linux/riscv64")
    assert "found: linux/amd64, linux/arm64" in str(caught.value)


def test_one_image_of_another_platform_than_was_asked_for(two: World) -> None:
    build_images(two.context(), ("serve",), output=two.root / "one", platform=ARM)
    target = f"oci:{two.root}/one"
    assert verdicts(two.check(target, platform=ARM))["environment"] == "unproven"
    report = two.check(target, platform=AMD)
    (difference,) = finding(report, "environment").differences
    assert (difference.path, difference.expected, difference.found) == ("platform", AMD, ARM)
    assert report.exit_code() == 1


def documents(two: World, platform: str) -> LayoutImage:
    return open_layout(two.oci, platform).image("serve")


def blob(two: World, digest: str) -> Path:
    return two.oci / "blobs" / "sha256" / hex_of(Digest(digest))


def put(two: World, data: bytes) -> str:
    digest = sha256_of(data)
    path = blob(two, digest)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return digest


def forge(two: World, change) -> None:
    """The arm64 serving image with another config and layers, all digests above it made right."""
    old = documents(two, ARM)
    config = json.loads(old.config)
    manifest = json.loads(old.manifest)
    change(config, manifest)
    data = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    manifest["config"] |= {"digest": put(two, data), "size": len(data)}
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    index = json.loads((two.oci / "index.json").read_text())
    top = next(e for e in index["manifests"] if "serve" in e.get("annotations", {}).values())
    inner = json.loads(blob(two, top["digest"]).read_text())
    for entry in inner["manifests"]:
        if entry["digest"] == old.manifest_digest:
            entry |= {"digest": put(two, data), "size": len(data)}
    data = json.dumps(inner, sort_keys=True, separators=(",", ":")).encode()
    top |= {"digest": put(two, data), "size": len(data)}
    (two.oci / "index.json").write_text(json.dumps(index))


def test_another_layer_of_the_environment(two: World) -> None:
    """That it is for another platform weakens no verdict about bytes that are not the signed."""
    amd = documents(two, AMD)

    def change(config, manifest) -> None:
        manifest["layers"][0] |= {"digest": amd.layers[0].digest, "size": amd.layers[0].size}
        config["rootfs"]["diff_ids"][0] = amd.config_value["rootfs"]["diff_ids"][0]

    forge(two, change)
    report = two.check("oci:.mllock/oci", platform=ARM)
    assert verdicts(report)["environment"] == "refuted"
    assert verdicts(report)["configuration"] == "refuted"
    assert two.check("oci:.mllock/oci", platform=AMD).exit_code() == 0


def test_another_variable(two: World) -> None:
    forge(two, lambda config, _: config["config"]["Env"].append("LD_PRELOAD=/app/x.so"))
    report = two.check("oci:.mllock/oci", platform=ARM, accepted=("environment",))
    assert verdicts(report)["environment"] == "refuted"
    assert report.exit_code() == 1


def test_an_image_that_only_says_that_it_is_for_another_platform(two: World) -> None:
    """Without a trusted statement about it, it is held against what trained, and is refuted."""
    shutil.copytree(two.oci, two.root / "there")
    index = json.loads((two.root / "there" / "index.json").read_text())
    index["manifests"] = [e for e in index["manifests"] if "artifactType" not in e]
    (two.root / "there" / "index.json").write_text(json.dumps(index))
    shutil.rmtree(two.oci)
    (two.run / "serve-image.sigstore.json").unlink()
    report = two.check(f"oci:{two.root}/there", platform=ARM, run=RUN)
    assert verdicts(report)["environment"] == "refuted"
    paths = [difference.path for difference in finding(report, "environment").differences]
    assert "environment.architecture" in paths


def test_a_statement_of_somebody_else(two: World, policy, other_key) -> None:
    """A policy that trusts another key: nothing is proven, and nothing is weakened."""
    report = two.check("oci:.mllock/oci", platform=ARM, policy=policy(other_key.public))
    assert verdicts(report)["environment"] != "proven"
    assert report.exit_code() == 1


def test_the_record_of_the_other_platform(tmp_path: Path) -> None:
    """Trained on arm64: the lineage is that part of the lock, and amd64 is the other platform."""
    world = make_two(tmp_path / "two", trained=ARM)
    assert world.check("oci:.mllock/oci", platform=ARM).exit_code() == 0
    report = world.check("oci:.mllock/oci", platform=AMD)
    assert verdicts(report)["lineage"] == "proven"
    assert finding(report, "environment").reason.startswith(
        "trained on linux/arm64, this is for linux/amd64"
    )


def test_the_index_is_that_of_its_images(made: World) -> None:
    result = build_images(made.context())
    top = next(e for e in open_layout(made.oci).manifests if e.ref == "serve")
    assert top.digest == sha256_of(image_index([b.image for b in result.of("serve")]))
