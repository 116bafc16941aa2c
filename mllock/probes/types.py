"""The values of probes: what is asked, what was answered, what counts as alike. No IO.

`Probe` -> asked -> `Answer`; both together are an `Exchange`; all of a run are a `Recording`.
Specified in docs/reference/probes.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mllock.core.digest import Digest

__all__ = [
    "EXACT",
    "NAME",
    "Alike",
    "Answer",
    "Exchange",
    "Pointer",
    "Probe",
    "Recording",
    "Tolerance",
]

# Of a recording, in the folder of a run.
NAME = "probes.json"

# The reference tokens of a JSON pointer (RFC 6901), unescaped; () is the whole document.
Pointer = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """How far a number may be from the recorded one: the larger of the two."""

    absolute: float = 0.0
    relative: float = 0.0

    def covers(self, expected: float, found: float) -> bool:
        return abs(found - expected) <= max(self.absolute, self.relative * abs(expected))


@dataclass(frozen=True, kw_only=True, slots=True)
class Alike:
    """What counts as alike beyond equality. Empty: nothing."""

    tolerance: Mapping[Pointer, Tolerance] = field(default_factory=dict)
    ignore: tuple[Pointer, ...] = ()

    @property
    def is_exact(self) -> bool:
        return not self.tolerance and not self.ignore


EXACT = Alike()


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One request. `headers` have names in lower case; `body` is the text that is sent.

    `line` is where it stands in its file; `status` is what the trained model must answer with, None
    for any of 200 to 299.
    """

    line: int
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    status: int | None = None
    alike: Alike = EXACT

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"line {self.line} ({self.method} {self.path})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back. `type` is the media type without parameters, in lower case; `encoding` the
    content coding, "" for none.

    `cut`: there was more than was read. `location` of a redirect is kept for messages only.
    """

    status: int
    type: str
    body: bytes
    encoding: str = ""
    cut: bool = False
    location: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    probe: Probe
    answer: Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """All probes of a run with their answers; `code` is the serving code that gave them."""

    salt: str
    code: Digest
    exchanges: tuple[Exchange, ...]
