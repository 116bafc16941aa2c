"""What counts only if this user wrote it: a second user tries to put something there."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reporter import Recorder

from mllock.image.layers import recall, remember
from mllock.store.cache import Cache
from mllock.store.own import read_own

OTHER = 12345


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.fail("only root can be two users: run the tests as root")


@pytest.fixture
def cache() -> Iterator[Cache]:
    """In a folder that another user gets to, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Cache(Path(name, "cache"), Recorder())


@contextlib.contextmanager
def as_other() -> Iterator[None]:
    os.setegid(OTHER)
    os.seteuid(OTHER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def entry(cache: Cache, name: str = "one.json", data: bytes = b"mine") -> Path:
    path = cache.folder("layers") / name
    path.write_bytes(data)
    path.chmod(0o644)
    return path


def test_what_this_user_wrote_in_folders_of_its_own(cache: Cache) -> None:
    assert read_own(entry(cache), 100) == b"mine"
    assert read_own(entry(cache), 3) is None


@pytest.mark.parametrize("folder", ["layers", "."])
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o2775, 0o775])
def test_a_folder_that_others_may_write(cache: Cache, folder: str, mode: int) -> None:
    path = entry(cache)
    place = cache.root / folder
    if mode & stat.S_IWGRP and not mode & stat.S_IWOTH:
        os.chown(place, -1, OTHER)
    place.chmod(mode)
    assert read_own(path, 100) is None
    place.chmod(0o755)
    assert read_own(path, 100) == b"mine"


@pytest.mark.parametrize("folder", ["layers", "."])
def test_a_folder_of_another_user(cache: Cache, folder: str) -> None:
    path = entry(cache)
    os.chown(cache.root / folder, OTHER, OTHER)
    assert read_own(path, 100) is None


def test_the_group_that_is_the_users_own(cache: Cache) -> None:
    """As a umask of 002 makes it, where each user has a group."""
    path = entry(cache)
    path.parent.chmod(0o775)
    assert read_own(path, 100) == b"mine"


def test_folders_of_root_are_as_good_as_ones_own(cache: Cache) -> None:
    """Root could do anything anyway; an ordinary user reads below folders of root."""
    path = entry(cache)
    os.chown(path, OTHER, OTHER)
    with as_other():
        assert read_own(path, 100) == b"mine"
    cache.root.chmod(0o777)
    with as_other():
        assert read_own(path, 100) is None


def test_one_answer_in_the_place_of_another(cache: Cache) -> None:
    """The attack: a file of ours, renamed by somebody who may write the folder. Owner and mode are
    right, and only the folder says that the name means nothing."""
    first, second = entry(cache, "one.json", b"one"), entry(cache, "two.json", b"two")
    with as_other(), pytest.raises(PermissionError):
        first.rename(second)
    assert read_own(second, 100) == b"two"
    first.parent.chmod(0o777)
    with as_other():
        first.rename(second)
    assert second.read_bytes() == b"one"
    assert second.stat().st_uid == os.geteuid()
    assert read_own(second, 100) is None


def test_a_layer_is_made_again_where_nothing_is_believed(cache: Cache) -> None:
    remember(cache, "layer", {"of": "a"}, {"digest": "sha256:1"})
    assert recall(cache, "layer", {"of": "a"}) == {"digest": "sha256:1"}
    cache.folder("layers").chmod(0o777)
    assert recall(cache, "layer", {"of": "a"}) is None
    cache.folder("layers").chmod(0o755)
    assert recall(cache, "layer", {"of": "a"}) == {"digest": "sha256:1"}


def test_deeper_entries_look_at_more_folders(cache: Cache) -> None:
    path = cache.folder("unpacked") / "KEY" / "files.json"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    cache.root.chmod(0o777)
    assert read_own(path, 100, depth=2) == b"mine"
    assert read_own(path, 100, depth=3) is None


def test_new_folders_are_for_one_user_whatever_the_umask(cache: Cache) -> None:
    os.chown(cache.root.parent, -1, OTHER)
    before = os.umask(0o002)
    try:
        digest = cache.put_bytes(b"a blob")
        path = entry(cache)
    finally:
        os.umask(before)
    for folder in (cache.root, path.parent, *list(cache.blob_path(digest).parents)[:3]):
        assert folder.stat().st_mode & 0o777 == 0o755, folder
    assert read_own(path, 100) == b"mine"


def test_below_a_folder_that_is_shared_on_purpose_they_are_shared(cache: Cache) -> None:
    """The set-group-ID bit, as docs/reference/cache.md asks for it: others may add, and so nothing
    is believed that has no digest."""
    cache.root.mkdir()
    os.chown(cache.root, -1, OTHER)
    cache.root.chmod(0o2775)
    before = os.umask(0o002)
    try:
        path = entry(cache)
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o7777 == 0o2775
    assert path.parent.stat().st_gid == OTHER
    assert read_own(path, 100) is None
