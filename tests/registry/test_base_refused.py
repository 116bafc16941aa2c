"""Bases that are refused when they are locked: whole messages."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.base_image import BaseImage, python_layer
from support.base_project import BaseProject, image
from support.registry import PASSWORD, USER, RealRegistry
from support.small_registry import Request, SmallRegistry

from mllock.errors import IntegrityError, SurroundingsError

AMD64 = "linux/amd64"
INDEX = "application/vnd.oci.image.index.v1+json"


def test_an_index_without_the_platform(server: SmallRegistry, tmp_path: Path) -> None:
    arm = image(platform="linux/arm64")
    arm.to_registry(server, "py", "3.11", index=True)
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    assert project.refused() == (
        "mlproject.toml: environment.base: the base has no image for linux/amd64\n"
        "found: linux/arm64\n"
        "hint: take a base that has one, or leave the platform out of [environment] platforms"
    )


def test_an_image_for_another_platform(server: SmallRegistry, tmp_path: Path) -> None:
    image(platform="linux/s390x").to_registry(server, "py", "3.11")
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    assert project.refused() == (
        "mlproject.toml: environment.base: the base is not for linux/amd64\nfound: linux/s390x"
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [python_layer("3.12.4")],
            "mlproject.toml: environment.python: the base has no Python 3.11\n"
            "expected: Python 3.11 in oci:py\n"
            "found: Python 3.12.4 (/usr/local/bin/python3.12)\n"
            'hint: set python = "3.12"; bases that have 3.11: "debian:bookworm", '
            "an image of Python 3.11",
        ),
        (
            [python_layer() | {"usr/local/bin/python3.11": b"#!/bin/sh\n"}],
            "mlproject.toml: environment.python: the base has no Python on its PATH\n"
            "expected: Python 3.11 in oci:py\n"
            'hint: bases that have 3.11: "debian:bookworm", an image of Python 3.11',
        ),
        (
            [python_layer(), {"opt/venv/bin/python": b""}],
            "mlproject.toml: environment.base: the base has /opt/venv, a place of mllock's own\n"
            'found: "oci:py"\n'
            "hint: take a base without it: /app, /opt/venv and /opt/mllock are for the project",
        ),
        (
            [python_layer(), {"app/main.py": b""}],
            "mlproject.toml: environment.base: the base has /app/main.py, a place of mllock's own\n"
            'found: "oci:py"\n'
            "hint: take a base without it: /app, /opt/venv and /opt/mllock are for the project",
        ),
    ],
    ids=["other Python", "no Python", "our folder", "code in the base"],
)
def test_bases_that_do_not_fit(tmp_path: Path, layers: list[Any], message: str) -> None:
    project = BaseProject(tmp_path, "oci:py")
    BaseImage(layers=layers).to_layout(project.folder / "py")
    assert project.refused() == message
    assert project.error.exit_code == 2


def test_no_such_tag_and_no_such_repository(server: SmallRegistry, tmp_path: Path) -> None:
    image().to_registry(server, "py", "3.11")
    project = BaseProject(tmp_path, f"{server.host}/py:3.12")
    assert project.refused() == (
        f'{server.host}/py: no tag "3.12" in this repository\nfound: the tags 3.11\n'
        'hint: did you mean "3.11"?'
    )
    assert project.error.exit_code == 4
    project.change("/py:3.12", "/python:3.12")
    assert project.refused() == (
        f'mlproject.toml: environment.base: the registry {server.host} has no repository "python"\n'
        f'found: "{server.host}/python:3.12"\n'
        "hint: check its name, and that you may read it"
    )


def test_nothing_listens(tmp_path: Path) -> None:
    project = BaseProject(tmp_path, "127.0.0.1:1/py:3.11")
    assert project.refused() == (
        "cannot read 3.11: the registry 127.0.0.1:1 does not answer: connection refused\n"
        "hint: check the name, the network and the proxy, then run the same command again"
    )
    assert project.error.exit_code == 4


def test_neither_tag_nor_digest(tmp_path: Path) -> None:
    project = BaseProject(tmp_path, "registry.example.org/py")
    assert project.refused() == (
        "mlproject.toml: environment.base: a base without tag or digest: which one is meant would "
        'depend on the registry\nfound: "registry.example.org/py"\n'
        'hint: write the tag, e.g. "registry.example.org/py:1.0"'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"urls": ["https://example.org/layer"]},
    ],
    ids=["nondistributable", "foreign", "urls"],
)
def test_foreign_layers(server: SmallRegistry, tmp_path: Path, change: dict[str, Any]) -> None:
    base = image()
    base.manifest["layers"][1] |= change
    base.to_registry(server, "py", "3.11")
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    assert project.refused() == (
        f"{base.digest}: layers[1]: a foreign layer, to be fetched from elsewhere than the "
        "registry\nhint: take a base whose layers may be distributed"
    )


def test_a_hostile_layer_is_named_with_its_base(tmp_path: Path) -> None:
    null = tarfile.TarInfo()
    null.type = tarfile.CHRTYPE
    base = BaseImage(layers=[python_layer(), {"dev/null": null}])
    project = BaseProject(tmp_path, "oci:py")
    base.to_layout(project.folder / "py")
    assert project.refused() == (
        f"oci:py: layer {base.manifest['layers'][1]['digest']}: 'dev/null' is a device: not a "
        "file, folder or link\nhint: take another base, or make this one without it"
    )
    assert project.error.exit_code == 2


def test_an_artifact_is_no_base(server: SmallRegistry, tmp_path: Path) -> None:
    base = image()
    base.manifest["config"]["mediaType"] = "application/vnd.example.chart"
    base.to_registry(server, "py", "3.11")
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    assert project.refused() == (
        f"{base.digest}: an artifact, expected an image\nfound: application/vnd.example.chart"
    )


@pytest.mark.parametrize("more", [1, -1])
def test_a_size_that_is_not_that_of_the_layer(
    server: SmallRegistry, tmp_path: Path, more: int
) -> None:
    """Also where the layer is in the cache already, from an image that says its size right."""
    wrong = image()
    layer = wrong.manifest["layers"][0]
    size = layer["size"]
    layer["size"] += more
    wrong.to_registry(server, "py", "wrong")
    again = BaseProject(tmp_path, f"{server.host}/py:wrong")
    again.ctx.cache.put_bytes(wrong.blobs[layer["digest"]])
    assert again.refused() == (
        f"{layer['digest']}: the base says another size than it has\n"
        f"expected: {size + more} bytes\nfound: {size} bytes\n"
        "hint: whoever made the image has to push it again"
    )
    assert isinstance(again.error, IntegrityError)


def test_a_size_that_is_not_that_of_the_manifest(server: SmallRegistry, tmp_path: Path) -> None:
    base = image()
    base.to_registry(server, "py", "3.11")
    entry = base.descriptor | {"size": base.descriptor["size"] + 1}
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    server.put("py", "index", json.dumps(document).encode(), INDEX)
    assert BaseProject(tmp_path, f"{server.host}/py:index").refused() == (
        f"{base.digest}: the base says another size than it has\n"
        f"expected: {entry['size']} bytes\nfound: {entry['size'] - 1} bytes\n"
        "hint: whoever made the image has to push it again"
    )


def test_an_index_within_the_index(server: SmallRegistry, tmp_path: Path) -> None:
    inner = image().to_registry(server, "py", "inner", index=True)
    size = len(server.manifests["py", inner][1])
    entry = {"mediaType": INDEX, "digest": inner, "size": size}
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    server.put("py", "3.11", json.dumps(document).encode(), INDEX)
    reference = f"{server.host}/py:3.11"
    assert BaseProject(tmp_path, reference).refused() == (
        "mlproject.toml: environment.base: the base has no image for linux/amd64\n"
        "found: an index within the index\n"
        "hint: take a base that has one, or leave the platform out of [environment] platforms"
    )


def test_dockers_first_format(server: SmallRegistry, tmp_path: Path) -> None:
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    server.put("py", "3.11", b'{"schemaVersion": 1}', kind)
    reference = f"{server.host}/py:3.11"
    assert BaseProject(tmp_path, reference).refused() == (
        "mlproject.toml: environment.base: a manifest in Docker's first format, which is not read\n"
        f"found: {kind}\n"
        "hint: push the image again with a tool of today, e.g. skopeo copy --format oci"
    )


def test_a_registry_that_lies_about_a_layer(server: SmallRegistry, tmp_path: Path) -> None:
    base = image()
    base.to_registry(server, "py", "3.11")
    digest = base.manifest["layers"][0]["digest"]
    good = server.blobs["py", digest]
    server.blobs["py", digest] = good[:-1] + bytes([good[-1] ^ 1])
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    assert project.refused().startswith(
        f"{digest}: the registry {server.host} sent other bytes than the digest names\n"
    )
    assert isinstance(project.error, IntegrityError)
    assert project.ctx.cache.get(digest) is None
    server.blobs["py", digest] = good
    assert project.base_lock().base.python == "3.11.9"


def test_a_layer_that_breaks_off_is_gone_on_with(
    server: SmallRegistry, tmp_path: Path, quick: None
) -> None:
    base = BaseImage(layers=[python_layer(), {"big": bytes(range(256)) * 4000}], packing="none")
    base.to_registry(server, "py", "3.11")
    digest = base.manifest["layers"][1]["digest"]
    ranges: list[str | None] = []

    def break_off(request: Request) -> bool:
        if not request.path.endswith(digest):
            return False
        ranges.append(request.headers.get("Range"))
        data = server.blobs["py", digest]
        if len(ranges) > 1:
            return False
        request.answer(200, data[:300_000], length=len(data))
        request.hang_up()
        return True

    server.faults.append(break_off)
    assert BaseProject(tmp_path, f"{server.host}/py:3.11").base_lock().base.python == "3.11.9"
    assert ranges == [None, "bytes=300000-"]


def test_a_registry_that_wants_a_login(registry_basic: RealRegistry, tmp_path: Path) -> None:
    """Pushed by skopeo, read with what `docker login` keeps; without it, refused."""
    image().to_layout(tmp_path / "layout")
    host = registry_basic.host
    subprocess.run(
        [
            *("skopeo", "copy", "--quiet", "--dest-tls-verify=false"),
            *("--dest-creds", f"{USER}:{PASSWORD}"),
            *(f"oci:{tmp_path / 'layout'}", f"docker://{host}/team/py:3.11"),
        ],
        check=True,
        timeout=60,
    )
    for folder in ("known", "unknown"):
        (tmp_path / folder).mkdir()
    reference = f"{host}/team/py:3.11"
    known = registry_basic.logged_in(tmp_path / "config")
    assert BaseProject(tmp_path / "known", reference, known).base_lock().base.python == "3.11.9"
    stranger = BaseProject(tmp_path / "unknown", reference, registry_basic.environ)
    assert stranger.refused() == (
        f"cannot read 3.11: the registry {host} does not accept the credentials, or wants some\n"
        f'hint: log in with "docker login {host}", or write them into config.json of Docker'
    )
    assert isinstance(stranger.error, SurroundingsError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "oci:py: oci-layout: missing"),
        (
            {"imageLayoutVersion": "2.0.0"},
            "oci:py: oci-layout: not an OCI layout of a version that is known\n"
            "expected: \"imageLayoutVersion\": \"1.0.0\"\nfound: {'imageLayoutVersion': '2.0.0'}",
        ),
    ],
    ids=["no layout", "another version"],
)
def test_what_is_no_layout(tmp_path: Path, text: Any, message: str) -> None:
    project = BaseProject(tmp_path, "oci:py")
    image().to_layout(project.folder / "py")
    marker = project.folder / "py" / "oci-layout"
    marker.unlink() if text is None else marker.write_text(json.dumps(text))
    assert project.refused() == message


def test_several_images_in_a_layout(tmp_path: Path) -> None:
    project = BaseProject(tmp_path, "oci:py")
    one, two = image(), image("3.11.10")
    folder = one.to_layout(project.folder / "py", two)
    index = json.loads((folder / "index.json").read_text())
    for entry, name in zip(index["manifests"], ("one", "two"), strict=True):
        del entry["platform"]
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    (folder / "index.json").write_text(json.dumps(index))
    assert project.refused() == (
        "mlproject.toml: environment.base: several images in this layout, and nothing says which "
        "is the base\nfound: one, two\n"
        "hint: copy the one that is meant to a layout of its own, e.g. with skopeo copy"
    )


def test_a_missing_folder(tmp_path: Path) -> None:
    assert BaseProject(tmp_path, "oci:py").refused() == (
        "mlproject.toml: environment.base: no such folder\n"
        "expected: an OCI layout folder, relative to the project\n"
        'found: "oci:py"'
    )
