"""Blobs that were hashed before: believed while the file is the same one, and no longer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reporter import Recorder

from mllock.core.digest import Digest
from mllock.store import cache as cache_module
from mllock.store import unchanged
from mllock.store.cache import Cache

OLD = 1_700_000_000


@pytest.fixture
def reporter() -> Recorder:
    return Recorder()


@pytest.fixture
def cache(tmp_path: Path, reporter: Recorder) -> Cache:
    return Cache(tmp_path / "cache", reporter)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose bytes were read."""
    names: list[str] = []
    original = cache_module.Cache.get

    def get(self: Cache, digest: Digest) -> Path | None:
        names.append(digest)
        return original(self, digest)

    monkeypatch.setattr(cache_module.Cache, "get", get)
    return names


def settle(cache: Cache) -> None:
    """Until the clock of the file system has moved on: what was written in this tick of it could
    be written once more, and look the same."""
    folder = cache.folder("tmp")
    last = max((p.stat().st_ctime_ns for p in (cache.root / "blobs").rglob("*")), default=0)
    probe = folder / "probe"
    for _ in range(1000):
        probe.write_bytes(b"")
        now = probe.stat().st_mtime_ns
        probe.unlink()
        if now > last:
            return
        time.sleep(0.001)
    raise AssertionError("the clock of the file system stands still")


def kept(cache: Cache, data: bytes = b"a layer") -> Digest:
    """A blob that counts as hashed."""
    digest = cache.put_bytes(data)
    settle(cache)
    assert cache.unchanged([digest]) == {digest: cache.blob_path(digest)}
    return digest


def test_a_blob_is_hashed_once(cache: Cache, hashed: list[str]) -> None:
    one, two = kept(cache), kept(cache, b"another")
    hashed.clear()
    again = Cache(cache.root, Recorder())
    assert again.unchanged([two, one, two]) == {
        two: cache.blob_path(two),
        one: cache.blob_path(one),
    }
    assert hashed == []


def test_what_is_not_there_is_none(cache: Cache, hashed: list[str]) -> None:
    gone = kept(cache)
    cache.blob_path(gone).unlink()
    never = Digest("sha256:" + "0" * 64)
    assert cache.unchanged([gone, never]) == {gone: None, never: None}


def other_bytes(path: Path) -> None:
    """Other bytes of the same size under the same times, all but the one that the kernel sets."""
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"A")
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def another_file(path: Path) -> None:
    status = path.stat()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(b"A" + data[1:])
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 3)


def a_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize("change", [other_bytes, another_file, cut, a_link])
def test_what_was_changed_is_found(
    cache: Cache, reporter: Recorder, change: Callable[[Path], None]
) -> None:
    digest = kept(cache)
    change(cache.blob_path(digest))
    assert cache.unchanged([digest]) == {digest: None}
    assert reporter.lines == [f"warn: removed a damaged entry of the cache: {digest}"]


