"""Which wheel of each version uv would install, as it tells those who look for its errors. Pure.

Its answer lists all wheels, its choice is in its log alone. A log is no interface: what is not read
there is asked of pip (`mllock.lock.settled`), so that other words cost time and nothing else. Nor
is its choice believed where a version was asked for exactly: there uv takes yanked files as well as
others, and pip does not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from mllock.lock.chooser import Question
from mllock.lock.offers import Offers
from mllock.spec.meaning import package_name

__all__ = ["TOLD", "bound_names", "selected", "with_chosen"]

# Of its parts, the one that chooses; one line for each step.
TOLD = {"RUST_LOG": "uv_resolver::resolver=debug"}
_LOG = "DEBUG "
_SELECTED = re.compile(r"DEBUG Selecting: \S+==\S+ \[compatible\] \((?P<file>\S+\.whl)\)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def selected(text: str) -> tuple[frozenset[str], str]:
    """Names of files that uv chose on its way, and what else it wrote."""
    lines = text.splitlines(keepends=True)
    found = (_SELECTED.fullmatch(line.strip()) for line in lines)
    rest = "".join(line for line in lines if not line.startswith(_LOG))
    return frozenset(match["file"] for match in found if match), rest


def bound_names(folder: Path, question: Question, kept: str) -> frozenset[str]:
    """Packages that are asked for in a certain version, or are to stay at one."""
    lines = [*question.asked]
    for file in (kept, question.constraints):
        lines += (folder / file).read_text().splitlines()
    names = (match[0] for line in lines if "==" in line and (match := _NAME.match(line)))
    return frozenset(map(package_name, (*names, *question.wishes)))


def with_chosen(offers: Offers, files: frozenset[str], bound: frozenset[str]) -> Offers:
    """`offers`, of which the chosen ones are so, where that can be believed."""
    return {
        (name, version): tuple(
            replace(item, chosen=name not in bound and item.file in files) for item in those
        )
        for (name, version), those in offers.items()
    }
