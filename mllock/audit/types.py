"""What an audit answers: vulnerabilities that are known, and questions that nobody answered."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

__all__ = ["Ignore", "Kind", "Unanswered", "Vulnerability"]

Kind = Literal["python", "debian"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Vulnerability:
    """One vulnerability of one package. `package` is a Python package, or a source package of
    Debian, whose locked packages are `binaries`; `fixed` is the first version without it, None if
    there is none; `aliases` are its other names; `urgency` is Debian's word."""

    kind: Kind
    package: str
    version: str
    id: str
    aliases: tuple[str, ...] = ()
    fixed: str | None = None
    summary: str = ""
    urgency: str | None = None
    binaries: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.id, *self.aliases})


@dataclass(frozen=True, kw_only=True, slots=True)
class Unanswered:
    """Packages of a kind that could not be looked at. `exit_code` says who has to act: 2 or 4."""

    kind: Kind
    packages: int
    why: str
    hint: str
    exit_code: Literal[2, 4]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ignore:
    """One entry of mlproject.audit.toml. It holds up to `until`, this day included, and for
    `package` alone if there is one."""

    id: str
    reason: str
    package: str | None = None
    until: dt.date | None = None

    def covers(self, found: Vulnerability) -> bool:
        packages = {found.package, *found.binaries}
        return self.id in found.names and (self.package is None or self.package in packages)

    def holds(self, today: dt.date) -> bool:
        return self.until is None or today <= self.until
