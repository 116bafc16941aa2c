"""`mllock check registry:...`: what is deployed, and what only looks like it."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest
from support.deployed_registry import PROVEN, check, context, deploy, push_layout
from support.layers import MANIFEST, compact, tar
from support.oci_push import opened
from support.tamper import Layout, flip
from support.world import OTHER, RUN, finding, paths, verdicts

from mllock.errors import InputError, SurroundingsError
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_INDEX
from mllock.store.other_json import MANIFESTS
from mllock.train.runs import open_run
from mllock.workflows.build import build_images
from mllock.workflows.check import check_target
from mllock.workflows.load import load_image

pytestmark = pytest.mark.usefixtures("quick")


def test_untouched(world, registry):
    image = deploy(world, registry.host)
    report = check(world, registry.host)
    assert verdicts(report) == PROVEN
    assert report.exit_code() == 3
    assert report.chosen == (
        f"the image {registry.host}/wine:v1 of a registry, {image.manifest_digest}"
    )
    assert (
        report.checked_bytes == report.expected_bytes == sum(layer.size for layer in image.layers)
    )
    assert check(world, registry.host, accepted=["environment"]).exit_code() == 0


def test_by_digest(world, server):
    image = deploy(world, server.host)
    report = check(world, server.host, f"@{image.manifest_digest}")
    assert verdicts(report) == PROVEN
    assert report.chosen.endswith(f"wine@{image.manifest_digest} of a registry")


@pytest.fixture
def pushed_by_engine(world, registry, engine, engine_host, unique):
    """What `docker push` makes of an image that was loaded; its name there."""
    name = f"{registry.host}/{unique}:v1"

    def push(image=None):
        built = build_images(context(world), ("serve",)).images[0].image
        load_image(context(world), engine, built, (f"{unique}:serve",))
        engine.tag(image or f"{unique}:serve", name)
        docker = ("docker", "--host", engine_host)
        subprocess.run([*docker, "push", "--quiet", name], check=True, capture_output=True)
        return f"registry:{name}"

    yield push
    for tag in (name, f"{unique}:serve"):
        engine.untag(tag)


@pytest.mark.tools
def test_what_an_engine_pushed_is_the_same_image(world, pushed_by_engine, registry, unique):
    target = pushed_by_engine()
    with opened(f"{registry.host}/{unique}") as client:
        manifest = client.document("v1", MANIFESTS)
    assert manifest.media_type == MANIFESTS[1]
    report = check_target(context(world), target, accepted=["environment"])
    assert verdicts(report) == PROVEN
    assert report.exit_code() == 0
    assert report.chosen.endswith(f" of a registry, {manifest.digest}")
    assert finding(report, "configuration").reason == (
        f"config {open_layout(world.oci).image('serve').config_digest} and its "
        f"{len(json.loads(manifest.data)['layers'])} layers are those of the image statement"
    )


@pytest.mark.tools
def test_what_an_engine_pushed_after_a_change(world, pushed_by_engine, engine_host, unique):
    """The model is replaced in a container, which is committed under the same command."""
    pushed_by_engine()
    docker = ("docker", "--host", engine_host)

    def run(*words):
        done = subprocess.run([*docker, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    other = world.root / "other-model"
    other.write_bytes(b"another model")
    made = run("create", f"{unique}:serve")
    try:
        model = f"/app/{open_run(context(world).runs, RUN).record().model_path}"
        run("cp", str(other), f"{made}:{model}/added.bin")
        changed = run("commit", made)
    finally:
        run("rm", "--force", made)
    try:
        target = pushed_by_engine(changed)
        report = check_target(context(world), target)
    finally:
        run("rmi", "--force", changed)
    assert report.exit_code() == 1
    assert verdicts(report)["model"] == verdicts(report)["configuration"] == "refuted"
    assert verdicts(report)["code"] == "proven"
    assert f"{model}/added.bin" in paths(report, "model")


def test_with_a_password_over_tls(world, registry_tls, registry_basic, tmp_path):
    basic = registry_basic.logged_in(tmp_path / "docker")
    for found, environ in ((registry_tls, registry_tls.environ), (registry_basic, basic)):
        deploy(world, found.host, environ=environ)
        assert verdicts(check(world, found.host, environ=environ)) == PROVEN
    with pytest.raises(SurroundingsError):
        check(world, registry_basic.host)


def test_from_the_image_alone(world, server):
    """In another folder than the project: the record is the one that the image carries."""
    deploy(world, server.host)
    (world.root / "elsewhere").mkdir()
    ctx = dataclasses.replace(context(world), project=world.root / "elsewhere")
    report = check_target(ctx, f"registry:{server.host}/wine:v1")
    assert verdicts(report) == PROVEN
    assert report.record == "/opt/mllock/record.sigstore.json (carried in the image)"


# The image is another one.


def test_the_tag_was_moved(world, registry):
    """To the image of another run: it is that run's, and not the one that was asked for."""
    deploy(world, registry.host)
    deploy(world, registry.host, run=OTHER)
    report = check(world, registry.host, run=RUN, accepted=["environment"])
    assert verdicts(report)["model"] == "refuted"
    assert paths(report, "model") == ["/app/out/model/weights.bin"]
    assert report.exit_code() == 1


