"""The values of a comparison: sections of items, each with what was and what is.

A section that could be compared says so with its items, none if the two sides are alike; what could
not be compared is a note in words, never silence. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Change", "Diff", "Item", "Section", "SideTitle"]

Change = Literal["added", "removed", "changed", "moved"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that is not the same. `old` and `new` are for people; `facts` are JSON values for
    programs; `lines` are what is below it: a unified diff, or arrays."""

    name: str
    change: Change
    old: str | None = None
    new: str | None = None
    remark: str = ""
    lines: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """`notes` say what could not be looked at."""

    name: str
    items: tuple[Item, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SideTitle:
    """`kind` is run, lock or model; `name` is what was found; `facts` are for people."""

    kind: Literal["run", "lock", "model"]
    name: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """`sections` are those that both sides have."""

    a: SideTitle
    b: SideTitle
    sections: tuple[Section, ...]

    @property
    def differs(self) -> bool:
        return any(section.items for section in self.sections)
