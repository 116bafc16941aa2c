"""`mllock check registry:...` of a registry that lies, breaks off, hides, or does not know."""

from __future__ import annotations

import dataclasses
import os
import resource
import subprocess

import pytest
from support.deployed_registry import PROVEN, check, context, deploy
from support.e2e import MLLOCK
from support.layers import MANIFEST, compact, sha
from support.registry import docker_config
from support.small_registry import on
from support.tamper import flip
from support.webserver import Answer, serving
from support.world import OTHER, RUN, finding, verdicts

from mllock.errors import OfflineError, SurroundingsError
from mllock.store.oci_json import MEDIA_INDEX
from mllock.workflows.check import check_target

pytestmark = pytest.mark.usefixtures("quick")


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
