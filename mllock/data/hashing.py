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
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mllock import processes
from mllock.core.tree import Entry
from mllock.data import worker
from mllock.data.worker import Result, hash_file
from mllock.errors import DataError, SurroundingsError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["cores", "failure", "file_entry", "hash_files"]

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
) -> list[Entry]:
    """The entries of the files at `paths` (relative to `root`), in no particular order."""
    workers = workers or cores()
    prefix = os.fsencode(root) + b"/"
    source = iter(paths)
    first = list(itertools.islice(source, _FEW))
    every = itertools.chain(first, source)
    if len(first) < _FEW or workers < 2 or not sys.executable:
        buffer = bytearray(_SMALL if workers > 1 else worker.BUFFER)
        limit = _SMALL if workers > 1 else None
        found = _Found()
        found.add((path, hash_file(prefix + path.encode(), buffer, limit)) for path in every)
    else:
        found = _hash_many(root, every, workers)
    large = {path: size for path, status, size in found.others if status == worker.LARGE}
    found.others = [other for other in found.others if other[0] not in large]
    found.add(_hash_large(prefix, large, workers))
    if found.others:
        path, status, _ = min(found.others)
        raise failure(status, label(path))
    return found.entries


def file_entry(path: str, result: Result) -> Entry:
    """The entry of a file that was hashed well."""
    _, digest, size, mode = result
    return Entry(
        kind="x" if mode & stat.S_IXUSR else "f",
        path=path,
        size=size,
        digest=f"sha256:{digest.hex()}",  # type: ignore[arg-type] # Digest(...) costs a call
    )


def failure(status: int, file: str) -> DataError:
    """What to say about a `status` that is not 0."""
    if status == worker.CHANGED:
        return DataError("changed while it was hashed", file=file, hint=_CHANGING_HINT)
    if status == worker.NOT_REGULAR:
        return DataError("became something else than a file", file=file, hint=_CHANGING_HINT)
    return DataError(f"cannot be read: {os.strerror(status).lower()}", file=file)


class _Found:
    """Entries, and paths with a status and size where there is no digest."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.others: list[tuple[str, int, int]] = []

    def add(self, results: Iterable[tuple[str, Result]]) -> None:
        for path, result in results:
            if result[0] == 0:
                self.entries.append(file_entry(path, result))
            else:
                self.others.append((path, result[0], result[2]))


def _threads(number: int) -> ThreadPoolExecutor:
    # Whoever finds nothing to hash does not wait for the import.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(number, "mllock-hash")


def _hash_large(prefix: bytes, sizes: dict[str, int], workers: int) -> Iterator[tuple[str, Result]]:
    if not sizes:
        return
    # The largest first, so that no core is left with a long one at the end.
    paths = sorted(sizes, key=sizes.__getitem__, reverse=True)
    buffers = threading.local()

    def one(path: str) -> Result:
        if not hasattr(buffers, "buffer"):
            buffers.buffer = bytearray(worker.BUFFER)
        return hash_file(prefix + path.encode(), buffers.buffer)

    with _threads(min(workers, len(paths))) as pool:
        yield from zip(paths, pool.map(one, paths), strict=True)


def _hash_many(root: Path, paths: Iterable[str], workers: int) -> _Found:
    all_found = _Found()
    groups = _Groups(paths)
    with _threads(workers) as pool:
        try:
            for future in [pool.submit(_serve, root, groups) for _ in range(workers)]:
                found = future.result()
                all_found.entries += found.entries
                all_found.others += found.others
        finally:
            groups.close()
    return all_found


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


def _serve(root: Path, groups: _Groups) -> _Found:
    command = [sys.executable, "-I", "-S", worker.__file__]
    try:
        with processes.started(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program:
            return _feed(program, groups)
    except BrokenPipeError:
        raise _ended_early() from None


def _feed(program: subprocess.Popen[bytes], groups: _Groups) -> _Found:
    """Feed one worker. Two groups are under way, so that it never waits for us.

    Two answers fit into a pipe (64 KiB), so that neither side can block the other.
    """
    assert program.stdin is not None
    assert program.stdout is not None
    found = _Found()
    waiting: list[Sequence[str]] = []
    while True:
        group = groups.take()
        if group:
            text = ("\0".join(group) + "\0").encode()
            program.stdin.write(worker.FRAME.pack(len(text)) + text)
            program.stdin.flush()
            waiting.append(group)
        if not waiting:
            return found
        if not group or len(waiting) == 2:
            paths = waiting.pop(0)
            answer = program.stdout.read(worker.RESULT.size * len(paths))
            if len(answer) != worker.RESULT.size * len(paths):
                raise _ended_early()
            found.add(zip(paths, worker.RESULT.iter_unpack(answer), strict=True))


def _ended_early() -> SurroundingsError:
    return SurroundingsError(
        "a hashing process ended early",
        hint="look for a memory limit, then run the same command again",
    )
