"""The newest versions that an index has of some packages, whatever the spec allows.

One question to uv, whichever resolver the project has: each package alone, without what it needs,
with a wheel for the target. A package that the index has nothing of any more is left out of the
answer, and does not spoil it for the others. Nothing is locked from this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mllock.core.ports import Blobs
from mllock.lock.chooser import Question
from mllock.lock.download import PINS
from mllock.lock.indexes import PackageIndex
from mllock.lock.least import pins_in
from mllock.lock.target import Target
from mllock.lock.uv import UvChooser

__all__ = ["newest_versions"]

_SOURCE, _NO_CONSTRAINTS = "names.in", "none.txt"


def newest_versions(
    names: Iterable[str],
    uv: UvChooser,
    blobs: Blobs,
    *,
    target: Target,
    before: str | None,
    indexes: Sequence[PackageIndex],
    links: Sequence[str] = (),
) -> dict[str, str]:
    """Name -> version. Raises OfflineError and others that `uv` explains."""
    wanted = tuple(sorted(names))
    with blobs.scratch() as folder:
        while wanted:
            _prepare(folder, wanted)
            question = Question(
                asked=wanted,
                source=_SOURCE,
                constraints=_NO_CONSTRAINTS,
                pins=PINS,
                target=target,
                before=before,
                indexes=tuple(indexes),
                links=tuple(links),
            )
            done = uv.choose(folder, question, alone=True)
            if done.code == 0:
                return pins_in((folder / PINS).read_text())
            gone = uv.in_the_way(done.text) & set(wanted)
            if not gone:
                raise uv.explain(done.text, target)
            wanted = tuple(name for name in wanted if name not in gone)
    return {}


def _prepare(folder: Path, names: Sequence[str]) -> None:
    (folder / PINS).write_text("")
    (folder / _NO_CONSTRAINTS).write_text("")
    (folder / _SOURCE).write_text("".join(f"{name}\n" for name in names))