def test_the_tag_was_moved_to_a_training_image(world, registry):
    deploy(world, registry.host, "train")
    report = check(world, registry.host)
    assert verdicts(report)["model"] == "refuted"
    assert "image statement: kind" in paths(report, "configuration")
    assert report.exit_code() == 1


def test_a_digest_does_not_move(world, registry):
    image = deploy(world, registry.host)
    deploy(world, registry.host, run=OTHER)
    assert verdicts(check(world, registry.host, f"@{image.manifest_digest}")) == PROVEN


@pytest.mark.parametrize("repoint", [True, False])
def test_a_layer_was_replaced(world, registry, repoint):
    """And config, manifest and statement repaired around it."""
    deploy(world, registry.host)
    layout = Layout(world.oci)
    layout.edit("app/out/model/weights.bin", lambda _, data: flip(data))
    layout.save(repoint=repoint)
    push_layout(world, registry.host)
    report = check(world, registry.host, accepted=["environment"])
    assert paths(report, "model") == ["/app/out/model/weights.bin"]
    assert verdicts(report)["configuration"] == "refuted"
    assert report.exit_code() == 1


def test_a_layer_was_added(world, registry):
    layout = Layout(world.oci)
    site = "opt/venv/lib/python3.11/site-packages/sitecustomize.py"
    layout.append(tar([(site, "file", "import os")]))
    layout.save()
    push_layout(world, registry.host)
    report = check(world, registry.host)
    assert paths(report, "environment") == [f"/{site}"]
    assert verdicts(report)["configuration"] == "refuted"


def test_the_configuration_was_changed(world, registry):
    layout = Layout(world.oci)
    layout.config["config"]["Env"].append("LD_PRELOAD=/app/x.so")
    layout.save()
    push_layout(world, registry.host)
    report = check(world, registry.host)
    assert verdicts(report)["environment"] == "refuted"
    assert verdicts(report)["configuration"] == "refuted"


def index_of(client, entries, tag="v1"):
    from mllock.store.registry.upload import push_manifest

    index = {
        "schemaVersion": 2,
        "mediaType": MEDIA_INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": image.manifest_digest,
                "size": len(image.manifest),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, image in entries
        ],
    }
    push_manifest(client, compact(index), MEDIA_INDEX, tag)


@pytest.fixture
def two(world, registry):
    """The image, one that says that it is for arm64, and where they are."""
    right = push_layout(world, registry.host)
    layout = Layout(world.oci)
    layout.config["architecture"] = layout.entry["platform"]["architecture"] = "arm64"
    layout.edit("app/serve.py", lambda _, data: b"print('other')\n")
    layout.save()
    index = world.oci / "index.json"
    index.write_text(index.read_text().replace('"architecture":"amd64"', '"architecture":"arm64"'))
    wrong = push_layout(world, registry.host, "other")
    with opened(f"{registry.host}/wine") as client:
        yield right, wrong, client


def test_an_index(world, two):
    right, wrong, client = two
    index_of(client, [("arm64", wrong), ("amd64", right)])
    report = check(world, client.reference.host)
    assert verdicts(report) == PROVEN
    assert report.chosen.endswith(f", {right.manifest_digest}")


def test_another_platforms_manifest_behind_the_same_index(world, two):
    right, wrong, client = two
    index_of(client, [("arm64", right), ("amd64", wrong)])
    report = check(world, client.reference.host)
    assert "environment.architecture" in paths(report, "environment")
    assert paths(report, "code")[0] == "/app/serve.py"
    assert report.exit_code() == 1


def test_an_index_without_the_platform(world, two):
    right, _, client = two
    index_of(client, [("arm64", right), ("riscv64", right)])
    with pytest.raises(InputError) as caught:
        check(world, client.reference.host)
    assert str(caught.value) == (
        f"{client.reference}:v1: no image for linux/amd64 in this index\n"
        "found: linux/arm64, linux/riscv64\nhint: name one of these with --platform"
    )


def test_an_index_that_engines_read_differently(world, two):
    right, wrong, client = two
    index_of(client, [("amd64", right), ("amd64", wrong)])
    report = check(world, client.reference.host, run=RUN)
    assert verdicts(report)["configuration"] == "refuted"
    (difference,) = finding(report, "configuration").differences
    assert difference.found == "2 manifests for linux/amd64"
    assert report.exit_code() == 1


def test_an_artifact_is_no_image(world, registry):
    image = deploy(world, registry.host)
    with opened(f"{registry.host}/wine") as client:
        tag = image.manifest_digest.replace(":", "-")
        entry, *_ = json.loads(client.document(tag).data)["manifests"]
    report = check(world, registry.host, f"@{entry['digest']}", run=RUN)
    assert report.exit_code() == 1
    assert verdicts(report)["configuration"] == "refuted"
