"""`mllock build --output registry:...`: what is there afterwards, and what others make of it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.exported import ENGINE, exported, ours
from support.layers import BUNDLE
from support.oci_push import opened
from support.small_registry import small_registry
from support.unpacked import unpacked
from support.world import RUN

from mllock.cli.main import run
from mllock.errors import SurroundingsError
from mllock.image.read import merge, read_layer
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import read_manifest
from mllock.store.registry.reference import parse_reference
from mllock.store.registry.referrers import find_referrers
from mllock.workflows.publish import build_to_registry


def build(world, reference, *kinds, environ=None, **options):
    ctx = dataclasses.replace(world.context(), environ=world.context().environ | (environ or {}))
    return build_to_registry(ctx, kinds, parse_reference(reference), **options), ctx


def tool(*command):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    ("tag", "kinds", "tags"),
    [
        (":v1", (), ["v1-serve", "v1-train"]),
        ("", (), ["serve", "train"]),
        (":v1", ("serve",), ["v1"]),
        ("", ("train",), ["train"]),
    ],
)
def test_tags(world, server, tag, kinds, tags):
    done, _ = build(world, f"{server.host}/team/wine{tag}", *kinds)
    assert sorted(name for _, name in server.tags) == tags
    for built in done.built.images:
        named = done.images[built.image.kind]
        assert server.tags["team/wine", named.tag] == built.image.manifest_digest


def test_what_is_there(world, registry):
    done, _ = build(world, f"{registry.host}/team/wine:v1")
    layout = open_layout(world.oci)
    with opened(f"{registry.host}/team/wine") as client:
        for kind in ("train", "serve"):
            image = layout.image(kind)
            document = client.document(f"v1-{kind}")
            assert document.data == image.manifest
            manifest = read_manifest(document.data, "-")
            assert client.read(manifest.config, max_bytes=10**6) == image.config
            for layer in image.layers:
                assert b"".join(client.stream(layer)) == b"".join(layout.stream(layer))
            (statement,) = find_referrers(client, image.manifest_digest, BUNDLE)
            (bundle,) = layout.referrers(image.manifest_digest, BUNDLE)
            assert client.read(statement[1].layers[0], max_bytes=10**6) == bundle
    assert done.pushed.sent > 0
    again, _ = build(world, f"{registry.host}/team/wine:v2")
    assert (again.pushed.uploaded, again.pushed.sent) == (0, 0)
    elsewhere, _ = build(world, f"{registry.host}/other", mount_from="team/wine")
    assert elsewhere.pushed.uploaded == 0
    assert elsewhere.pushed.mounted == again.pushed.there


def test_with_a_password_over_tls(world, registry_tls, registry_basic, tmp_path):
    build(world, f"{registry_tls.host}/a", environ=registry_tls.environ)
    build(world, f"{registry_basic.host}/a", environ=registry_basic.logged_in(tmp_path / "docker"))


@pytest.mark.tools
def test_skopeo_and_umoci(world, registry, tmp_path):
    build(world, f"{registry.host}/team/wine:v1")
    for kind in ("train", "serve"):
        image = open_layout(world.oci).image(kind)
        copy = tmp_path / kind
        source = f"docker://{registry.host}/team/wine:v1-{kind}"
        tool("skopeo", "copy", "--src-tls-verify=false", source, f"oci:{copy}:x")
        copied = open_layout(copy)
        assert copied.image("x").manifest_digest == image.manifest_digest
        tool("umoci", "unpack", "--image", f"{copy}:x", tmp_path / f"{kind}-bundle")
        layers = [
            read_layer(copied.stream(layer), "layer", hashed=lambda _: True)
            for layer in copied.image("x").layers
        ]
        assert unpacked(tmp_path / f"{kind}-bundle" / "rootfs") == merge(layers)


@pytest.mark.tools
def test_docker_pulls(world, registry, engine, engine_host, unique):
    build(world, f"{registry.host}/{unique}:v1", "serve")
    name = f"{registry.host}/{unique}:v1"
    tool("docker", "--host", engine_host, "pull", "--quiet", name)
    try:
        there = engine.image(name)
        assert there is not None
        assert there.id == open_layout(world.oci).image("serve").config_digest
        found, expected = exported(engine, name, unique), ours(world.oci, "serve")
    finally:
        engine.untag(name)
    assert {path: found.get(path) for path in expected} == expected
    assert set(found) - set(expected) - ENGINE == set()


@pytest.mark.tools
def test_podman_pulls(world, registry, tmp_path):
    build(world, f"{registry.host}/team/wine:v1", "serve")
    image = open_layout(world.oci).image("serve")
    name = f"{registry.host}/team/wine:v1"
    with tempfile.TemporaryDirectory(prefix="podman") as run_root:  # its path may not be long
        podman = ("podman", "--root", tmp_path / "root", "--runroot", run_root,
                  "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs")  # fmt: skip
        tool(*podman, "pull", "--quiet", "--tls-verify=false", name)
        (found,) = json.loads(tool(*podman, "image", "inspect", name))
        root = tool(*podman, "image", "mount", name).strip()
        merged = unpacked(Path(root))
        tool(*podman, "image", "unmount", name)
        tool(*podman, "rmi", "--all", "--force")
    assert merged == ours(world.oci, "serve")
    assert found["Digest"] == image.manifest_digest
    assert f"sha256:{found['Id']}" == image.config_digest
    assert found["RootFS"]["Layers"] == image.config_value["rootfs"]["diff_ids"]


def test_nothing_is_tagged_before_everything_is_there(world):
    """Whichever request fails, there is no tag."""
    with small_registry() as server:
        build(world, f"{server.host}/a:v1")
        asked = [(m, p) for m, p in server.asked if m in ("PUT", "POST", "PATCH")]
    first_tag = next(i for i, (_, p) in enumerate(asked) if "manifests/v1-" in p)
    puts = [p for m, p in asked if m == "PUT"]
    assert sum("manifests/sha256:" in path for path in puts) == 6
    assert all("manifests/v1-" in path for _, path in asked[first_tag:])
    for method in ("POST", "PUT"):
        with small_registry() as server:
            count = [0]

            def fails(request, method=method, count=count):
                if request.command != method:
                    return False
                count[0] += 1
                if count[0] < 7:
                    return False
                request.body()
                request.error(403, "DENIED")
                return True

            server.faults.append(fails)
            with pytest.raises(SurroundingsError):
                build(world, f"{server.host}/a:v1")
            assert server.tags == {}


def test_the_registry_is_asked_before_anything_is_built(world, server):
    server.faults.append(lambda r: r.path == "/v2/" and (r.error(403, "DENIED") or True))
    before = (world.oci / "index.json").stat().st_ino
    with pytest.raises(SurroundingsError) as caught:
        build(world, f"{server.host}/a")
    assert str(caught.value) == (
        f"cannot log in: the registry {server.host} denies access\n"
        "hint: ask its owner for the permission, or log in as somebody who has it"
    )
    assert (world.oci / "index.json").stat().st_ino == before


# The command.


def command(world, *arguments, monkeypatch):
    for name, value in world.context().environ.items():
        monkeypatch.setenv(name, value)
    return run(["--project", str(world.project), "build", *arguments])


def test_the_command(world, server, monkeypatch, capsys):
    where = f"registry:{server.host}/team/wine:v1"
    assert command(world, "--output", where, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    image = open_layout(world.oci).image("serve")
    assert lines[-1] == f"pushed {server.host}/team/wine:v1-serve@{image.manifest_digest}"
    assert f"pushing to {server.host}/team/wine\n" in said.err


def test_the_command_in_json(world, server, monkeypatch, capsys):
    where = f"registry:{server.host}/team/wine:v1"
    arguments = ("serve", "--json", "--output", where)
    assert command(world, *arguments, monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["output"] == f"oci:{world.oci}"
    (image,) = document["images"]
    assert (image["kind"], image["run"]) == ("serve", RUN)
    assert document["sent"] == {"registry": [f"{server.host}/team/wine:v1@{image['manifest']}"]}


def test_mounting_is_about_registries(world, monkeypatch, capsys):
    assert command(world, "--mount-from", "x", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == ("error: --mount-from is about --output registry:HOST/REPO\n")


def test_an_unreachable_registry(world, monkeypatch, capsys):
    where = "registry:127.0.0.1:1/a"
    assert command(world, "--output", where, monkeypatch=monkeypatch) == 4
    assert capsys.readouterr().err == (
        "error: cannot log in: the registry 127.0.0.1:1 does not answer: connection refused\n"
        "hint: check the name, the network and the proxy, then run the same command again\n"
    )
