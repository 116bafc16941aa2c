"""Extras that are asked for and that their packages do not have: a slip, said and not refused.

pip and uv install the package without it, and so does what asks for it somewhere in a large set: an
extra may have gone in a newer version. Who typed it should hear of it when the lock is made, not
when a program misses a module. What uv says of it is read from its words; with other words nothing
is said, and nothing else changes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mllock.spec.meaning import package_name

__all__ = ["NoExtra", "told_by_uv", "warnings"]

_UV = re.compile(
    r"^warning: The package `(?P<name>[^`=]+)==(?P<version>[^`]+)` does not have an extra named "
    r"`(?P<extra>[^`]+)`$",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class NoExtra:
    """`name` is normalised."""

    name: str
    version: str
    extra: str


def told_by_uv(text: str) -> frozenset[NoExtra]:
    """What uv, which wrote `text`, has not found."""
    return frozenset(
        NoExtra(name=package_name(match["name"]), version=match["version"], extra=match["extra"])
        for match in _UV.finditer(text)
    )


def warnings(found: Iterable[NoExtra], chosen: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each, of the versions that were `chosen` (name -> version)."""
    for item in sorted(set(found)):
        if chosen.get(item.name) == item.version:
            yield f"{item.name} {item.version} declares no extra {item.extra!r}: check its spelling"
