"""Containers and volumes of runs: removed when a run ends, found again when mllock was killed.

Everything of a run has three labels: the run, that it is training, and the owner, which is this
project's state folder and no copy of it. While a run lives it holds a lock on a file in that
folder; the kernel lets go of it when the process ends, however it ends. So the next run of the
project removes what belongs to its owner and to no living run, and nothing of anybody else's, be it
on the same engine. Raises EngineError.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from mllock.core.digest import hex_of, sha256_of
from mllock.core.ports import Reporter
from mllock.engine.ports import Engine
from mllock.engine.types import LABEL
from mllock.store import atomic
from mllock.train.container import OWNER_LABEL
from mllock.train.runs import is_run_id

__all__ = ["Claim", "remove_leftovers", "remove_run"]

_ID = "engine-id"


class Claim:
    """`with Claim(state, run_id) as claim`: the run lives as long as the block, or the process."""

    def __init__(self, state: Path, run_id: str) -> None:
        self._path = _lock_path(state, run_id)
        self._descriptor = -1
        self.owner = owner_of(state)

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise atomic.cannot_write(self._path, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._descriptor)


def owner_of(state: Path) -> str:
    """The owner label of this state folder: a random name that a copy of the folder changes."""
    path = state / _ID
    try:
        state.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(16) + "\n")
        name = path.read_bytes()[:64]
        folder = os.stat(state)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    return hex_of(sha256_of(name + f"{folder.st_dev}:{folder.st_ino}".encode()))[:32]


def remove_leftovers(engine: Engine, state: Path, reporter: Reporter) -> None:
    """Remove what runs of this project that were killed have left, and say so."""
    label = f"{OWNER_LABEL}={owner_of(state)}"
    runs = {container.labels.get(LABEL, "") for container in engine.containers(label)}
    runs |= {labels.get(LABEL, "") for labels in engine.volumes(label).values()}
    # A label is anybody's text, and becomes a file name below.
    for run_id in sorted(filter(is_run_id, runs)):
        if not _lives(state, run_id):
            remove_run(engine, run_id)
            reporter.note(f"removed the container of run {run_id}, which was killed")
            with contextlib.suppress(OSError):
                os.unlink(_lock_path(state, run_id))


def remove_run(engine: Engine, run_id: str) -> None:
    """Remove all containers and volumes of a run."""
    label = f"{LABEL}={run_id}"
    for container in engine.containers(label):
        engine.remove(container.id)
    for volume in engine.volumes(label):
        engine.remove_volume(volume)


def _lock_path(state: Path, run_id: str) -> Path:
    return state / "tmp" / f"run-{run_id}.lock"


def _lives(state: Path, run_id: str) -> bool:
    try:
        descriptor = os.open(_lock_path(state, run_id), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # another user's: not ours to judge
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
