"""Layouts that lie: whole messages, one lie at a time."""

from __future__ import annotations

import json
import os

import pytest
from support.layers import BUNDLE, CONFIG, EMPTY, LAYER, MANIFEST, HandMade, compact, sha, tar

from mllock.errors import ArchiveError, InputError
from mllock.store.layout_reader import open_layout

TAR = tar([("a", "file", "x")])


@pytest.fixture
def made(tmp_path):
    layout = HandMade(tmp_path / "oci")
    layout.image("serve", [TAR])
    return layout


def test_an_image(made):
    layout = open_layout(made.folder)
    assert layout.refs == ("serve",)
    image = layout.image("serve")
    assert image.manifest_digest == made.entries[0]["digest"] == sha(image.manifest)
    assert image.config_digest == sha(image.config)
    assert image.config_value["rootfs"]["diff_ids"] == [sha(TAR)]
    (layer,) = image.layers
    assert sha(b"".join(layout.stream(layer))) == layer.digest


def test_referrers(made):
    image = made.entries[0]
    made.image("other", [TAR, TAR])
    made.artifact(image, b"one")
    made.artifact(made.entries[1], b"two")
    made.artifact(image, b"three", kind="application/vnd.example.other")
    layout = open_layout(made.folder)
    assert layout.referrers(image["digest"], BUNDLE) == (b"one",)
    assert layout.referrers(None, BUNDLE) == (b"one", b"two")
    assert layout.referrers(sha(b"nothing"), BUNDLE) == ()


def refused(made, action=lambda layout: layout.image("serve")) -> str:
    with pytest.raises(ArchiveError) as caught:
        action(open_layout(made.folder))
    return str(caught.value)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            b'{"imageLayoutVersion":"2.0.0"}',
            "oci-layout: not an OCI layout of a version that is known\n"
            'expected: {"imageLayoutVersion": "1.0.0"}\n'
            "found: {'imageLayoutVersion': '2.0.0'}",
        ),
        (
            b'{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}',
            "oci-layout: not strict JSON: duplicate key 'imageLayoutVersion'",
        ),
        (b"", "oci-layout: not strict JSON: it is empty"),
    ],
)
def test_the_version_comes_first(made, marker, message):
    (made.folder / "oci-layout").write_bytes(marker)
    (made.folder / "index.json").write_bytes(b"never read")
    assert refused(made) == message


def test_no_layout(tmp_path):
    with pytest.raises(InputError) as caught:
        open_layout(tmp_path / "no")
    assert str(caught.value) == f"{tmp_path}/no: no such folder\nexpected: an OCI layout folder"
    with pytest.raises(ArchiveError) as caught:
        open_layout(tmp_path)
    assert str(caught.value) == "oci-layout: missing"


def test_no_such_reference(made):
    with pytest.raises(InputError) as caught:
        open_layout(made.folder).image("v1")
    assert str(caught.value) == (
        f'{made.folder}: no image "v1" in this layout\nexpected: a reference "v1"\nfound: \'serve\''
    )


def test_two_of_one_reference(made):
    made.entries.append(made.entries[0])
    made.write_index()
    assert refused(made) == 'index.json: the reference "serve" is there 2 times'


def test_a_manifest_that_is_called_an_index(made):
    made.entries[0]["mediaType"] = "application/vnd.oci.image.index.v1+json"
    made.write_index()
    place = f"blobs/sha256/{made.entries[0]['digest'][7:]}"
    assert refused(made) == f"{place}: index: unknown key 'config'"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("urls", ["https://example.org"], "a foreign blob, to be fetched from elsewhere"),
        ("data", "e30=", "inlined data"),
        ("more", 1, "unknown key 'more'"),
        ("size", -1, "not as expected\nexpected: a number of bytes\nfound: -1"),
        ("size", True, "not as expected\nexpected: a number of bytes\nfound: True"),
        ("size", 1.0, "not as expected\nexpected: a number of bytes\nfound: 1.0"),
        ("size", None, "not as expected\nexpected: a number of bytes\nfound: None"),
        ("digest", "sha512:00", "not as expected\nexpected: a sha256 digest\nfound: sha512:00"),
        ("mediaType", 1, "not as expected\nexpected: a string\nfound: 1"),
        ("artifactType", 1, "not as expected\nexpected: a string\nfound: 1"),
        ("annotations", {"a": 1}, "not as expected\nexpected: an object of strings\n"),
    ],
)
def test_descriptors(made, key, value, message):
    made.entries[0][key] = value
    made.write_index()
    found = refused(made)
    assert found.startswith("index.json: manifests[0]")
    assert message in found


