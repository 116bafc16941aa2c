"""The port to what chooses versions, pip-tools or uv; the smaller half of a resolver.

Not for wheels: `mllock.lock.python` downloads what was chosen, and asks again where it must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mllock.errors import MllockError
from mllock.lock.indexes import PackageIndex
from mllock.lock.pip import Output
from mllock.lock.target import Target

__all__ = ["Chooser", "Question"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What to choose versions for. `asked` are PEP 508 texts; the requirements file `source` holds
    them too, and names `constraints`; pins stand in `pins`: names of files in one folder. What
    came into its index at `before` or later is not looked at. `wishes` are versions to stay at that
    bind nobody; not every chooser can take them."""

    asked: tuple[str, ...]
    source: str
    constraints: str
    pins: str
    target: Target
    before: str | None = None
    indexes: tuple[PackageIndex, ...] = ()
    wishes: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()


class Chooser(Protocol):
    """Chooses versions; where the two resolvers differ."""

    name: str

    def version(self) -> str: ...

    def check(self, target: Target) -> None:
        """Raises ResolutionError if it cannot choose for `target` here."""

    def choose(self, folder: Path, question: Question) -> Output:
        """Write `name==version` for what is asked into the pins file. The pins that stand there
        stay, or it fails; which of them make room then is not decided here (`mllock.lock.least`).

        A package that has an index of its own and is not asked for by name may be left out, and the
        answer is not `whole` then: whoever needs it will be seen to miss it, and it is asked for.
        """

    def in_the_way(self, text: str) -> frozenset[str]:
        """Packages whose pins may be why `choose` failed, of its output; none if it is not that."""

    def explain(self, text: str, target: Target) -> MllockError:
        """The error that the output of a `choose` that failed amounts to."""
