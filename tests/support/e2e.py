"""Fixtures of the end-to-end tests: real projects, real archives, `mllock` as a process.

Loaded as a plugin, so that every test folder has them. One cache is shared by a session, because
the archives are real and far away; keys and configuration are the session's own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """A shell that starts us in the background makes us ignore Ctrl-C, and nohup a hangup, and with
    us every program that a test starts in order to interrupt it: a handler is not inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)


MLLOCK = Path(sys.executable).with_name("mllock")


def mllock(
    folder: Path, *arguments: str, environ: Mapping[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Type `mllock ARGUMENTS` in `folder`; `environ` comes on top of the caller's."""
    return subprocess.run(
        [str(MLLOCK), *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def must(
    folder: Path, *arguments: str, environ: Mapping[str, str], code: int = 0
) -> subprocess.CompletedProcess[str]:
    """The same, where the exit code has to be `code`; shows what was printed if it is not."""
    done = mllock(folder, *arguments, environ=environ)
    assert done.returncode == code, f"mllock {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done


# Brings the loopback up, which a new namespace has down (netdevice(7): SIOCSIFFLAGS, IFF_UP).
_ONLY_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def no_network(command: list[str]) -> list[str]:
    """`command` in a network namespace of its own: there is nothing but its own loopback."""
    return ["unshare", "--net", "--", sys.executable, "-c", _ONLY_LOOPBACK, *command]


@pytest.fixture(scope="session")
def e2e_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("e2e")
    return {
        "MLLOCK_CACHE": str(root / "cache"),
        "XDG_CONFIG_HOME": str(root / "config"),
        "HOME": str(root / "home"),
        "MLLOCK_KEY": "",
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, e2e_environ: dict[str, str]) -> Path:
    """The starter project, locked, trained and built. Not to be changed: take `starter`."""
    folder = tmp_path_factory.mktemp("finished") / "wine"
    must(folder.parent, "init", "wine", environ=e2e_environ)
    must(folder, "lock", environ=e2e_environ)
    must(folder, "train", environ=e2e_environ)
    must(folder, "build", environ=e2e_environ)
    return folder


@pytest.fixture
def starter(tmp_path: Path, finished: Path) -> Path:
    """A copy of `finished` of the test's own."""
    folder = tmp_path / "wine"
    shutil.copytree(finished, folder, symlinks=True)
    return folder
