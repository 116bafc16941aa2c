"""Downloading wheels with pip: each package from where it has to come from, side by side.

Not for choosing versions. A package with an index of its own is downloaded by a pip whose only
setting for places is that index (`mllock.lock.indexes`), whatever chose its version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mllock.errors import MllockError
from mllock.lock.indexes import PackageIndex, assigned, pip_variables, shared
from mllock.lock.links import link_lines, link_variables
from mllock.lock.pip import Pip
from mllock.lock.target import Target
from mllock.spec.meaning import package_name

__all__ = ["AGAIN", "PINS", "asking", "by_index", "download", "why_not"]

PINS = "pins.txt"
# PEP 508: what a requirement begins with.
_LEADING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Fewer pins than this are not worth another start of pip.
_WORTH_SPLITTING = 8
# To hear why it failed: all that pip has to say, without waiting for as long again.
AGAIN = ("-vv", "--retries", "1")


def download(
    pip: Pip,
    folder: Path,
    target: Target,
    options: tuple[str, ...],
    indexes: Sequence[PackageIndex],
    links: Sequence[str] = (),
    *,
    pins: Sequence[str],
) -> None:
    """Download the wheels of `pins`, lines of a requirements file, each from where it has to come
    from, or say why that failed. `links` are more places for what has no index of its own."""
    groups = by_index(pins, indexes)
    for number, (index, lines) in enumerate(groups.items()):
        one = asking(pip, index, indexes, folder, links)
        head = "".join(f"{line}\n" for line in link_lines(links)) if index is None else ""
        if not one.download_together(
            folder, _split(folder, f"pins-{number}", head, lines), target, options
        ):
            (folder / f"pins-{number}.txt").write_text(head + "".join(lines))
            again = one.download(folder, f"pins-{number}.txt", target, (*options, *AGAIN))
            if again.code != 0:
                raise why_not(again.text, target, folder)


def why_not(text: str, target: Target, folder: Path) -> MllockError:
    """What kept pip from downloading into `folder`, of which it said `text`."""
    import shutil

    from mllock.lock.index_words import cut_short_at
    from mllock.lock.pip_words import explain, no_space

    size = cut_short_at(text)
    # pip holds what comes twice, and says of a full disk that the answer broke off.
    if size is not None and shutil.disk_usage(folder).free < 2 * size:
        return no_space()
    return explain(text, target)


def asking(
    pip: Pip,
    index: PackageIndex | None,
    indexes: Sequence[PackageIndex],
    folder: Path,
    links: Sequence[str] = (),
) -> Pip:
    """`pip`, with its settings such that it asks `index` alone, or what is for all others, and
    with what the lines of `links` need."""
    nothing = folder / "no-links"
    nothing.mkdir(exist_ok=True)
    settings = pip.settings(folder) if index is None and shared(indexes) else {}
    variables = pip_variables(index, indexes, pip.environ, settings, str(nothing.absolute()))
    variables |= link_variables(links, pip.environ)
    return replace(pip, environ={**pip.environ, **variables})


def by_index(
    lines: Iterable[str], indexes: Sequence[PackageIndex]
) -> dict[PackageIndex | None, list[str]]:
    """Lines that each begin with the name of a package, by the only index of that package."""
    only = assigned(indexes)
    groups: dict[PackageIndex | None, list[str]] = {}
    for line in lines:
        match = _LEADING.match(line)
        groups.setdefault(only.get(package_name(match[0] if match else "")), []).append(line)
    return groups


def _split(folder: Path, name: str, head: str, lines: Sequence[str]) -> Sequence[str]:
    """The pins `lines` in as many files as pip downloads side by side, each after `head`."""
    parts = 1 if len(lines) < _WORTH_SPLITTING else min((os.cpu_count() or 1) + 1, 4)
    for part in range(parts):
        (folder / f"{name}-{part}.txt").write_text(head + "".join(lines[part::parts]))
    return [f"{name}-{part}.txt" for part in range(parts)]
