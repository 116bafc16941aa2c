"""The layers of a locked base: fetched once, read once, hashed whenever they are used."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.base_image import BaseImage, layer, python_layer
from support.locks import make_lock
from support.reporter import Recorder

from mllock.core.digest import Digest
from mllock.errors import ArchiveError, IntegrityError
from mllock.image.base_layers import base_history, base_layers
from mllock.image.bytecode_layers import layer_tree
from mllock.image.config import assemble
from mllock.image.types import Image, ImageConfig, ImagePlan, Layer
from mllock.lock.types import Base, BaseLayer, BasePlatform
from mllock.store.cache import Cache
from mllock.store.docker_archive import docker_archive
from mllock.store.oci_json import Descriptor

PLATFORM = "linux/amd64"


@dataclass
class Locked:
    """A base that is locked, and a source of its blobs that counts."""

    image: BaseImage
    cache: Cache
    fetched: list[str] = field(default_factory=list)

    @property
    def pin(self) -> BasePlatform:
        manifest = self.image.manifest
        config = json.loads(self.image.blobs[manifest["config"]["digest"]])
        return BasePlatform(
            platform=PLATFORM,
            manifest=self.image.digest,
            config=manifest["config"]["digest"],
            config_size=manifest["config"]["size"],
            glibc="2.36",
            layers=tuple(
                BaseLayer(
                    digest=entry["digest"],
                    diff_id=diff_id,
                    size=entry["size"],
                    type=entry["mediaType"],
                )
                for entry, diff_id in zip(
                    manifest["layers"], config["rootfs"]["diff_ids"], strict=True
                )
            ),
            variables={},
        )

    def fetch(self, wanted: Sequence[Descriptor]) -> None:
        for descriptor in wanted:
            if self.cache.get(descriptor.digest) is None:
                self.fetched.append(descriptor.digest)
                self.cache.put_bytes(self.image.blobs[descriptor.digest])

    def layers(self, pin: BasePlatform | None = None) -> tuple[Layer, ...]:
        base = Base(
            kind="oci",
            reference="oci:base",
            python="3.11.9",
            interpreter="/usr/local/bin/python3.11",
            platforms=(pin or self.pin,),
        )
        lock = make_lock(base=base, system=())
        return base_layers(lock, pin or self.pin, self.fetch, self.cache, Recorder())


@pytest.fixture(params=["gzip", "zstd", "none"])
def locked(tmp_path: Path, request: pytest.FixtureRequest) -> Locked:
    image = BaseImage(layers=[python_layer(), {"etc/x": b"x" * 5000}], packing=request.param)
    return Locked(image=image, cache=Cache(tmp_path / "cache", Recorder()))


def test_fetched_once(locked: Locked) -> None:
    first = locked.layers()
    assert sorted(locked.fetched) == sorted(locked.image.blobs)
    assert [found.title for found in first] == ["oci:base (1 of 2)", "oci:base (2 of 2)"]
    assert {found.kind for found in first} == {"base"}
    assert [found.unpacked for found in first] == [
        len(layer(python_layer())),
        len(layer({"etc/x": b"x" * 5000})),
    ]
    locked.fetched.clear()
    assert locked.layers() == first
    assert locked.fetched == []


def test_a_blob_that_was_damaged_is_fetched_again(locked: Locked) -> None:
    first = locked.layers()
    path = locked.cache.blob_path(first[1].digest)
    path.chmod(0o600)
    path.write_bytes(b"x" * first[1].size)
    locked.fetched.clear()
    assert locked.layers() == first
    assert locked.fetched == [first[1].digest]


def test_a_lock_that_names_another_diff_id(locked: Locked) -> None:
    locked.layers()
    pin = locked.pin
    wrong = replace(pin.layers[1], diff_id="sha256:" + "0" * 64)
    with pytest.raises(ArchiveError) as caught:
        locked.layers(replace(pin, layers=(pin.layers[0], wrong)))
    assert caught.value.message == "the layer is not the one that the config of the base names"


def test_the_tree_of_the_layers(locked: Locked) -> None:
    members = layer_tree(locked.cache, locked.layers())(lambda path: path == "etc/x")
    assert members["etc/x"].data == b"x" * 5000


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        ([{"created_by": "a"}, {"created_by": "b"}], True),
        ([{"created_by": "a"}, {"empty_layer": True}, {"created_by": "b"}], True),
        ([{"created_by": "a"}], False),
        ([], False),
    ],
    ids=["each", "with empty ones", "too few", "none"],
)
def test_history_that_counts_is_kept(
    tmp_path: Path, history: list[dict[str, object]], kept: bool
) -> None:
    image = BaseImage(layers=[python_layer(), {"etc/x": b""}], history=history)
    found = Locked(image=image, cache=Cache(tmp_path / "cache", Recorder()))
    assert base_history(found.pin, found.fetch, found.cache) == (tuple(history) if kept else ())
    config = json.loads(assembled(found).config)
    expected = (
        history
        if kept
        else [
            {"created": "1970-01-01T00:00:00Z", "created_by": f"mllock base: oci:base ({n} of 2)"}
            for n in (1, 2)
        ]
    )
    assert config["history"] == expected


def assembled(found: Locked) -> Image:
    return assemble(
        ImagePlan(
            kind="train",
            platform=PLATFORM,
            layers=found.layers(),
            config=ImageConfig(command=("x",), variables={}),
            history=base_history(found.pin, found.fetch, found.cache),
        )
    )


def archived(found: Locked, *, classic: bool) -> dict[str, bytes]:
    chunks = docker_archive(assembled(found), ["a:b"], found.cache, classic=classic)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]


def test_a_classic_store_is_sent_what_it_can_read(locked: Locked) -> None:
    files = archived(locked, classic=True)
    (entry,) = json.loads(files["manifest.json"])
    layers = locked.layers()
    if locked.image.packing == "zstd":
        assert entry["Layers"] == [f"blobs/sha256/{one.diff_id[7:]}" for one in layers]
        assert [files[name] for name in entry["Layers"]] == [
            layer(python_layer()),
            layer({"etc/x": b"x" * 5000}),
        ]
        assert "index.json" not in files  # its blobs are not there
    else:
        assert entry["Layers"] == [f"blobs/sha256/{one.digest[7:]}" for one in layers]
        assert [files[name] for name in entry["Layers"]] == [
            locked.image.blobs[one.digest] for one in layers
        ]


def test_other_stores_are_sent_the_blobs(locked: Locked) -> None:
    files = archived(locked, classic=False)
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
    for one in manifest["layers"]:
        assert files[f"blobs/sha256/{one['digest'][7:]}"] == locked.image.blobs[one["digest"]]


def test_a_cache_entry_that_lies_about_the_size(tmp_path: Path) -> None:
    """The tar that is sent has exactly the bytes of the diff_id, or it is not sent."""
    image = BaseImage(layers=[python_layer()], packing="zstd")
    found = Locked(image=image, cache=Cache(tmp_path / "cache", Recorder()))
    plan = assembled(found)
    (only,) = found.layers()

    class Lying:
        digest, media_type, unpacked = only.digest, only.media_type, only.unpacked
        diff_id = Digest("sha256:" + "0" * 64)

    lying = type(
        "Image",
        (),
        {
            name: getattr(plan, name)
            for name in ("platform", "config", "config_digest", "manifest", "manifest_digest")
        }
        | {"layers": (Lying(),)},
    )()
    with pytest.raises(IntegrityError) as caught:
        b"".join(docker_archive(lying, ["a:b"], found.cache))
    assert caught.value.message == "a layer is not the one that its diff_id names"
