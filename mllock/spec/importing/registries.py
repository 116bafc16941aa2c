"""The indexes that a lock names beside its packages, where no other file says which is which.

The one that most packages come from is the default index, which here is a matter of pip's own
settings: that is said. A package of another one is to come from there, and from nowhere else.
"""

from __future__ import annotations

from mllock.spec.importing.found import Collector, Place

__all__ = ["Registries"]

_DEFAULT = "most packages come from it; which index is the default one is set for pip"
_HINT = (
    "nothing is to be done where it is that one; else set PIP_INDEX_URL, or write it into pip.conf"
)


class Registries:
    """Gathers; `carry` ends it."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, Place]]] = {}

    def add(self, url: str, name: str, place: Place) -> None:
        self._found.setdefault(url, []).append((name, place))

    def carry(self, out: Collector, *, default: bool = True) -> None:
        """`default`: whether the first of the largest is the default index; else none is."""
        most = max(self._found, key=lambda url: len(self._found[url]), default=None)
        for url, those in self._found.items():
            place = those[0][1]
            if default and url == most:
                out.left(place, f"index {url}", _DEFAULT, _HINT)
            else:
                out.places.index(url, place, packages=[name for name, _ in those])
