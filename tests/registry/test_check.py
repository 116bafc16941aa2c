"""`mllock check registry:...`: what is deployed, and what only looks like it."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess

import pytest
from support.e2e import MLLOCK
from support.layers import MANIFEST, compact, sha, tar
from support.oci_push import QUICK, opened
from support.registry import docker_config
from support.reporter import Recorder
from support.small_registry import on
from support.tamper import Layout, flip
from support.webserver import Answer, serving
from support.world import OTHER, RUN, finding, paths, verdicts

from mllock.errors import InputError, OfflineError, SurroundingsError
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_INDEX
from mllock.store.registry import limits
from mllock.store.registry.images import graph_of, push_graphs
from mllock.store.registry.reference import parse_reference
from mllock.workflows.check import check_target
from mllock.workflows.publish import build_to_registry

PROVEN = {
    "signature": "proven",
    "lineage": "proven",
    "model": "proven",
    "environment": "unproven",
    "code": "proven",
    "configuration": "proven",
    "behaviour": "not asked",
    "release": "not asked",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Waits as short as the tests'."""
    made = limits.Limits
    monkeypatch.setattr(
        "mllock.store.registry.client.Limits",
        lambda: dataclasses.replace(made(), **{f: getattr(QUICK, f) for f in (
            "connect", "read", "retries", "backoff", "max_wait")}),
    )  # fmt: skip


def context(world, environ=None):
    ctx = world.context()
    return dataclasses.replace(ctx, environ=ctx.environ | (environ or {}))


def deploy(world, host, *kinds, run=None, environ=None):
    done = build_to_registry(
        context(world, environ), kinds or ("serve",), parse_reference(f"{host}/wine:v1"), run
    )
    return done.built.images[0].image


def check(world, host, ref=":v1", environ=None, **options):
    return check_target(context(world, environ), f"registry:{host}/wine{ref}", **options)


def push_layout(world, host, tag="v1", ref="serve"):
    """The layout as it is now, whatever was done to it."""
    layout = open_layout(world.oci)
    image = layout.image(ref)
    with opened(f"{host}/wine") as client:
        graph = graph_of(layout, image)
        push_graphs(client, (graph,), {tag: graph.digest}, Recorder())
    return image


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
    with pytest.raises(InputError) as caught:
        check(world, registry.host)
    assert "a training image holds no model" in str(caught.value)


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
    layout.config["architecture"] = "arm64"
    layout.edit("app/serve.py", lambda _, data: b"print('other')\n")
    layout.save()
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
        "found: linux/arm64, linux/riscv64"
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
        (entry,) = json.loads(client.document(tag).data)["manifests"]
    report = check(world, registry.host, f"@{entry['digest']}", run=RUN)
    assert report.exit_code() == 1
    assert verdicts(report)["configuration"] == "refuted"


# The registry lies.


def layer_of(image, kind):
    return next(layer for layer in image.layers if layer.kind == kind)


