"""One image for several platforms in a layout: an index under the name, and indexes that lie."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.layers import HandMade, compact, tar
from support.reporter import Recorder

from mllock.core.digest import Digest, hex_of, sha256_of
from mllock.core.platform import image_platform
from mllock.errors import ArchiveError, InputError
from mllock.image.config import assemble
from mllock.image.types import Image, ImageConfig, ImagePlan, Layer
from mllock.store.cache import Cache
from mllock.store.image_index import image_index
from mllock.store.layout import write_layout
from mllock.store.layout_reader import Layout, open_layout
from mllock.store.oci_json import MEDIA_BUNDLE

AMD, ARM = "linux/amd64", "linux/arm64"
INDEX = "application/vnd.oci.image.index.v1+json"
TAR = tar([("a", "file", "x")])


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", Recorder())


def images(cache: Cache, kind: str = "train", text: str = "") -> list[Image]:
    found = []
    for platform in (AMD, ARM):
        data = f"{platform} {text}".encode()
        layer = Layer(
            kind="base",
            title="base",
            digest=cache.put_bytes(data),
            diff_id=sha256_of(b"tar " + data),
            size=len(data),
            unpacked=9,
        )
        plan = ImagePlan(
            kind=kind,
            platform=platform,
            layers=(layer,),
            config=ImageConfig(command=(kind,), variables={"PATH": "/bin"}),
        )
        found.append(assemble(plan))
    return found


def written(folder: Path, cache: Cache) -> list[Image]:
    both = images(cache)
    write_layout(folder, {"train": both}, {"train": [b"about amd64", b"about arm64"]}, cache)
    return both


def test_a_name_is_an_index_of_both(tmp_path: Path, cache: Cache, validate_oci) -> None:
    folder = tmp_path / "oci"
    both = written(folder, cache)
    top, *statements = json.loads((folder / "index.json").read_text())["manifests"]
    assert (top["mediaType"], len(statements)) == (INDEX, 2)
    assert set(top) == {"mediaType", "digest", "size", "annotations"}
    data = (folder / "blobs" / "sha256" / hex_of(Digest(top["digest"]))).read_bytes()
    validate_oci(data, "image-index-schema.json")
    assert data == image_index(both) == image_index(both[::-1])
    assert [entry["platform"] for entry in json.loads(data)["manifests"]] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
    ]
    for platform, image in zip((AMD, ARM), both, strict=True):
        layout = open_layout(folder, platform)
        assert layout.image("train").manifest == image.manifest
        about = layout.referrers(image.manifest_digest, MEDIA_BUNDLE)
        assert about == (f"about {platform.partition('/')[2]}".encode(),)
    assert [x.manifest for x in layout.images("train")] == [x.manifest for x in both]
    own = {AMD: both[0], ARM: both[1]}[image_platform()]
    assert open_layout(folder).image("train").manifest == own.manifest


def test_one_of_them_alone_is_what_it_always_was(tmp_path: Path, cache: Cache) -> None:
    (image, _) = images(cache)
    write_layout(tmp_path / "one", {"train": image}, {"train": b"s"}, cache)
    write_layout(tmp_path / "two", {"train": [image]}, {"train": [b"s"]}, cache)
    one, two = ((tmp_path / name / "index.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_platform_that_is_not_there(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    written(folder, cache)
    with pytest.raises(InputError) as caught:
        open_layout(folder, "linux/riscv64").image("train")
    assert str(caught.value) == (
        f'{folder}: no image "train" for linux/riscv64 in this layout\n'
        "expected: a platform that is there\nfound: linux/amd64, linux/arm64\n"
        "hint: name one of these with --platform"
    )


def test_what_stays_and_what_goes_goes_whole(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    both = written(folder, cache)
    serve = images(cache, "serve", "other")
    write_layout(folder, {"serve": serve}, {}, cache, keep=lambda _: True)
    layout = open_layout(folder)
    assert layout.refs == ("serve", "train")
    assert len(layout.images("train")) == 2
    assert layout.referrers(both[1].manifest_digest, MEDIA_BUNDLE) == (b"about arm64",)
    wanted = {image.manifest_digest for image in both[:1]}
    removed = write_layout(
        folder, {"serve": serve}, {}, cache, keep=lambda i: i.manifest_digest in wanted
    )
    assert removed == {"train": "made in another environment"}
    layout = open_layout(folder)
    assert (layout.refs, layout.referrers(None, MEDIA_BUNDLE)) == (("serve",), ())
    # Of train nothing is left: an index, two manifests, configs and layers.
    assert len(list((folder / "blobs" / "sha256").iterdir())) == 1 + 2 * 3


def test_a_damaged_image_of_one_platform_takes_the_name_with_it(
    tmp_path: Path, cache: Cache
) -> None:
    folder = tmp_path / "oci"
    both = written(folder, cache)
    blob = folder / "blobs" / "sha256" / hex_of(both[1].layers[0].digest)
    blob.unlink()
    blob.write_bytes(b"!" * both[1].layers[0].size)
    removed = write_layout(
        folder, {"serve": images(cache, "serve")}, {}, cache, keep=lambda _: True
    )
    assert removed == {"train": "damaged"}


def test_an_image_of_others_below_an_index_is_not_lost(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    both = written(folder, cache)
    mine = both[0].manifest_digest
    with pytest.raises(InputError) as caught:
        write_layout(folder, {"train": both}, {}, cache, ours=lambda i: i.manifest_digest == mine)
    assert str(caught.value) == (
        f'{folder}: an image "train" that mllock did not make is in this layout\n'
        f"found: {both[1].manifest_digest}\n"
        "hint: name another folder with --output oci:DIR, or give that image another name"
    )


# Indexes that lie.


@pytest.fixture
def made(tmp_path: Path) -> HandMade:
    layout = HandMade(tmp_path / "oci")
    layout.image("serve", [TAR])
    return layout


def nested(made: HandMade, **changes) -> Layout:
    """The image of `made` below an index, both as hostile as `changes` make them."""
    inner = {key: value for key, value in made.entries[0].items() if key != "annotations"}
    inner |= {"platform": {"os": "linux", "architecture": "amd64"}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner]}
    inner |= changes.pop("inner", {})
    if changes.pop("twice", False):
        index["manifests"].append(inner)
    index |= changes
    data = compact(index)
    made.entries[0] = made.blob(data, INDEX) | {"annotations": made.entries[0]["annotations"]}
    made.write_index()
    return open_layout(made.folder, AMD)


def test_hand_made(made: HandMade) -> None:
    assert nested(made).image("serve").ref == "serve"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"twice": True}, "two manifests for linux/amd64"),
        ({"manifests": []}, "an index of no images"),
        ({"more": 1}, "index: unknown key 'more'"),
        (
            {"inner": {"mediaType": INDEX}},
            "manifests[0].mediaType: not as expected\n"
            f"expected: application/vnd.oci.image.manifest.v1+json\nfound: {INDEX}",
        ),
        (
            {"inner": {"platform": {"os": "linux"}}},
            "manifests[0].platform.architecture: not as expected\nexpected: a name\nfound: None",
        ),
        (
            {"inner": {"urls": ["https://example.org"]}},
            "manifests[0]: a foreign blob, to be fetched from elsewhere",
        ),
    ],
)
def test_an_index_that_lies(made: HandMade, changes: dict, message: str) -> None:
    layout = nested(made, **changes)
    place = f"blobs/sha256/{hex_of(layout.manifests[0].digest)}"
    with pytest.raises(ArchiveError) as caught:
        layout.image("serve")
    assert str(caught.value) == f"{place}: {message}"


def test_a_manifest_without_a_platform(made: HandMade) -> None:
    layout = nested(made)
    (entry,) = layout.entries(layout.manifests[0])
    assert replace(entry, platform=None).name == "?/?"
    inner = {key: value for key, value in made.entries[0].items() if key != "annotations"}
    inner["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    with pytest.raises(ArchiveError) as caught:
        nested(made, manifests=[inner]).image("serve")
    assert "manifests[0].platform: not as expected" in str(caught.value)


def test_the_platform_that_an_index_says_is_that_of_the_image(made: HandMade) -> None:
    layout = nested(made, inner={"platform": {"os": "linux", "architecture": "arm64"}})
    with pytest.raises(ArchiveError) as caught:
        layout.image("serve")
    assert str(caught.value) == (
        "index.json: serve.platform: not the platform of the image\n"
        "expected: linux/amd64\nfound: linux/arm64"
    )


def test_other_bytes_below_the_name(made: HandMade) -> None:
    layout = nested(made)
    blob = made.folder / "blobs" / "sha256" / hex_of(layout.manifests[0].digest)
    data = blob.read_bytes()
    blob.write_bytes(data.replace(b"amd64", b"arm64"))
    with pytest.raises(ArchiveError) as caught:
        layout.image("serve")
    assert "not the bytes that its digest names" in str(caught.value)
