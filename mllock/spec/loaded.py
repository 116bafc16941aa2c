"""A spec that was read, with the text that it was read from, so that errors can name lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mllock.errors import MllockError, SpecError
from mllock.spec.places import Part, dotted, nearest, places
from mllock.spec.types import Spec

__all__ = ["LoadedSpec"]

_E = TypeVar("_E", bound=MllockError)


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A valid spec. `path` is the file, `text` its content; places are found when asked for."""

    spec: Spec
    path: Path
    text: str

    def place(self, key: str) -> int | None:
        """The line of a dotted key (`data.train.source`, `environment.dependencies[2]`)."""
        return places(self.text).get(key)

    def error(
        self,
        message: str,
        *parts: Part,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> SpecError:
        """An error at a key, or at the nearest table around it that is written."""
        return self.error_of(SpecError, message, *parts, expected=expected, found=found, hint=hint)

    def refuse_twice(self, values: Iterable[str], *parts: Part) -> None:
        """Raises SpecError if the array at `parts` lists a value twice."""
        seen: set[str] = set()
        for index, value in enumerate(values):
            if value in seen:
                raise self.error("listed twice", *parts, index, found=f'"{value}"')
            seen.add(value)

    def error_of(
        self,
        kind: type[_E],
        message: str,
        *parts: Part,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> _E:
        return kind(
            message,
            file=self.path.name,
            line=nearest(places(self.text), parts),
            key=dotted(parts),
            expected=expected,
            found=found,
            hint=hint,
        )
