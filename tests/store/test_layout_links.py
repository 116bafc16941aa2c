"""Links in a layout that is written: no part of it is one, and nothing is removed behind one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.reporter import Recorder
from support.small_image import image

from mllock.errors import InputError, SurroundingsError
from mllock.store.cache import Cache
from mllock.store.layout import refuse_other_folders, write_layout
from mllock.store.layout_place import remove_blobs
from mllock.store.layout_reader import open_layout


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", Recorder())


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("part", ["blobs", "blobs/sha256", "index.json", "oci-layout"])
def test_a_link_in_the_place_of_a_part(tmp_path: Path, cache: Cache, part: str) -> None:
    """A repository brings a layout, and a link in it leads to what is another's."""
    folder, outside = tmp_path / "oci", tmp_path / "outside"
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    moved = outside / "moved"
    outside.mkdir()
    (folder / part).rename(moved)
    (folder / part).symlink_to(moved)
    place = moved / "sha256" if part == "blobs" else moved
    precious = (place if place.is_dir() else outside) / ("0" * 64)
    precious.write_bytes(b"precious")
    before = content(outside)
    message = (
        f"{folder / part}: a link is in the place of a part of a layout, and what it leads to "
        f"would be written to\nfound: a link to {moved}\n"
        "hint: remove the link, or name another folder with --output oci:DIR"
    )
    for ask in (
        lambda: write_layout(folder, {"train": image(cache, "train", "new")}, {}, cache),
        lambda: refuse_other_folders(folder),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        assert str(caught.value) == message
    assert content(outside) == before


def test_a_layout_without_images_has_no_links_either(tmp_path: Path, cache: Cache) -> None:
    folder, outside = tmp_path / "oci", tmp_path / "outside"
    outside.mkdir()
    folder.mkdir()
    (folder / "blobs").symlink_to(outside)
    with pytest.raises(InputError, match="a link is in the place of a part of a layout"):
        write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    assert list(outside.iterdir()) == []


def test_the_folder_that_was_named_may_be_a_link(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "big").mkdir()
    folder = tmp_path / "oci"
    folder.symlink_to("big")
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    (folder / "blobs/sha256" / ("0" * 64)).write_bytes(b"named by nothing")
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    assert open_layout(tmp_path / "big").refs == ("train",)
    assert not (folder / "blobs/sha256" / ("0" * 64)).exists()


@pytest.mark.parametrize("part", ["blobs", "blobs/sha256"])
def test_no_blob_is_removed_behind_a_link(tmp_path: Path, cache: Cache, part: str) -> None:
    """Not even of one that came after all was looked at."""
    folder, moved = tmp_path / "oci", tmp_path / "moved"
    write_layout(folder, {"train": image(cache, "train")}, {}, cache)
    (folder / part).rename(moved)
    (folder / part).symlink_to(moved)
    before = content(moved)
    with pytest.raises(SurroundingsError) as caught:
        remove_blobs(folder, lambda _: True)
    assert caught.value.file == str(folder / "blobs/sha256")
    assert content(moved) == before
