"""The exceptions of mllock, one tree, families by who has to act.

    MllockError
    ├── InputError            exit 2: usage, spec, lock, or a file of the user's is wrong
    │   ├── SpecError             mlproject.toml, with line and key
    │   ├── NotAvailableError     valid, but not built in this version
    │   ├── LockError             mlproject.lock is missing, edited, from the future, unreadable
    │   │   └── StaleLockError        the spec or the data moved on since the lock was written
    │   ├── ResolutionError       the declared dependencies cannot be pinned
    │   ├── DataError             a declared data source is missing, unreadable or outside
    │   ├── ArchiveError          a wheel, deb, layer or tree that is hostile or damaged
    │   └── RunError              a run or record is missing or unreadable
    ├── AnswerNoError         exit 1: the question was understood, the answer is no
    │   ├── ProgramError          the training program failed, or wrote no model
    │   └── VoidRunError          an input changed while the program ran
    └── SurroundingsError     exit 4: network, index, archive, registry, engine, disk
        ├── OfflineError          something has to be fetched and cannot be
        │   └── GoneError             all who were asked answered that they do not have it
        ├── EngineError           the container engine is not there, refuses, or went away
        └── IntegrityError        what was fetched or cached is not what its digest says

The place is data (`file`, `line`, `key`); `mllock.cli.render` turns it into one message:

    mlproject.toml:14: data.train.sorce: unknown key
    hint: did you mean "source"?

Nothing here imports anything of mllock's.
"""

from __future__ import annotations

__all__ = [
    "AnswerNoError",
    "ArchiveError",
    "DataError",
    "EngineError",
    "GoneError",
    "InputError",
    "IntegrityError",
    "LockError",
    "MllockError",
    "NotAvailableError",
    "OfflineError",
    "ProgramError",
    "ResolutionError",
    "RunError",
    "SpecError",
    "StaleLockError",
    "SurroundingsError",
    "VoidRunError",
]


class MllockError(Exception):
    """The root. `message` is one sentence without place; everything else is optional data.

    Args:
        message: what is wrong, lower case, no full stop.
        file: the file that the message is about, as the user would name it.
        line: 1-based line in `file`.
        key: dotted key or path inside of the file (`data.train.source`, `python.packages[3]`).
        expected: what was expected, if it is not clear from the message.
        found: what was found.
        hint: the next step, an imperative or a question.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        place = self.file or ""
        if self.file and self.line:
            place = f"{self.file}:{self.line}"
        parts = [part for part in (place, self.key, self.message) if part]
        text = ": ".join(parts)
        if self.expected is not None:
            text += f"\nexpected: {self.expected}"
        if self.found is not None:
            text += f"\nfound: {self.found}"
        if self.hint is not None:
            text += f"\nhint: {self.hint}"
        return text


class InputError(MllockError):
    """What the user gave is wrong."""

    exit_code = 2


class SpecError(InputError):
    """mlproject.toml cannot be used as it is."""


class NotAvailableError(InputError):
    """The request is valid, and this version of mllock cannot do it."""


class LockError(InputError):
    """mlproject.lock is missing, unreadable, edited by hand or from the future."""


class StaleLockError(LockError):
    """The lock does not describe the spec or the data that are here now."""


class ResolutionError(InputError):
    """The declared dependencies or system packages cannot be pinned."""

    # Packages, by normalised name, that it is about: who has the spec can say where they stand.
    names: tuple[str, ...] = ()


class DataError(InputError):
    """A declared data source is missing, unreadable, or not allowed."""


class ArchiveError(InputError):
    """An archive or tree holds what must not be unpacked, hashed or shipped."""


class RunError(InputError):
    """A run, record, key or policy is missing or unreadable."""


class AnswerNoError(MllockError):
    """The question was understood; the answer is no."""

    exit_code = 1


class ProgramError(AnswerNoError):
    """The user's program failed or did not write what it declares."""


class VoidRunError(AnswerNoError):
    """An input changed while the program ran: the run proves nothing."""


class SurroundingsError(MllockError):
    """Network, package index, Debian archive, engine, registry or disk failed."""

    exit_code = 4


class OfflineError(SurroundingsError):
    """Something has to be fetched, and cannot be."""


class GoneError(OfflineError):
    """Everybody who was asked answered, and nobody has it."""


class EngineError(SurroundingsError):
    """The container engine does not answer, refuses, or stopped answering."""


class IntegrityError(SurroundingsError):
    """Bytes that were fetched or cached are not the bytes that their digest names."""
