"""Sources into canonical bytecode, by an interpreter that was taken out of an image.

Long-lived processes, one for each core and at least two, run `mllock.image.bytecode_worker`. Every
source is compiled twice, by two processes, in another order and after other sources; only where
both say the same, byte for byte, is it bytecode. Invariants: the processes get nothing of this
machine's (environment, libraries, Python), which is looked at before the first source is sent; none
outlives the block. Memory holds a few batches, never all. Not for which files are compiled, or
where bytecode goes: `mllock.image.bytecode`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import IO, NoReturn

from mllock import processes
from mllock.errors import SurroundingsError
from mllock.image.interpreter import Interpreter, place

__all__ = ["Compiled", "Source", "compiled", "expected_greeting"]

# Sources of one batch, in bytes; a larger source is a batch of its own.
BATCH = 256 * 1024
PIPE = 1024 * 1024
# Batches for each process that are compiled while whoever asked does something else.
AHEAD = 8
_Answers = Future[list[tuple[bool, bytes]]]
# For tools that look hard: the same seed in every process, so that what a compiler makes of a set
# of names is the same. Nothing else of the environment is given.
VARIABLES = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONCOERCECLOCALE": "0"}
_OPTIONS = ("-S", "-s", "-B", "-W", "ignore")

HINT = "write bytecode = false, or build on a machine of the platform of the base"
OTHER_HINT = (
    "write bytecode = false, add this machine's platform to [environment] platforms, or build on a "
    "machine of the platform of the base"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A source file: its absolute `path` in the image, which becomes part of its bytecode."""

    path: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """`data` is the content of a .pyc, or None; then `problem` says why, and `varies` whether it
    is that two compiles were not the same."""

    path: str
    data: bytes | None = field(repr=False)
    problem: str = ""
    varies: bool = False


def expected_greeting(version: str) -> str:
    """The first words of a worker of this version, before its magic number."""
    minor = "".join(version.split(".")[:2])
    return f"{version} cpython-{minor} "


@contextlib.contextmanager
def compiled(
    interpreter: Interpreter,
    version: str,
    sources: Iterable[Source],
    folder: Path,
    moved: Callable[[int], None],
    workers: int | None = None,
) -> Iterator[Iterator[Compiled]]:
    """What becomes of `sources`, in their order. `folder` is empty, and the caller's to remove;
    `version` is the full version that the interpreter must have; `moved` is told of bytes of
    sources that were compiled.

    Raises SurroundingsError where the interpreter cannot run on this machine, or ends.
    """
    if interpreter.machine != os.uname().machine:
        raise _trouble(
            "the Python of the base cannot run on this machine, and bytecode is made with it",
            expected=f"a program for {os.uname().machine}",
            found=f"/{interpreter.path} is for {interpreter.machine}",
            hint=OTHER_HINT,
        )
    safe = ("-P",) if int(version.split(".")[1]) >= 11 else ()
    text = files("mllock.image").joinpath("bytecode_worker.py").read_text("utf-8")
    command = [*place(interpreter, folder), *_OPTIONS, *safe, "-c", text]
    count = max(2, workers or os.cpu_count() or 1)
    with contextlib.ExitStack() as stack:
        team = [stack.enter_context(_worker(command, folder, version)) for _ in range(count)]
        yield _in_order(team, sources, moved)