def changed_manifest(made, **changes):
    entry = made.entries[0]
    manifest = json.loads((made.folder / "blobs" / "sha256" / entry["digest"][7:]).read_bytes())
    manifest |= changes
    made.entries = []
    made.add(compact({k: v for k, v in manifest.items() if v is not None}), "serve")
    return f"blobs/sha256/{made.entries[0]['digest'][7:]}"


PLAIN = "application/vnd.oci.image.layer.v1.tar"
LAYERS = [{"mediaType": f"{LAYER}+zstd", "digest": sha(b""), "size": 0}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schemaVersion": 2.0}, "schemaVersion: not as expected\nexpected: 2\nfound: 2.0"),
        ({"schemaVersion": 1}, "schemaVersion: not as expected\nexpected: 2\nfound: 1"),
        ({"mediaType": None}, f"mediaType: not as expected\nexpected: {MANIFEST}\nfound: None"),
        ({"extra": 1}, "manifest: unknown key 'extra'"),
        ({"layers": {}}, "layers: not as expected\nexpected: a list\nfound: {}"),
        (
            {"layers": LAYERS},
            f"layers[0].mediaType: not as expected\nexpected: {LAYER} or {PLAIN} or {PLAIN}+zstd\n"
            f"found: {LAYER}+zstd",
        ),
        ({"config": None}, "config: not as expected\nexpected: an object\nfound: None"),
        (
            {"layers": []},
            "rootfs.diff_ids: not as expected\nexpected: 0 digests\nfound: 1 digests",
        ),
    ],
)
def test_manifests(made, changes, message):
    place = changed_manifest(made, **changes)
    if "rootfs" in message:
        entry = open_layout(made.folder)
        manifest = json.loads(entry.read(entry.manifests[0], max_bytes=1 << 20))
        place = f"blobs/sha256/{manifest['config']['digest'][7:]}"
    assert refused(made) == f"{place}: {message}"


def test_an_artifact_is_no_image(made):
    artifact = made.artifact(made.entries[0], b"x")
    made.entries = [artifact | {"annotations": {"org.opencontainers.image.ref.name": "serve"}}]
    made.write_index()
    assert refused(made) == (
        f"blobs/sha256/{artifact['digest'][7:]}: an artifact, expected an image"
    )


def test_an_artifact_of_two_blobs(made):
    empty = made.blob(b"{}", EMPTY)
    subject = {key: made.entries[0][key] for key in ("mediaType", "digest", "size")}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": empty,
        "layers": [empty, empty],
        "subject": subject,
    }
    entry = made.add(compact(manifest), None)
    assert refused(made, lambda layout: layout.referrers(None, BUNDLE)) == (
        f"blobs/sha256/{entry['digest'][7:]}: 2 blobs in an artifact, expected 1"
    )


@pytest.mark.parametrize(
    "config",
    [[], {"rootfs": {}}, {"rootfs": {"type": "layer", "diff_ids": []}}],
)
def test_configs(made, config):
    changed_manifest(made, config=made.blob(compact(config), CONFIG), layers=[])
    assert "not as expected" in refused(made)


