"""What no reader asked of a file: listed, so that nothing is lost in silence.

A `Document` remembers which keys were asked for. At its end a reader names the tables whose keys
have a fixed meaning, and the keys that say nothing about an image ("quiet"); every other one that
nobody asked for is a leftover. A key that a tool adds next year is one, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mllock.spec.importing.documents import Document
from mllock.spec.importing.found import Collector, Place
from mllock.spec.importing.secrets import is_secret_name

__all__ = ["GROUP", "GROUP_HINT", "leave_group", "leave_unread"]

GROUP = "a group of packages beside the dependencies is not part of the images"
GROUP_HINT = "add to dependencies those that training or serving imports"
_WHY = "has no counterpart here, and is not read"


def leave_unread(
    out: Collector,
    doc: Document,
    *at: str,
    quiet: Collection[str] = (),
    hints: Mapping[str, str] | None = None,
) -> None:
    """List each key of the table `at` that was never asked for; `hints`: key -> the way out."""
    for key, value in doc.unread(*at):
        if key not in quiet:
            inner = at and doc.file.endswith((".toml", ".lock"))
            name = f"[{'.'.join(at)}] {key}" if inner else key
            shown = _shown(value)
            what = name if is_secret_name(key) or not shown else f"{name}: {shown}"
            out.left(doc.place(*at, key), what, _WHY, (hints or {}).get(key))


def leave_group(out: Collector, place: Place, name: str, packages: Iterable[str]) -> None:
    """List an extra or a group, with its packages."""
    out.left(place, f"{name} ({', '.join(packages)})", GROUP, GROUP_HINT)


def _shown(value: Any) -> str:
    """The value, where it is a word or a list of words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        plain = not any(isinstance(item, dict | list) for item in value)
        return ", ".join(map(str, value)) if plain else ""
    return "" if isinstance(value, dict) else str(value)
