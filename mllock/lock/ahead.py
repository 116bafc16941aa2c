"""Wheels of a few new requirements, and of what those need, fetched while versions are chosen.

A guess: with what comes here is nothing decided. Each round fetches what is asked for and has no
pin, in its newest version; what these wheels ask for is the next round. Which of the wheels are
used is the chooser's to say, and what was guessed wrong or not in time is fetched as everything.
No round begins once the choice is made. One thread, which the block that starts it waits for.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mllock import processes
from mllock.errors import ArchiveError
from mllock.lock.closure import applies, parse_requirement, read_metadata
from mllock.lock.pip import Pip, download_command
from mllock.lock.target import Target

__all__ = ["fetching_ahead"]

_SOURCE, _PLACE = "ahead.txt", "ahead"
# What needs more rounds than this has more to wait for than a start of pip.
_ROUNDS = 4
# How soon it is seen that nobody waits any more, in seconds.
_STEP = 0.02


@contextmanager
def fetching_ahead(
    pip: Pip,
    folder: Path,
    asked: Sequence[str],
    known: Iterable[str],
    target: Target,
    *,
    head: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Iterator[Callable[[], None]]:
    """Fetch the PEP 508 texts `asked` beside what the block does, which calls what it is given once
    it wants the wheels: those that came lie in `folder`/wheels then, and nothing of what failed.

    `known` are packages that are here. `head` are the first lines of the requirements file, and
    `options` are pip's.
    """
    ahead = _Ahead(
        pip=pip,
        folder=folder,
        target=target,
        head=tuple(head),
        options=tuple(options),
        known=set(known),
        variables=pip.variables(folder),
    )
    thread = threading.Thread(target=ahead.follow, args=(tuple(asked),), name="ahead")
    thread.start()

    def finish() -> None:
        ahead.enough.set()
        thread.join()
        (folder / "wheels").mkdir(exist_ok=True)
        for path in ahead.came:
            path.rename(folder / "wheels" / path.name)

    try:
        yield finish
    finally:
        ahead.enough.set()
        ahead.over.set()
        thread.join()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ahead:
    pip: Pip
    folder: Path
    target: Target
    head: tuple[str, ...]
    options: tuple[str, ...]
    known: set[str]
    variables: dict[str, str]
    came: list[Path] = field(default_factory=list)
    # No more rounds; and not even the end of this one.
    enough: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def follow(self, asked: tuple[str, ...]) -> None:
        for number in range(_ROUNDS):
            if not asked or self.enough.is_set():
                return
            place = self.folder / f"{_PLACE}-{number}"
            if not self._fetch(asked, place):
                return
            wheels = sorted(place.glob("*.whl"))
            self.came.extend(wheels)
            try:
                asked = self._beyond(asked, wheels)
            except ArchiveError:  # whoever uses it says what is wrong with it
                return

    def _fetch(self, asked: Sequence[str], place: Path) -> bool:
        source = self.folder / _SOURCE
        source.write_text("".join(f"{line}\n" for line in (*self.head, *asked)))
        options = ("--no-deps", *self.options)
        command = [sys.executable, "-m"]
        command += download_command(source.name, self.target, options, place.name)
        with processes.started(
            command,
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            give_up = time.monotonic() + self.pip.patience
            while process.poll() is None:
                if self.over.wait(_STEP) or time.monotonic() > give_up:
                    return False
            return process.returncode == 0

    def _beyond(self, asked: Sequence[str], wheels: Sequence[Path]) -> tuple[str, ...]:
        """What `wheels`, which came for `asked`, ask for and nobody has yet."""
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        extras: dict[str, set[str]] = {}
        for text in asked:
            requirement = Requirement(text)
            extras.setdefault(str(canonicalize_name(requirement.name)), set()).update(
                requirement.extras
            )
        self.known.update(extras)
        beyond: dict[str, None] = {}
        for wheel in wheels:
            metadata = read_metadata(wheel, wheel.name)
            for text in metadata.requires:
                wanted = parse_requirement(text, metadata.name)
                if wanted.url or str(canonicalize_name(wanted.name)) in self.known:
                    continue
                for extra in ("", *sorted(extras.get(metadata.name, ()))):
                    if applies(wanted, self.target, extra, metadata.name):
                        wanted.marker = None
                        beyond[str(wanted)] = None
        return tuple(beyond)