def test_blobs_that_are_not_what_they_are_called(made):
    path = made.folder / "blobs" / "sha256" / made.entries[0]["digest"][7:]
    name = f"blobs/sha256/{path.name}"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b" ")
    assert refused(made) == (
        f"{name}: not the bytes that its digest names\n"
        f"expected: sha256:{path.name}\nfound: {sha(data[:-1] + b' ')}"
    )
    path.write_bytes(data + b" ")
    assert refused(made) == (
        f"{name}: not the size that its descriptor says\n"
        f"expected: {len(data)} bytes\nfound: {len(data) + 1} bytes"
    )
    path.unlink()
    assert refused(made) == f"{name}: missing"


@pytest.mark.parametrize("what", ["link", "fifo", "folder", "link on the way"])
def test_only_regular_files_below_real_folders(made, what, tmp_path):
    path = made.folder / "blobs" / "sha256" / made.entries[0]["digest"][7:]
    name = f"blobs/sha256/{path.name}"
    if what == "link on the way":
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
    else:
        path.rename(tmp_path / "real")
        match what:
            case "link":
                path.symlink_to(tmp_path / "real")
            case "fifo":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
    assert refused(made) == f"{name}: not a regular file below real folders"


def test_documents_are_bounded(made):
    layout = open_layout(made.folder)
    with pytest.raises(ArchiveError) as caught:
        layout.read(layout.manifests[0], max_bytes=10)
    assert caught.value.message.endswith("bytes, at most 10 are read")


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        (
            {"os": "windows", "architecture": "arm64"},
            "index.json: v1.platform: not the platform of the image\n"
            "expected: linux/amd64\nfound: windows/arm64",
        ),
        (
            {"os": "linux", "architecture": "amd64", "variant": "v3"},
            "index.json: v1.platform: not the platform of the image\n"
            "expected: linux/amd64\nfound: linux/amd64/v3",
        ),
    ],
    ids=str,
)
def test_a_platform_that_is_not_the_images(made, platform, message):
    made.image("v1", [tar([])])
    made.entries[-1]["platform"] = platform
    made.write_index()
    with pytest.raises(ArchiveError) as caught:
        open_layout(made.folder).image("v1")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("x", "manifests[0].platform: not as expected\nexpected: an object\nfound: x"),
        (
            {"os": "linux"},
            "manifests[0].platform.architecture: not as expected\nexpected: a name\nfound: None",
        ),
        (
            {"os": "linux", "architecture": "amd64", "variant": 3},
            "manifests[0].platform.variant: not as expected\nexpected: a name\nfound: 3",
        ),
        (
            {"os": "linux", "architecture": "amd64", "os.version": "9"},
            "manifests[0].platform: unknown key 'os.version'",
        ),
    ],
    ids=str,
)
def test_a_platform_that_is_none(made, platform, message):
    made.image("v1", [tar([])])
    made.entries[0]["platform"] = platform
    made.write_index()
    with pytest.raises(ArchiveError) as caught:
        open_layout(made.folder)
    assert str(caught.value) == f"index.json: {message}"


def test_the_platform_of_the_image(made):
    made.image("v1", [tar([])], {"architecture": "arm64", "variant": "v8"})
    made.entries[-1]["platform"] = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    made.write_index()
    assert open_layout(made.folder).image("v1").ref == "v1"


def test_an_image_that_index_json_calls_an_artifact(made):
    made.image("v1", [tar([])])
    made.entries[-1]["artifactType"] = "text/plain"
    made.write_index()
    with pytest.raises(ArchiveError) as caught:
        open_layout(made.folder).image("v1")
    assert str(caught.value) == (
        "index.json: v1.artifactType: an artifact type for an image\nfound: text/plain"
    )


def test_an_artifact_that_index_json_calls_another(made):
    made.artifact(made.image("v1", [tar([])]), b"x")
    made.entries[-1]["artifactType"] = "text/plain"
    made.write_index()
    with pytest.raises(ArchiveError) as caught:
        open_layout(made.folder).referrers(None, BUNDLE)
    assert caught.value.message == "index.json names another type of artifact"
