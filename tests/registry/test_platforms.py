"""An image for several platforms in a registry: pushed as an index, and checked there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.deployed_registry import check
from support.layers import MANIFEST, compact
from support.oci_push import opened
from support.world import World, finding, verdicts
from support.world_platforms import AMD, ARM, BOTH, make_two

from mllock.core.digest import sha256_of
from mllock.store.image_index import image_index
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_INDEX
from mllock.store.registry.reference import parse_reference
from mllock.store.registry.upload import push_manifest
from mllock.workflows.publish import Published, build_to_registry
from mllock.workflows.push import push_run

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_two(tmp_path_factory.mktemp("two"))


@pytest.fixture
def two(made: World, tmp_path: Path) -> World:
    copy = made.copy(tmp_path / "w")
    shutil.copytree(made.root / "cache", copy.root / "cache", symlinks=True)
    return copy


def deploy(two: World, host: str, *kinds: str, **options) -> Published:
    return build_to_registry(two.context(), kinds, parse_reference(f"{host}/wine:v1"), **options)


def test_the_tag_is_that_of_the_index(two: World, registry) -> None:
    done = deploy(two, registry.host)
    for kind in ("train", "serve"):
        data = image_index([built.image for built in done.built.of(kind)])
        with opened(f"{registry.host}/wine") as client:
            document = client.document(f"v1-{kind}")
            assert (document.media_type, document.data) == (MEDIA_INDEX, data)
    assert done.sent().lines == tuple(
        f"pushed {registry.host}/wine:v1-{kind}@{done.digests[kind]}" for kind in ("train", "serve")
    )


@pytest.mark.parametrize(("platform", "verdict"), [(AMD, "proven"), (ARM, "unproven")])
def test_checked_there(two: World, registry, platform: str, verdict: str) -> None:
    deploy(two, registry.host, "serve")
    report = check(two, registry.host, platform=platform)
    found = verdicts(report)
    assert found["environment"] == verdict
    assert {found[claim] for claim in ("signature", "lineage", "model", "code")} == {"proven"}
    assert found["configuration"] == "proven"


def test_the_manifest_of_the_other_platform_behind_the_index(two: World, registry) -> None:
    """Both are signed: only the index, which is not, says which is for whom."""
    done = deploy(two, registry.host, "serve")
    entries = json.loads(image_index([built.image for built in done.built.of("serve")]))
    one, other = entries["manifests"]
    one["platform"], other["platform"] = other["platform"], one["platform"]
    with opened(f"{registry.host}/wine") as client:
        push_manifest(client, compact(entries), MEDIA_INDEX, "v1")
    for platform in BOTH:
        report = check(two, registry.host, platform=platform)
        assert verdicts(report)["environment"] == "refuted"
        assert report.exit_code() == 1


def test_one_platform_is_pushed_as_a_manifest(two: World, registry) -> None:
    done = deploy(two, registry.host, "serve", platform=ARM)
    (built,) = done.built.images
    with opened(f"{registry.host}/wine") as client:
        document = client.document("v1")
    assert (document.media_type, document.digest) == (MANIFEST, built.image.manifest_digest)
    assert done.digests["serve"] == built.image.manifest_digest


def test_a_run_is_shared_with_the_images_that_trained(two: World, registry) -> None:
    done = push_run(two.context(), parse_reference(f"{registry.host}/wine:run"))
    assert sorted(done.images) == ["serve", "train"]
    amd = open_layout(two.oci, AMD)
    with opened(f"{registry.host}/wine") as client:
        for kind in done.images:
            assert client.document(f"run-{kind}").digest == amd.image(kind).manifest_digest


@pytest.mark.tools
def test_others_choose_by_platform(two: World, registry) -> None:
    done = deploy(two, registry.host, "serve")
    for built in done.built.of("serve"):
        architecture = built.image.platform.partition("/")[2]
        tool = ["skopeo", f"--override-arch={architecture}", "inspect", "--config"]
        where = f"docker://{registry.host}/wine:v1"
        out = subprocess.run(
            [*tool, "--raw", "--tls-verify=false", where], capture_output=True, check=True
        ).stdout
        assert sha256_of(out) == built.image.config_digest
    assert finding(check(two, registry.host), "model").verdict == "proven"
