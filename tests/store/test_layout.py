"""Writing OCI layouts: whole or not at all, only what is named, valid by the specification."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.layers import HandMade, tar
from support.reporter import Recorder
from support.small_image import image

from mllock.core.digest import Digest, hex_of, sha256_of
from mllock.errors import ArchiveError, InputError, IntegrityError, SurroundingsError
from mllock.image.types import Image
from mllock.store import atomic
from mllock.store.cache import Cache
from mllock.store.layout import write_layout
from mllock.store.layout_reader import LayoutImage, open_layout
from mllock.store.oci_json import MEDIA_BUNDLE


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", Recorder())


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_both_images_and_their_statements(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "out" / "oci"
    images = {kind: image(cache, kind) for kind in ("train", "serve")}
    write_layout(folder, images, {"train": b"about train\n", "serve": b"about serve\n"}, cache)
    layout = open_layout(folder)
    assert layout.refs == ("serve", "train")
    for kind, expected in images.items():
        found = layout.image(kind)
        assert (found.config, found.manifest) == (expected.config, expected.manifest)
        assert [layer.digest for layer in found.layers] == [x.digest for x in expected.layers]
        assert all(b"".join(layout.stream(layer)) for layer in found.layers)
        statements = layout.referrers(expected.manifest_digest, MEDIA_BUNDLE)
        assert statements == (f"about {kind}\n".encode(),)
    named = {
        *(hex_of(layer.digest) for x in images.values() for layer in x.layers),
        *(hex_of(x.config_digest) for x in images.values()),
        *(hex_of(x.manifest_digest) for x in images.values()),
        *(hex_of(d.digest) for d in layout.manifests),
        *(hex_of(sha256_of(f"about {kind}\n".encode())) for kind in images),
        hex_of(sha256_of(b"{}")),
    }
    assert files(folder) == sorted(
        ["index.json", "oci-layout", *(f"blobs/sha256/{name}" for name in named)]
    )


def test_the_documents_are_valid(tmp_path: Path, cache: Cache, validate_oci) -> None:
    folder = tmp_path / "oci"
    write_layout(folder, {"train": image(cache, "train")}, {"train": b"x"}, cache)
    validate_oci((folder / "index.json").read_bytes(), "image-index-schema.json")
    validate_oci((folder / "oci-layout").read_bytes(), "image-layout-schema.json")
    for entry in json.loads((folder / "index.json").read_text())["manifests"]:
        data = (folder / "blobs" / "sha256" / hex_of(Digest(entry["digest"]))).read_bytes()
        validate_oci(data, "image-manifest-schema.json")


def test_the_same_images_give_the_same_bytes(tmp_path: Path, cache: Cache) -> None:
    for name, order in (("one", ("train", "serve")), ("two", ("serve", "train"))):
        for kind in order:
            write_layout(
                tmp_path / name, {kind: image(cache, kind)}, {}, cache, keep=lambda _: True
            )
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert (tmp_path / "one/index.json").read_bytes() == (tmp_path / "two/index.json").read_bytes()


def test_other_images_stay_if_they_are_kept(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    old = image(cache, "serve")
    write_layout(folder, {"serve": old, "x": image(cache, "train", "x")}, {"serve": b"s"}, cache)
    write_layout(
        folder, {"train": image(cache, "train")}, {}, cache, keep=lambda i: i.ref == "serve"
    )
    layout = open_layout(folder)
    assert layout.refs == ("serve", "train")
    assert layout.referrers(old.manifest_digest, MEDIA_BUNDLE) == (b"s",)
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    assert open_layout(folder).refs == ("train",)
    assert len(files(folder)) == 2 + 4


def test_an_image_that_is_damaged_is_not_kept(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    old = image(cache, "serve")
    write_layout(folder, {"serve": old}, {"serve": b"s"}, cache)
    blob = folder / "blobs" / "sha256" / hex_of(old.layers[1].digest)
    data = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(data[:-1] + b"!")
    write_layout(folder, {"train": image(cache, "train")}, {}, cache, keep=lambda _: True)
    assert open_layout(folder).refs == ("train",)
    assert len(files(folder)) == 2 + 4


def test_a_damaged_blob_is_put_right(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    train = image(cache, "train")
    write_layout(folder, {"train": train}, {}, cache)
    for digest in (train.layers[0].digest, train.config_digest):
        blob = folder / "blobs" / "sha256" / hex_of(digest)
        blob.unlink()
        blob.write_bytes(b"damaged")
    write_layout(folder, {"train": train}, {}, cache)
    layout = open_layout(folder)
    assert layout.image("train").config == train.config
    assert b"".join(layout.stream(layout.image("train").layers[0])) == b"layer base"


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def is_ours(found: LayoutImage) -> bool:
    return found.ref in ("train", "serve") and not found.config_value["config"].get("Labels")


LOSS = "this layout holds what cannot be read here, and would lose it"


@pytest.mark.parametrize("damage", ["{", "[]", '{"schemaVersion":2,"manifests":[{}]}', ""])
def test_an_index_that_cannot_be_read_is_not_written_over(
    tmp_path: Path, cache: Cache, damage: str
) -> None:
    """It may name images of somebody's, which would be gone."""
    folder = tmp_path / "oci"
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    (folder / "index.json").write_text(damage)
    before = content(folder)
    with pytest.raises(InputError) as caught:
        write_layout(folder, {"train": image(cache, "train", "new")}, {}, cache)
    assert caught.value.message == LOSS
    assert caught.value.hint == "name another folder with --output oci:DIR, or remove this one"
    assert content(folder) == before


