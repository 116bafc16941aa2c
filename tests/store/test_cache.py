"""The cache: whole entries or none, nothing believed, many processes, nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from support.reporter import Recorder

from mllock.core.digest import sha256_of
from mllock.errors import IntegrityError, SurroundingsError
from mllock.store.cache import Cache


def temporaries(cache: Cache) -> list[str]:
    folder = cache.root / "tmp"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def cache(tmp_path: Path, recorder: Recorder) -> Cache:
    return Cache(tmp_path / "cache", recorder)


def test_making_one_touches_nothing(cache: Cache) -> None:
    assert cache.get(sha256_of(b"a")) is None
    assert not cache.root.exists()


def test_put_bytes_and_get(cache: Cache) -> None:
    digest = cache.put_bytes(b"hello")
    path = cache.get(digest)
    assert digest == sha256_of(b"hello")
    assert path == cache.root / "blobs" / "sha256" / digest[7:9] / digest[7:]
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert temporaries(cache) == []


def test_an_equal_entry_is_left_alone(cache: Cache) -> None:
    path = cache.get(cache.put_bytes(b"hello"))
    assert path is not None
    inode = path.stat().st_ino
    cache.put_bytes(b"hello")
    assert path.stat().st_ino == inode


def test_mode_does_not_depend_on_the_umask(cache: Cache) -> None:
    old = os.umask(0o077)
    try:
        path = cache.get(cache.put_bytes(b"hello"))
    finally:
        os.umask(old)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def _damage(path: Path, how: str) -> None:
    path.chmod(0o644)
    match how:
        case "byte":
            path.write_bytes(b"hellO")
        case "short":
            path.write_bytes(b"hell")
        case "empty":
            path.write_bytes(b"")
        case "long":
            path.write_bytes(b"hello!")
        case "link":
            path.unlink()
            path.symlink_to("/etc/hostname")
        case "dangling":
            path.unlink()
            path.symlink_to("nowhere")
        case "folder":
            path.unlink()
            path.mkdir()
            (path / "x").touch()
        case "fifo":
            path.unlink()
            os.mkfifo(path)


DAMAGES = ("byte", "short", "empty", "long", "link", "dangling", "folder", "fifo")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_entry_is_removed_and_reported(
    cache: Cache, recorder: Recorder, how: str
) -> None:
    digest = cache.put_bytes(b"hello")
    _damage(cache.blob_path(digest), how)
    assert cache.get(digest) is None
    assert not os.path.lexists(cache.blob_path(digest))
    assert recorder.lines == [f"warn: removed a damaged entry of the cache: {digest}"]
    assert cache.get(digest) is None
    assert len(recorder.lines) == 1


@pytest.mark.parametrize("how", DAMAGES)
def test_putting_again_repairs_a_damaged_entry(cache: Cache, how: str) -> None:
    digest = cache.put_bytes(b"hello")
    _damage(cache.blob_path(digest), how)
    assert cache.put_bytes(b"hello") == digest
    path = cache.get(digest)
    assert path is not None
    assert path.read_bytes() == b"hello"


def test_get_all(cache: Cache) -> None:
    here = [cache.put_bytes(bytes([number])) for number in range(5)]
    missing = sha256_of(b"missing")
    found = cache.get_all([*here, missing, here[0]])
    assert found == {**{digest: cache.blob_path(digest) for digest in here}, missing: None}


@pytest.mark.parametrize("move", [False, True])
def test_put_file(cache: Cache, tmp_path: Path, move: bool) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hello")
    digest = cache.put_file(source, expected=sha256_of(b"hello"), move=move)
    path = cache.get(digest)
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert source.exists() is not move
    assert temporaries(cache) == []


def test_a_moved_file_with_another_name_is_copied(cache: Cache, tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    source.write_bytes(b"hello")
    os.link(source, other)
    digest = cache.put_file(source, move=True)
    other.write_bytes(b"changed")
    assert not source.exists()
    assert cache.get(digest) is not None


@pytest.mark.parametrize("move", [False, True])
def test_put_file_with_the_wrong_digest(cache: Cache, tmp_path: Path, move: bool) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hellO")
    with pytest.raises(IntegrityError) as caught:
        cache.put_file(source, expected=sha256_of(b"hello"), move=move)
    assert str(caught.value) == (
        f"{source}: bytes are not what their digest says\n"
        f"expected: {sha256_of(b'hello')}\n"
        f"found: {sha256_of(b'hellO')}"
    )
    assert source.read_bytes() == b"hellO"
    assert cache.get(sha256_of(b"hellO")) is None
    assert temporaries(cache) == []


def test_put_file_that_is_missing(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError) as caught:
        cache.put_file(tmp_path / "nothing")
    assert str(caught.value) == f"{tmp_path}/nothing: cannot read: no such file or directory"


def test_writer(cache: Cache) -> None:
    with cache.writer() as writer:
        writer.write(b"hel")
        writer.write(memoryview(b"lo"))
        assert writer.size == 5
        digest = writer.commit()
    assert digest == writer.committed == sha256_of(b"hello")
    assert cache.get(digest) is not None
    assert temporaries(cache) == []


def test_writer_without_commit_leaves_nothing(cache: Cache) -> None:
    with pytest.raises(KeyboardInterrupt), cache.writer() as writer:
        writer.write(b"hello")
        raise KeyboardInterrupt
    assert cache.get(sha256_of(b"hello")) is None
    assert temporaries(cache) == []


def test_writer_bounds_and_expects(cache: Cache) -> None:
    with pytest.raises(IntegrityError) as caught, cache.writer(max_bytes=4) as writer:
        writer.write(b"hello")
    assert str(caught.value) == (
        "more bytes than expected\nexpected: 4 bytes\nfound: at least 5 bytes"
    )
    with (
        pytest.raises(IntegrityError, match="bytes are not what their digest says"),
        cache.writer(expected=sha256_of(b"hello")) as writer,
    ):
        writer.write(b"hellO")
        writer.commit()
    assert temporaries(cache) == []


def test_scratch_is_removed(cache: Cache) -> None:
    with pytest.raises(KeyboardInterrupt), cache.scratch() as folder:
        assert list(folder.iterdir()) == []
        (folder / "sub").mkdir(mode=0o555)
        (folder / "file").write_bytes(b"x")
        raise KeyboardInterrupt
    assert temporaries(cache) == []


def test_leftovers_of_killed_processes_go_when_they_are_old(cache: Cache) -> None:
    folder = cache.folder("tmp")
    for name, age in ((".mllock-tmp-1-old", 90_000), (".mllock-tmp-1-new", 60), ("other", 90_000)):
        (folder / name).mkdir()
        (folder / name / "file").touch()
        stamp = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (stamp, stamp))
    with cache.scratch():
        pass
    assert temporaries(cache) == [".mllock-tmp-1-new", "other"]


def test_full_disk_leaves_nothing(cache: Cache) -> None:
    cache.folder("tmp")
    os.symlink("/dev/full", cache.root / "full")
    with pytest.raises(SurroundingsError) as caught, cache.writer() as writer:
        writer._file.flush()
        os.dup2(os.open("/dev/full", os.O_WRONLY), writer._file.fileno())
        writer.write(b"x" * (4 << 20))
        writer.commit()
    assert caught.value.message == "cannot write: no space left on device"
    assert caught.value.hint == "free some space, then run the same command again"
    assert temporaries(cache) == []


def test_a_root_that_cannot_be_made(tmp_path: Path, recorder: Recorder) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SurroundingsError) as caught:
        Cache(tmp_path / "file" / "cache", recorder).put_bytes(b"x")
    assert (
        str(caught.value)
        == f"{tmp_path}/file/cache/tmp: cannot write: a file is where a folder should be"
    )


def _hammer(root: Path, failures: multiprocessing.Queue[str]) -> None:
    cache = Cache(root, Recorder())
    for round_ in range(40):
        data = bytes([round_]) * 300_000
        digest = cache.put_bytes(data)
        path = cache.get(digest)
        if path is None or path.read_bytes() != data:
            failures.put(f"round {round_}")


def test_processes_share_one_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    failures: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_hammer, args=(tmp_path, failures)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert failures.empty()
    assert temporaries(Cache(tmp_path, Recorder())) == []
