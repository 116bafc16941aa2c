"""Hashing the files of a tree with all cores, in bounded memory.

Few files: one after the other here, the larger ones in threads (hashlib lets go of the
interpreter's lock). Many files: their cost is system calls and interpreter time, which threads
cannot share, so small programs (`mllock.data.worker`) take them in groups; they are started, not
forked, because a fork of a process with threads may hang. The result does not depend on any of
that. Raises DataError that names the file.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mllock.data import worker
from mllock.data.worker import Result, hash_file
from mllock.errors import DataError, SurroundingsError

__all__ = ["cores", "failure", "hash_files"]

# In this many files a worker's start (15 ms) pays off.
_FEW = 1500
_GROUP = 200
_SMALL = 64 * 1024

_CHANGING_HINT = "wait until nothing writes to it, then run the same command again"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def hash_files(
    root: Path, paths: Iterable[str], label: Callable[[str], str], *, workers: int | None = None
) -> dict[str, Result]:
    """What `worker.hash_file` says about all `paths` (relative to `root`), all of them good."""
    workers = workers or cores()
    prefix = os.fsencode(root) + b"/"
    source = iter(paths)
    first = list(itertools.islice(source, _FEW))
    every = itertools.chain(first, source)
    if len(first) < _FEW or workers < 2 or not sys.executable:
        buffer = bytearray(_SMALL if workers > 1 else worker.BUFFER)
        limit = _SMALL if workers > 1 else None
        results = {path: hash_file(prefix + path.encode(), buffer, limit) for path in every}
    else:
        results = _hash_many(root, every, workers)
    results.update(_hash_large(prefix, results, workers))
    bad = min((path for path, result in results.items() if result[0] != 0), default=None)
    if bad is not None:
        raise failure(results[bad][0], label(bad))
    return results


def failure(status: int, file: str) -> DataError:
    """What to say about a `status` that is not 0."""
    if status == worker.CHANGED:
        return DataError("changed while it was hashed", file=file, hint=_CHANGING_HINT)
    if status == worker.NOT_REGULAR:
        return DataError("became something else than a file", file=file, hint=_CHANGING_HINT)
    return DataError(f"cannot be read: {os.strerror(status).lower()}", file=file)


def _hash_large(prefix: bytes, results: dict[str, Result], workers: int) -> dict[str, Result]:
    large = [path for path, result in results.items() if result[0] == worker.LARGE]
    if not large:
        return {}
    # The largest first, so that no core is left with a long one at the end.
    large.sort(key=lambda path: results[path][2], reverse=True)
    buffers = threading.local()

    def one(path: str) -> Result:
        if not hasattr(buffers, "buffer"):
            buffers.buffer = bytearray(worker.BUFFER)
        return hash_file(prefix + path.encode(), buffers.buffer)

    with ThreadPoolExecutor(min(workers, len(large)), "mllock-hash") as pool:
        return dict(zip(large, pool.map(one, large), strict=True))


def _hash_many(root: Path, paths: Iterable[str], workers: int) -> dict[str, Result]:
    results: dict[str, Result] = {}
    groups = _Groups(paths)
    with ThreadPoolExecutor(workers, "mllock-hash") as pool:
        try:
            futures = [pool.submit(_serve, root, groups) for _ in range(workers)]
            for future in futures:
                results.update(future.result())
        finally:
            groups.close()
    return results


class _Groups:
    """Groups of paths for whichever worker is free, taken from one iterator."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = iter(paths)
        self._lock = threading.Lock()
        self._open = True

    def take(self) -> Sequence[str]:
        with self._lock:
            try:
                return list(itertools.islice(self._paths, _GROUP)) if self._open else ()
            except BaseException:
                self._open = False
                raise

    def close(self) -> None:
        self._open = False


def _serve(root: Path, groups: _Groups) -> dict[str, Result]:
    """Feed one worker. Two groups are under way, so that it never waits for us.

    Two answers fit into a pipe (64 KiB), so that neither side can block the other.
    """
    results: dict[str, Result] = {}
    command = [sys.executable, "-I", "-S", worker.__file__]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        waiting: list[Sequence[str]] = []
        try:
            while True:
                group = groups.take()
                if group:
                    text = b"".join([path.encode() + b"\0" for path in group])
                    program.stdin.write(worker.FRAME.pack(len(text)) + text)
                    program.stdin.flush()
                    waiting.append(group)
                if not waiting:
                    return results
                if not group or len(waiting) == 2:
                    paths = waiting.pop(0)
                    answer = program.stdout.read(worker.RESULT.size * len(paths))
                    if len(answer) != worker.RESULT.size * len(paths):
                        raise _ended_early()
                    results.update(zip(paths, worker.RESULT.iter_unpack(answer), strict=True))
        except BrokenPipeError:
            raise _ended_early() from None
        finally:
            if waiting:
                program.kill()


def _ended_early() -> SurroundingsError:
    return SurroundingsError(
        "a hashing process ended early",
        hint="look for a memory limit, then run the same command again",
    )
