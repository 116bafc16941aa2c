"""Versions that whoever published them took back, as pip and uv say in passing. Pure.

They are taken where somebody asks for exactly that version, and a locked one stays: a lock is not
to break by that. But whoever puts one into a lock is to know. What is not found in their words is
not told, and nothing else depends on it. Source: PEP 592.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mllock.spec.meaning import package_name

__all__ = ["told", "yanked_in"]

_UV = re.compile(
    r"^warning: `(?P<name>[^`=]+)==(?P<version>[^`]+)` is yanked(?: \(reason: \"(?P<why>.*)\"\))?",
    re.MULTILINE,
)
_PIP = re.compile(
    r"is a yanked version: '(?P<name>[^']+)' candidate \(version (?P<version>\S+) at .*\n"
    r"(?:.*Reason for being yanked: (?P<why>.*))?"
)
_LONGEST = 200


def yanked_in(text: str) -> dict[tuple[str, str], str]:
    """Normalised name and version -> the reason, "" if there is none."""
    found = (match for pattern in (_UV, _PIP) for match in pattern.finditer(text))
    return {
        (package_name(match["name"]), match["version"]): _reason(match["why"]) for match in found
    }


def told(name: str, version: str, yanked: Mapping[tuple[str, str], str]) -> str | None:
    """A sentence about a locked version, if it is one of them."""
    reason = yanked.get((name, version))
    if reason is None:
        return None
    why = f": {reason}" if reason else ""
    return f"{name} {version} was yanked by those who published it{why}"


def _reason(text: str | None) -> str:
    plain = " ".join((text or "").split())
    plain = "" if plain == "<none given>" else plain  # pip's words
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 3] + "..."
