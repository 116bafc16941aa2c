"""What was found in the files of other tools: the common value of an import, and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mllock.spec.importing.indexes import Index, Place
from mllock.spec.types import Scalar

__all__ = ["Data", "Found", "Leftover", "Program", "Requirement"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """Something that could not be carried over. `what` is one line without credentials."""

    place: Place
    what: str
    why: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.place}: {self.what}: {self.why}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    text: str
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A command for [train] or [serve]; what only one of them has is None or empty elsewhere."""

    command: tuple[str, ...]
    place: Place
    model: str | None = None
    metrics: str | None = None
    params: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    name: str
    source: str
    role: str
    place: Place
    # Where the program finds what comes from a URL.
    path: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """All that the files say. `pins` are versions to begin with, not requirements."""

    files: tuple[str, ...]
    name: str
    version: str | None
    description: str | None
    python: str | None
    base: str | None
    requirements: tuple[Requirement, ...]
    pins: Mapping[str, str]
    system: tuple[str, ...]
    variables: Mapping[str, str]
    data: tuple[Data, ...]
    train: Program | None
    serve: Program | None
    port: int | None
    health: str | None
    leftovers: tuple[Leftover, ...]
    indexes: tuple[Index, ...] = ()
    links: tuple[str, ...] = ()
