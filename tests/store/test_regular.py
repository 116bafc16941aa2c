"""Files that somebody else may have put there: opened without waiting, or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mllock.core.digest import sha256_of
from mllock.errors import InputError, RunError
from mllock.store.regular import hash_regular, open_regular
from mllock.train.runs import RunFolder


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))  # a path of a socket has at most 108 bytes


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "fifo": (os.mkfifo, "a FIFO"),
    "folder": (Path.mkdir, "a folder"),
    "socket": (bind, "a socket"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "link to a fifo": (
        lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe")),
        "a FIFO",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_regular_file(tmp_path: Path, what: str) -> None:
    make, found = ODD[what]
    path = tmp_path / "x"
    make(path)
    with pytest.raises(InputError) as caught:
        open_regular(path)
    assert str(caught.value) == f"{path}: not a regular file\nfound: {found}"
    with pytest.raises(InputError) as caught:
        hash_regular(path, max_bytes=9)
    assert caught.value.found == ("a link" if "link" in what else found)
    run = RunFolder(tmp_path / "20261123-081501-k3f9")
    run.path.mkdir()
    path.rename(run.path / "record.sigstore.json")
    with pytest.raises(RunError) as missing:
        run.bundle_bytes()
    assert missing.value.message == "no such file in the run"


def test_links_to_files_are_followed_where_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"data")
    (tmp_path / "link").symlink_to("real")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"data"
    with pytest.raises(InputError):
        open_regular(tmp_path / "link", follow=False)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "gone")


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1])
def test_a_digest_of_any_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(size))
    assert hash_regular(path, max_bytes=size) == sha256_of(bytes(size))
    path.write_bytes(bytes(size + 1))
    with pytest.raises(InputError) as caught:
        hash_regular(path, max_bytes=size)
    assert str(caught.value) == f"{path}: too large\nfound: more than {size} bytes"