@pytest.mark.parametrize("kind", ["python", "code", "model"])
@pytest.mark.parametrize("change", ["byte", "longer", "shorter"])
def test_other_bytes_than_the_digest_names(world, server, kind, change):
    image = deploy(world, server.host)
    layer = layer_of(image, kind)
    data = server.blobs["wine", layer.digest]
    server.blobs["wine", layer.digest] = {
        "byte": flip(data, len(data) // 2),
        "longer": data + b"x",
        "shorter": data[:-1],
    }[change]
    report = check(world, server.host, run=RUN)
    claim = {"python": "environment"}.get(kind, kind)
    assert verdicts(report)[claim] == "refuted"
    assert verdicts(report)["configuration"] == "refuted"
    assert "proven" not in {verdicts(report)[c] for c in ("model", "environment", "code")}
    assert report.exit_code() == 1
    if change == "longer":
        (difference,) = finding(report, claim).differences
        assert (difference.path, difference.expected) == (layer.digest, f"{len(data)} bytes")
        assert difference.found == (
            f"{len(data) + 1} bytes (the registry {server.host} has a blob of another size than "
            "its descriptor says)"
        )


def test_a_header_that_lies_about_the_digest(world, server):
    image = deploy(world, server.host)
    data = server.manifests["wine", image.manifest_digest][1]
    headers = {"Content_Type": MANIFEST, "Docker_Content_Digest": sha(b"good")}
    server.faults.append(on("manifests", lambda r: r.answer(200, data, **headers), times=1))
    report = check(world, server.host, run=RUN)
    (difference,) = finding(report, "configuration").differences
    assert difference.path == "v1"
    assert difference.expected == image.manifest_digest
    assert difference.found == (
        f"{sha(b'good')} (the registry {server.host} says another digest than that of the bytes "
        "it sent)"
    )
    assert report.exit_code() == 1


def test_another_manifest_than_the_digest_names(world, server):
    image = deploy(world, server.host)
    deploy(world, server.host, run=OTHER)
    other = server.manifests["wine", server.tags["wine", "v1"]]
    server.manifests["wine", image.manifest_digest] = other
    report = check(world, server.host, f"@{image.manifest_digest}", run=RUN)
    assert verdicts(report)["configuration"] == "refuted"
    assert report.exit_code() == 1


def test_a_body_that_is_cut_off(world, server):
    """Nothing was found out: an error, and never a verdict."""
    image = deploy(world, server.host)
    layer = layer_of(image, "model")

    def cut(request):
        request.answer(200, server.blobs["wine", layer.digest][:50], length=layer.size)
        request.hang_up()

    def fault(request):
        return request.path.endswith(layer.digest) and (cut(request) or True)

    server.faults.append(fault)
    with pytest.raises(OfflineError) as caught:
        check(world, server.host)
    assert str(caught.value) == (
        f"cannot read {layer.digest}: the registry {server.host} does not answer: "
        "the connection broke\n"
        "hint: check the name, the network and the proxy, then run the same command again"
    )
    assert caught.value.exit_code == 4


def test_a_redirect_with_credentials(world, server, tmp_path):
    """Layers come from elsewhere, as with clouds: the bytes count, the credentials stay."""
    image = deploy(world, server.host)
    layer = layer_of(image, "model")
    data = server.blobs["wine", layer.digest]
    environ = docker_config(tmp_path / "docker", server.host, "ada", "secret")
    for body, verdict in ((data, "proven"), (flip(data, 100), "refuted")):
        with serving({"/there": Answer(body=body)}) as other:
            server.faults.clear()

            def asks(request, other=other):
                if request.headers.get("Authorization") is None:
                    request.answer(401, WWW_Authenticate='Basic realm="x"')
                    return True
                if request.path.endswith(layer.digest):
                    request.answer(307, Location=f"{other.url}/there")
                    return True
                return False

            server.faults.append(asks)
            report = check(world, server.host, environ=environ)
            assert verdicts(report)["model"] == verdict
            assert other.headers
            assert all("Authorization" not in headers for headers in other.headers)


def test_statements_that_are_hidden(world, server):
    """A registry that lists none: the run's own copy is used; away from it, nothing is proven."""
    deploy(world, server.host)
    server.faults.append(lambda r: "/referrers/" in r.path and (r.answer(
        200, compact({"schemaVersion": 2, "manifests": []}), Content_Type=MEDIA_INDEX) or True)
    )  # fmt: skip
    assert verdicts(check(world, server.host)) == PROVEN
    (world.root / "elsewhere").mkdir()
    ctx = dataclasses.replace(context(world), project=world.root / "elsewhere")
    report = check_target(ctx, f"registry:{server.host}/wine:v1", accepted=["environment"])
    assert verdicts(report)["signature"] == "unproven"
    assert verdicts(report)["configuration"] == "unproven"
    assert report.exit_code() == 3


def test_no_such_tag(world, server):
    deploy(world, server.host)
    with pytest.raises(SurroundingsError) as caught:
        check(world, server.host, ":v1.1")
    assert str(caught.value) == (
        f'{server.host}/wine: no tag "v1.1" in this repository\nfound: the tags v1\n'
        'hint: did you mean "v1"?'
    )


def test_nothing_is_written(world, server):
    """With a limit of no bytes for files, the check of a registry is the same."""
    deploy(world, server.host)
    done = subprocess.run(
        [str(MLLOCK), "check", f"registry:{server.host}/wine:v1"],
        cwd=world.project,
        env={**os.environ, **world.context().environ},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "5 of 6 asked claims proven" in done.stdout