def test_a_layout_that_was_begun_is_finished(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    (folder / "index.json").unlink()
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    assert open_layout(folder).refs == ("train",)


def foreign(folder: Path, ref: str) -> HandMade:
    made = HandMade(folder)
    config = {"config": {"Labels": {"vendor": "somebody"}}}
    entry = made.image(ref, [tar([("a", "file", "x")])], config)
    entry["platform"] = {"os": "linux", "architecture": "amd64"}
    made.artifact(entry, b"somebody's signature")
    return made


def test_images_of_others_stay(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    made = foreign(folder, "important")
    before = content(folder)
    for text in ("one", "two"):
        written = image(cache, "train", text)
        gone = write_layout(folder, {"train": written}, {"train": b"s"}, cache, ours=is_ours)
        assert gone == {}
        layout = open_layout(folder)
        assert layout.refs == ("important", "train")
        # To the byte: entries, blobs, and what is about them.
        entries = json.loads((folder / "index.json").read_text())["manifests"]
        assert all(entry in entries for entry in made.entries)
        assert len(entries) == 4
        blobs = {name: data for name, data in before.items() if name.startswith("blobs/")}
        assert blobs.items() <= content(folder).items()
    gone = write_layout(folder, {"serve": image(cache, "serve")}, {}, cache, ours=is_ours)
    assert gone == {"train": "made in another environment"}
    assert open_layout(folder).refs == ("important", "serve")


def test_an_image_of_others_under_a_name_of_ours(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    made = foreign(folder, "train")
    before = content(folder)
    with pytest.raises(InputError) as caught:
        write_layout(folder, {"train": image(cache, "train")}, {}, cache, ours=is_ours)
    assert str(caught.value) == (
        f'{folder}: an image "train" that mllock did not make is in this layout\n'
        f"found: {made.entries[0]['digest']}\n"
        "hint: name another folder with --output oci:DIR, or give that image another name"
    )
    assert content(folder) == before
    write_layout(folder, {"serve": image(cache, "serve")}, {}, cache, ours=is_ours)
    assert open_layout(folder).refs == ("serve", "train")


@pytest.mark.parametrize("ref", ["important", "train", None])
def test_what_is_not_read_here_is_not_lost(tmp_path: Path, cache: Cache, ref: str | None) -> None:
    """An image of another form (Docker's, zstd, an index): what it needs cannot be told."""
    folder = tmp_path / "oci"
    made = HandMade(folder)
    made.add(b'{"schemaVersion":2,"mediaType":"application/vnd.docker.manifest.v2"}', ref)
    before = content(folder)
    with pytest.raises(InputError) as caught:
        write_layout(folder, {"train": image(cache, "train")}, {}, cache, ours=is_ours)
    assert caught.value.message == LOSS
    assert content(folder) == before


def test_an_image_of_others_that_is_damaged_is_not_lost(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    made = foreign(folder, "important")
    (folder / "blobs" / "sha256" / made.entries[0]["digest"][7:]).write_bytes(b"x")
    before = content(folder)
    with pytest.raises(InputError) as caught:
        write_layout(folder, {"train": image(cache, "train")}, {}, cache, ours=is_ours)
    assert caught.value.message == LOSS
    assert content(folder) == before


def test_a_folder_with_other_things_is_refused(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "home"
    (folder / "blobs").mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError) as caught:
        write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    assert str(caught.value) == (
        f"{folder}: this folder holds something that is not an OCI layout\n"
        "found: thesis.tex\nhint: name another folder with --output oci:DIR"
    )
    with pytest.raises(InputError) as caught:
        write_layout(folder / "thesis.tex", {}, {}, cache)
    assert caught.value.message == "not a folder"
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_a_layout_that_another_is_beginning_is_none_of_others(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / atomic.temp_name()).write_bytes(b"{}")
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    assert open_layout(folder).refs == ("train",)


def test_a_layer_that_the_cache_lost(tmp_path: Path, cache: Cache) -> None:
    train = image(cache, "train")
    cache.blob_path(train.layers[0].digest).unlink()
    with pytest.raises(IntegrityError) as caught:
        write_layout(tmp_path / "oci", {"train": train}, {}, cache)
    assert str(caught.value) == (
        f"{train.layers[0].digest}: a layer is gone from the cache\n"
        "hint: run the same command again: the layer is made anew"
    )
    with pytest.raises((InputError, ArchiveError)):
        open_layout(tmp_path / "oci")


def test_without_hard_links(tmp_path: Path, cache: Cache, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    train = image(cache, "train")
    write_layout(tmp_path / "oci", {"train": train}, {}, cache)
    assert open_layout(tmp_path / "oci").image("train").config == train.config


def test_a_full_disk_leaves_the_old_images(tmp_path: Path, cache: Cache, monkeypatch) -> None:
    folder = tmp_path / "oci"
    old = image(cache, "train")
    write_layout(folder, {"train": old}, {}, cache)
    before = (folder / "index.json").read_bytes()
    new = image(cache, "train", "new")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(SurroundingsError) as caught:
        write_layout(folder, {"train": new}, {}, cache)
    assert caught.value.message == "cannot write: no space left on device"
    assert (folder / "index.json").read_bytes() == before
    assert open_layout(folder).image("train").config == old.config
    assert not [name for name in files(folder) if "tmp" in name]


@pytest.mark.parametrize("fails", ["link", "first", "index.json"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing_that_was_not_there(
    tmp_path: Path, cache: Cache, monkeypatch, fails: str, error: BaseException
) -> None:
    """Neither where there was nothing, nor in a layout of before."""
    write, old, new = atomic.write_bytes, image(cache, "train"), image(cache, "serve", "x")

    def link(*_: object, **__: object) -> None:
        raise error

    def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
        if path.name == fails or fails == "first":
            raise error
        write(path, data, mode)

    kind = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else Exception
    (tmp_path / "old").mkdir()
    write_layout(tmp_path / "old" / "oci", {"train": old}, {"train": b"s"}, cache)
    before = files(tmp_path / "old")
    with monkeypatch.context() as patch:
        if fails == "link":
            patch.setattr(os, "link", link)
        patch.setattr(atomic, "write_bytes", write_bytes)
        for folder in (tmp_path / "old" / "oci", tmp_path / "a" / "b" / "oci"):
            with pytest.raises(kind):
                write_layout(folder, {"serve": new}, {"serve": b"t"}, cache)
    assert files(tmp_path / "old") == before
    assert not (tmp_path / "a").exists()
    assert open_layout(tmp_path / "old" / "oci").image("train").config == old.config


def test_a_failure_after_the_new_index_keeps_the_new_images(
    tmp_path: Path, cache: Cache, monkeypatch
) -> None:
    write, new = atomic.write_bytes, image(cache, "train", "new")

    def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
        write(path, data, mode)
        if path.name == "index.json":
            raise KeyboardInterrupt

    write_layout(tmp_path / "oci", {"train": image(cache, "train")}, {}, cache)
    monkeypatch.setattr(atomic, "write_bytes", write_bytes)
    for folder in (tmp_path / "oci", tmp_path / "other"):
        with pytest.raises(KeyboardInterrupt):
            write_layout(folder, {"train": new}, {}, cache)
        assert open_layout(folder).image("train").config == new.config


@dataclass
class Result:
    errors: list[BaseException]


def test_many_writers_at_once(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "oci"
    images = [image(cache, "train", str(number)) for number in range(8)]
    result = Result([])

    def write(one: Image) -> None:
        try:
            for _ in range(5):
                write_layout(folder, {"train": one}, {"train": b"s"}, cache)
        except BaseException as error:
            result.errors.append(error)

    threads = [threading.Thread(target=write, args=(one,)) for one in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert result.errors == []
    layout = open_layout(folder)
    assert layout.image("train").config in [one.config for one in images]
    for layer in layout.image("train").layers:
        assert b"".join(layout.stream(layer))