class _Worker:
    """One process, a thread that tells it what to compile, and one that takes what it answers.

    So the next batch lies in the pipe when it is done with one, and it need not wait for this
    process, which others compete with for the same cores.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, errors: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input, self._output = process.stdin, process.stdout
        self._folder = folder
        self._errors = errors
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="mllock-sources")
        self._taking = ThreadPoolExecutor(1, thread_name_prefix="mllock-bytecode")
        for pipe in (self._input, self._output):
            # As large as a batch; not allowed to a user who has many pipes, and then it is slower.
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)

    def close(self) -> None:
        """After the process has ended: its threads find that."""
        self._telling.shutdown(wait=True, cancel_futures=True)
        self._taking.shutdown(wait=True, cancel_futures=True)

    def greet(self, version: str) -> None:
        """Raises SurroundingsError unless it runs, is the right one, and uses no other files."""
        words = self._output.readline(200).decode("ascii", "replace")
        expected = expected_greeting(version)
        if not words:
            self._ended("cannot run on this machine, and bytecode is made with it")
        if not words.startswith(expected) or not words.endswith(" 0\n"):
            raise _trouble(
                "the Python of the base is not the one that the lock names",
                expected=expected.strip(),
                found=ascii(words.strip())[1:-1],
            )
        foreign = _foreign_files(self._process.pid, self._folder)
        if foreign:
            raise _trouble(
                "the Python of the base was given a library of this machine",
                found=foreign[0],
                hint="take it out of /etc/ld.so.preload, or write bytecode = false",
            )

    def compile(self, batch: Sequence[Source]) -> _Answers:
        return self._taking.submit(self._take, batch, self._telling.submit(self._tell, batch))

    def _tell(self, batch: Sequence[Source]) -> None:
        parts: list[bytes] = []
        for source in batch:
            path = source.path.encode()
            parts += [_word(len(path)), _word(len(source.data)), path, source.data]
        size = sum(len(part) for part in parts)
        # Whoever takes the answer sees that the process is gone.
        with contextlib.suppress(OSError):
            self._input.write(b"".join((size.to_bytes(8, "little"), *parts)))
            self._input.flush()

    def _take(self, batch: Sequence[Source], told: Future[None]) -> list[tuple[bool, bytes]]:
        told.result()
        length = self._output.read(8)
        answer = self._output.read(int.from_bytes(length, "little"))
        if len(length) < 8 or len(answer) < int.from_bytes(length, "little"):
            self._ended(f"ended while it compiled {batch[0].path}, or one of the files after it")
        found, at = [], 0
        for _ in batch:
            size = int.from_bytes(answer[at + 1 : at + 5], "little")
            found.append((answer[at : at + 1] == b"\1", answer[at + 5 : at + 5 + size]))
            at += 5 + size
        return found

    def _ended(self, what: str) -> NoReturn:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read(2000).decode("utf-8", "replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise _trouble(
            f"the Python of the base {what}",
            found=f"{how}: {ascii(said[-1])[1:-1]}" if said else how,
            hint=HINT,
        )


@contextlib.contextmanager
def _worker(command: Sequence[str], folder: Path, version: str) -> Iterator[_Worker]:
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(open(folder / f"errors-{os.urandom(4).hex()}", "w+b"))
        try:
            process = stack.enter_context(
                processes.started(
                    command,
                    cwd=folder,
                    env=VARIABLES,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
            )
        except OSError as error:
            raise _trouble(
                "the Python of the base cannot run on this machine, and bytecode is made with it",
                found=f"{(error.strerror or str(error)).lower()}: {folder}/loader",
                hint="keep the cache (MLLOCK_CACHE) where programs may be run, write "
                "bytecode = false, or build on a machine of the platform of the base",
            ) from None
        worker = _Worker(process, folder, errors)
        try:
            worker.greet(version)
            yield worker
        finally:
            # The process first: a thread that waits for it then finds its end.
            stack.close()
            worker.close()


def _in_order(
    team: Sequence[_Worker], sources: Iterable[Source], moved: Callable[[int], None]
) -> Iterator[Compiled]:
    waiting: deque[tuple[list[Source], _Answers, _Answers]] = deque()
    for number, batch in enumerate(_batches(sources)):
        first, second = (team[(number + shift) % len(team)] for shift in (0, 1))
        waiting.append((batch, first.compile(batch), second.compile(batch[::-1])))
        if len(waiting) > AHEAD * len(team):
            yield from _compared(*waiting.popleft(), moved)
    while waiting:
        yield from _compared(*waiting.popleft(), moved)


def _compared(
    batch: list[Source], first: _Answers, second: _Answers, moved: Callable[[int], None]
) -> Iterator[Compiled]:
    for source, one, other in zip(batch, first.result(), reversed(second.result()), strict=True):
        good, data = one
        if good and one == other:
            yield Compiled(path=source.path, data=data)
        elif good or other[0]:
            problem = "two compiles of it were not the same"
            yield Compiled(path=source.path, data=None, problem=problem, varies=True)
        else:
            yield Compiled(path=source.path, data=None, problem=data.decode("ascii", "replace"))
    moved(sum(len(source.data) for source in batch))


def _batches(sources: Iterable[Source]) -> Iterator[list[Source]]:
    batch: list[Source] = []
    size = 0
    for source in sources:
        if batch and size + len(source.data) > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(source)
        size += len(source.data)
    if batch:
        yield batch


def _foreign_files(process: int, folder: Path) -> list[str]:
    """Files that the process has mapped into memory, other than those in `folder` (proc(5))."""
    inside = f"{os.path.realpath(folder)}/"
    try:
        maps = Path(f"/proc/{process}/maps").read_text(errors="replace")
    except OSError as error:
        return [f"{error.filename}: {(error.strerror or str(error)).lower()}"]
    fields = (line.split(maxsplit=5) for line in maps.splitlines())
    names = {field[5] for field in fields if len(field) == 6 and field[5].startswith("/")}
    return sorted(name for name in names if not name.startswith(inside))


def _trouble(
    message: str, *, found: str, expected: str | None = None, hint: str | None = None
) -> SurroundingsError:
    return SurroundingsError(
        message,
        file="mlproject.toml",
        key="environment.bytecode",
        expected=expected,
        found=found,
        hint=hint,
    )


def _word(number: int) -> bytes:
    return number.to_bytes(4, "little")
