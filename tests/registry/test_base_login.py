"""A base for two platforms in real registries, for everybody and behind a login of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.base_image import BaseImage, python_layer
from support.base_project import BaseProject, image
from support.oci_push import opened
from support.registry import PASSWORD, USER, RealRegistry

from mllock.core.platform import host_platform
from mllock.errors import SurroundingsError
from mllock.store.registry.upload import BlobSource, push_blob, push_manifest

INDEX = "application/vnd.oci.image.index.v1+json"
TWO = 'resolver = "uv"\nplatforms = ["linux/amd64", "linux/arm64"]'


def project_of(folder: Path, reference: str, environ: dict[str, str]) -> BaseProject:
    folder.mkdir()
    project = BaseProject(folder, reference, environ)
    project.change(f'platforms = ["{host_platform()}"]', TWO)
    return project


@pytest.mark.parametrize(
    ("kind", "repository"),
    [
        ("registry", "team/py"),
        ("registry_basic", "team/py2"),
        ("registry_token", "team/py"),
        ("registry_token", "public/py"),
    ],
)
def test_each_platform_is_pinned(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, repository: str
) -> None:
    registry: RealRegistry = request.getfixturevalue(kind)
    amd, arm = image(), BaseImage(layers=[python_layer(machine=183)], platform="linux/arm64")
    where = f"{registry.host}/{repository}"
    known = registry.environ
    if kind != "registry":
        known = registry.logged_in(tmp_path / "config")
    with opened(where, known) as client:
        for one in (amd, arm):
            for data in one.blobs.values():
                push_blob(client, BlobSource.of_bytes(data))
            push_manifest(client, one.data, one.media_type, one.digest)
        listed = [one.descriptor for one in (amd, arm)]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        push_manifest(client, json.dumps(document).encode(), INDEX, "1")
    found = project_of(tmp_path / "project", f"{where}:1", known).base_lock().base
    assert [(pin.platform, pin.manifest, pin.config) for pin in found.platforms] == [
        ("linux/amd64", amd.digest, amd.manifest["config"]["digest"]),
        ("linux/arm64", arm.digest, arm.manifest["config"]["digest"]),
    ]
    stranger = project_of(tmp_path / "stranger", f"{where}:1", registry.environ)
    if kind == "registry" or repository.startswith("public/"):
        assert stranger.base_lock().base == found
        return
    assert stranger.refused() == (
        f"cannot read 1: the registry {registry.host} does not accept the credentials, or wants "
        f'some\nhint: log in with "docker login {registry.host}", or write them into config.json '
        "of Docker"
    )
    assert isinstance(stranger.error, SurroundingsError)
    wrong = registry.logged_in(tmp_path / "wrong", USER, "hunter2-of-the-registry")
    project = project_of(tmp_path / "denied", f"{where}:1", wrong)
    assert "does not accept the credentials" in project.refused()
    said = "\n".join([str(project.error), *project.reporter.lines])
    assert "hunter2" not in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files if b"hunter2" in path.read_bytes()} <= {"wrong"}
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