def test_a_file_of_this_very_moment_is_hashed_again(
    cache: Cache, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = cache.put_bytes(b"a layer")
    # The clock of the file system has not moved since.
    moment = cache.blob_path(digest).stat()
    monkeypatch.setattr(
        unchanged.Unchanged, "now", lambda self: (moment.st_ctime_ns, moment.st_dev)
    )
    cache.unchanged([digest])
    hashed.clear()
    cache.unchanged([digest])
    assert hashed == [digest]


def test_a_file_that_changes_while_it_is_hashed(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = cache.put_bytes(b"a layer")
    settle(cache)
    path = cache.blob_path(digest)
    original = cache_module.Cache.get

    def get(self: Cache, asked: Digest) -> Path | None:
        found = original(self, asked)
        other_bytes(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.Cache, "get", get)
        cache.unchanged([digest])
    assert cache.unchanged([digest]) == {digest: None}


def test_another_start_of_the_machine_forgets(
    cache: Cache, hashed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = kept(cache)
    hashed.clear()
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr(unchanged, "_BOOT", tmp_path / "boot")
    cache.unchanged([digest])
    assert hashed == [digest]
    hashed.clear()
    cache.unchanged([digest])
    assert hashed == []
    # Where nobody can say when the machine started, nothing is believed.
    monkeypatch.setattr(unchanged, "_BOOT", tmp_path / "none")
    cache.unchanged([digest])
    cache.unchanged([digest])
    assert hashed == [digest, digest]


@pytest.mark.parametrize("mode", [0o464, 0o446])
def test_a_file_that_others_may_write(cache: Cache, hashed: list[str], mode: int) -> None:
    digest = cache.put_bytes(b"a layer")
    cache.blob_path(digest).chmod(mode)
    settle(cache)
    cache.unchanged([digest])
    cache.unchanged([digest])
    assert hashed == [digest, digest]


def test_a_file_of_another_user(cache: Cache, hashed: list[str]) -> None:
    digest = cache.put_bytes(b"a layer")
    if os.geteuid() != 0:
        pytest.fail("only root can give a file away: run the tests as root")
    os.chown(cache.blob_path(digest), 12345, -1)
    settle(cache)
    cache.unchanged([digest])
    cache.unchanged([digest])
    assert hashed == [digest, digest]


def list_of(cache: Cache) -> Path:
    (found,) = cache.folder("unchanged").iterdir()
    return found


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"boot": 1}', '{"boot": "x", "blobs": {"a": [1]}}', "[" * 100_000]
)
def test_a_list_that_cannot_be_read_says_nothing(
    cache: Cache, hashed: list[str], text: str
) -> None:
    digest = kept(cache)
    list_of(cache).write_text(text)
    hashed.clear()
    assert cache.unchanged([digest]) == {digest: cache.blob_path(digest)}
    assert hashed == [digest]


def test_the_list_of_another_user_says_nothing(cache: Cache, hashed: list[str]) -> None:
    digest = kept(cache)
    place = list_of(cache)
    assert place.stat().st_mode & 0o777 == 0o600
    place.chmod(0o666)
    hashed.clear()
    cache.unchanged([digest])
    assert hashed == [digest]


def test_a_list_that_cannot_be_written_is_no_error(cache: Cache, hashed: list[str]) -> None:
    digest = cache.put_bytes(b"a layer")
    settle(cache)
    (cache.root / "unchanged").write_bytes(b"a file where the folder should be")
    cache.unchanged([digest])
    assert cache.unchanged([digest]) == {digest: cache.blob_path(digest)}
    assert hashed == [digest, digest]


def test_another_name_does_not_change_it(cache: Cache, hashed: list[str], tmp_path: Path) -> None:
    digest = kept(cache)
    hashed.clear()
    cache.link({digest: tmp_path / "layer"})
    assert (tmp_path / "layer").read_bytes() == b"a layer"
    assert os.path.samefile(tmp_path / "layer", cache.blob_path(digest))
    cache.unchanged([digest])
    assert hashed == []
    # Through the other name it is the same file.
    other_bytes(tmp_path / "layer")
    assert cache.unchanged([digest]) == {digest: None}


def test_another_name_renews_nothing_that_was_not_known(
    cache: Cache, hashed: list[str], tmp_path: Path
) -> None:
    digest = cache.put_bytes(b"a layer")
    other_bytes(cache.blob_path(digest))
    cache.link({digest: tmp_path / "layer"})
    assert cache.unchanged([digest]) == {digest: None}


def test_what_was_just_made_counts_at_once(cache: Cache, hashed: list[str]) -> None:
    digest = cache.put_bytes(b"a layer")
    cache.made([digest, Digest("sha256:" + "0" * 64)])
    hashed.clear()
    assert cache.unchanged([digest]) == {digest: cache.blob_path(digest)}
    assert hashed == []


@pytest.mark.parametrize("place", ["", "blobs", "blobs/sha256"])
def test_where_others_may_rename_everything_is_hashed(
    cache: Cache, hashed: list[str], place: str
) -> None:
    digest = kept(cache)
    (cache.root / place).chmod(0o777)
    hashed.clear()
    cache.unchanged([digest])
    cache.made([digest])
    cache.unchanged([digest])
    assert hashed == [digest, digest]


def test_a_group_of_others_may_rename(cache: Cache, hashed: list[str]) -> None:
    digest = kept(cache)
    cache.root.chmod(0o775)
    hashed.clear()
    cache.unchanged([digest])
    assert hashed == []  # the user's own group
    os.chown(cache.root, -1, 12345)
    cache.root.chmod(0o775)
    cache.unchanged([digest])
    assert hashed == [digest]


def test_a_blob_that_somebody_put_in_place_of_the_list(cache: Cache, hashed: list[str]) -> None:
    digest = kept(cache)
    list_of(cache).chmod(0o444)
    hashed.clear()
    cache.unchanged([digest])
    assert hashed == [digest]


def test_two_processes_keep_what_both_found(cache: Cache, hashed: list[str]) -> None:
    one = kept(cache)
    other = unchanged.Unchanged(cache.root / "unchanged")
    two = kept(cache, b"another")
    status = cache.blob_path(one).stat()
    other.remember(one, status, status, (2**63, status.st_dev))
    other.save()
    assert set(json.loads(list_of(cache).read_bytes())["blobs"]) == {one, two}
