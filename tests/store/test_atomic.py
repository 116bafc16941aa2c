"""Writes are whole or absent, with every way to be interrupted."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mllock.errors import SurroundingsError
from mllock.store import atomic


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_are_exact(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        atomic.write_bytes(tmp_path / "a", b"1")
        atomic.write_text(tmp_path / "b", "ü\r\n", mode=0o600)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    assert (tmp_path / "b").read_bytes() == "ü\r\n".encode()


def test_parents_are_made_and_files_replaced(tmp_path: Path) -> None:
    atomic.write_bytes(tmp_path / "a/b/c", b"1")
    atomic.write_bytes(tmp_path / "a/b/c", b"2")
    assert (tmp_path / "a/b/c").read_bytes() == b"2"
    assert os.listdir(tmp_path / "a/b") == ["c"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"1")
    (tmp_path / "link").symlink_to("target")
    atomic.write_bytes(tmp_path / "link", b"2")
    assert (tmp_path / "target").read_bytes() == b"1"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_interrupted(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), atomic.writing(tmp_path / "a") as file:
        file.write(b"half")
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["fsync", "rename", "fchmod"])
def test_full_disk_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(SurroundingsError) as caught:
        atomic.write_bytes(tmp_path / "a", b"new")
    assert str(caught.value) == (
        f"{tmp_path}/a: cannot write: no space left on device\n"
        "hint: free some space, then run the same command again"
    )
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_really_full_disk(tmp_path: Path) -> None:
    with pytest.raises(SurroundingsError) as caught, atomic.writing(tmp_path / "a") as file:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, file.fileno())
        os.close(full)
        file.write(b"x")
    assert caught.value.message == "cannot write: no space left on device"
    assert os.listdir(tmp_path) == []


def test_other_errors_of_the_block_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.writing(tmp_path / "a"):
        (tmp_path / "nothing" / "here").read_bytes()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SurroundingsError) as caught:
        atomic.write_bytes(tmp_path / "file" / "a", b"")
    assert (
        str(caught.value) == f"{tmp_path}/file/a: cannot write: a file is where a folder should be"
    )


def test_staging(tmp_path: Path) -> None:
    with atomic.staging(tmp_path / "runs") as staged:
        (staged / "sub").mkdir()
        (staged / "sub" / "file").write_text("1")
        (staged / "link").symlink_to("sub/file")
        assert atomic.publish_folder(staged, tmp_path / "runs" / "1") is True
    assert (tmp_path / "runs/1/sub/file").read_text() == "1"
    assert stat.S_IMODE((tmp_path / "runs/1").stat().st_mode) == 0o755
    assert os.listdir(tmp_path / "runs") == ["1"]


def test_staging_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic.staging(tmp_path) as staged:
        (staged / "sub").mkdir()
        (staged / "sub" / "file").touch()
        (staged / "sub").chmod(0o555)
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_the_second_to_publish_is_told(tmp_path: Path) -> None:
    for expected in (True, False):
        with atomic.staging(tmp_path) as staged:
            (staged / str(expected)).touch()
            assert atomic.publish_folder(staged, tmp_path / "out") is expected
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["True"]


def test_publishing_over_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(SurroundingsError) as caught, atomic.staging(tmp_path) as staged:
        atomic.publish_folder(staged, tmp_path / "out")
    assert str(caught.value) == f"{tmp_path}/out: cannot write: a file is where a folder should be"
    assert os.listdir(tmp_path) == ["out"]


def test_old_leftovers_go_young_ones_stay(tmp_path: Path) -> None:
    for name, age in ((".mllock-tmp-1-a", 90_000), (".mllock-tmp-1-b", 10), ("mine", 90_000)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with atomic.staging(tmp_path):
        pass
    assert sorted(os.listdir(tmp_path)) == [".mllock-tmp-1-b", "mine"]


WRITER = """
import pathlib, sys
from mllock.store import atomic
path = pathlib.Path(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    atomic.write_bytes(path, b"%d" % (number % 10) * 100_000)
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.05])
def test_killed_at_any_time(tmp_path: Path, delay: float) -> None:
    path = tmp_path / "a"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        time.sleep(delay)
        program.send_signal(signal.SIGKILL)
        program.wait()
    if path.exists():
        data = path.read_bytes()
        assert len(data) == 100_000
        assert len(set(data)) == 1
    assert all(name == "a" or name.startswith(atomic.TEMP_PREFIX) for name in os.listdir(tmp_path))
