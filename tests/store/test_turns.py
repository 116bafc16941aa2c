"""One at a time: what is read, changed and written again loses nothing, and nobody waits for the
dead."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mllock.errors import SurroundingsError
from mllock.store.turns import turn

FORK = multiprocessing.get_context("fork")


def add(folder: str) -> None:
    path = Path(folder) / "count"
    for _ in range(50):
        with turn(Path(folder)):
            path.write_text(str(int(path.read_text()) + 1))


def test_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    workers = [FORK.Process(target=add, args=(str(tmp_path),)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "count").read_text() == "200"
    assert os.listdir(tmp_path) == ["count"]


def hold(folder: str, ready: Any) -> None:
    with turn(Path(folder)):
        ready.set()
        signal.pause()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    ready = FORK.Event()
    worker = FORK.Process(target=hold, args=(str(tmp_path), ready))
    worker.start()
    ready.wait()
    worker.kill()
    with turn(tmp_path):
        pass
    worker.join()


def test_a_folder_is_made_with_its_mode(tmp_path: Path) -> None:
    with turn(tmp_path / "a" / "b", 0o700):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SurroundingsError) as caught, turn(tmp_path / "file"):
        pass
    assert str(caught.value) == (
        f"{tmp_path / 'file'}: cannot write: a file is where a folder should be"
    )
