"""`mllock lock` when it cannot: the real command, the real pip. The old lock always stays.

The Debian part is locked beforehand and is not asked for again, because its inputs do not change.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lock_project import LockProject
from support.wheels import SimpleIndex, pip_environ, simple_index

from mllock.lock.near_names import meant


class Typing:
    def __init__(self, folder: Path, index: SimpleIndex) -> None:
        self.project = LockProject(folder)
        self.project.lock()
        self.project.change('"beta"]', '"beta", "gamma"]')
        self.index = index
        self.environ = pip_environ(folder / "home", index=index)
        self.environ |= {"MLLOCK_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
        self.before = self.project.path.read_bytes()
        for name in ("alpha", "beta"):
            index.add(name, "1.0")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "mllock", "lock", *arguments],
            cwd=self.project.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def fails(self, code: int, *arguments: str) -> str:
        """What it says on standard error; nothing else may have happened."""
        with self.start(*arguments) as process:
            out, err = process.communicate()
        assert (process.returncode, out) == (code, ""), err
        self.nothing_happened()
        return err

    def nothing_happened(self) -> None:
        assert self.project.path.read_bytes() == self.before
        names = sorted(path.name for path in self.project.folder.iterdir())
        assert names == [".mllock", "mlproject.lock", "mlproject.toml", "train.csv"]
        left = self.project.ctx.cache.root / "tmp"
        assert not left.exists() or list(left.iterdir()) == []


@pytest.fixture
def typing(tmp_path: Path) -> Iterator[Typing]:
    with simple_index() as index:
        yield Typing(tmp_path, index)


def test_other_bytes_than_those_that_are_locked(typing: Typing) -> None:
    # The fakes' wheels are not those of the index, and have the same names.
    typing.index.add("gamma", "3.0")
    err = typing.fails(4)
    assert "serves other bytes for alpha-1.0-py3-none-any.whl than those that are locked" in err
    with typing.start("--upgrade", "alpha", "--upgrade", "beta") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (
        0,
        "Updated alpha 1.0 -> 1.0 (other file)\n"
        "Updated beta 1.0 -> 1.0 (other file)\n"
        "Added gamma 3.0\n",
    ), err
    with typing.start("--check") as process:
        assert process.communicate() == ("", "mlproject.lock is current\n")


def test_a_package_that_does_not_exist(typing: Typing) -> None:
    assert typing.fails(2) == (
        "resolving 3 requirements\n"
        "error: mlproject.toml:7: environment.dependencies[2]: no package 'gamma' in the index\n"
        "hint: check the spelling; a private index is set in pip's settings, "
        "e.g. PIP_EXTRA_INDEX_URL\n"
    )


def test_a_package_that_may_be_meant_for_another(typing: Typing) -> None:
    typing.project.change('"gamma"', '"SKLearn"')
    assert typing.fails(2) == (
        "resolving 3 requirements\n"
        "error: mlproject.toml:7: environment.dependencies[2]: no package 'sklearn' in the index\n"
        'hint: did you mean "scikit-learn"? a private index is set in pip\'s settings, '
        "e.g. PIP_EXTRA_INDEX_URL\n"
    )


def test_what_may_be_meant() -> None:
    assert meant("cv2", []) == "opencv-python-headless"
    assert meant("Pandsa", []) == "pandas"
    assert meant("our_toolz", ["our-tools"]) == "our-tools"
    assert meant("our-tools", ["our-tools"]) is None
    assert meant("zzzz", ["our-tools"]) is None


def test_no_network(typing: Typing) -> None:
    typing.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
    assert typing.fails(4) == (
        "resolving 3 requirements\n"
        "error: the package index cannot be read: 127.0.0.1\n"
        "found: connection refused\n"
        "hint: check the network, the proxy and pip's settings (pip config debug)\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(typing: Typing, number: int) -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        typing.environ["PIP_INDEX_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        typing.environ["PIP_TIMEOUT"] = "60"

        def wait() -> None:
            connection, _ = silent.accept()
            asked.set()
            with connection:
                connection.recv(1)
                time.sleep(0.2)

        thread = threading.Thread(target=wait)
        thread.start()
        with typing.start() as process:
            assert asked.wait(60)
            # As a terminal does: to the whole group. pip has one of its own, and is ended by us.
            os.killpg(process.pid, number)
            _, err = process.communicate(timeout=30)
        thread.join()
    assert process.returncode == 130
    assert err == "resolving 3 requirements\n\ninterrupted: nothing was half-written\n"
    typing.nothing_happened()
