"""The chooser "pip-tools": pip-compile, with the interpreter and on the machine that run mllock.

Not for wheels (`mllock.lock.python` downloads them), but for those of a few new requirements, which
are fetched meanwhile (`mllock.lock.ahead`). A foreign target is refused before anything is asked:
pip-compile evaluates markers with its own interpreter.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mllock.core.platform import host_platform
from mllock.core.ports import Reporter
from mllock.errors import MllockError, ResolutionError
from mllock.lock.ahead import fetching_ahead
from mllock.lock.chooser import Question
from mllock.lock.indexes import pip_variables
from mllock.lock.least import pins_in
from mllock.lock.links import link_lines, link_variables
from mllock.lock.pip import Output, Pip, published_before
from mllock.lock.pip_words import explain, in_the_way
from mllock.lock.target import Target

__all__ = ["PipToolsChooser", "foreign"]

# Whether that was done for this resolution.
_ONCE = "fetched-ahead"
# More than this are not fetched before it is known that they are needed.
_FEW = 4


class PipToolsChooser:
    """Implements `mllock.lock.python.Chooser`."""

    name = "pip-tools"

    def __init__(self, pip: Pip, reporter: Reporter) -> None:
        self._pip = pip
        self._reporter = reporter

    def version(self) -> str:
        from importlib.metadata import version

        return version("pip-tools")

    def check(self, target: Target) -> None:
        error = foreign(target.platform, target.minor)
        if error is not None:
            raise error

    def choose(self, folder: Path, question: Question) -> Output:
        """pip-compile gives up a pin that a requirement contradicts, and not the pin of the package
        that has this requirement."""
        settings = self._pip.settings(folder) if question.indexes else {}
        variables = pip_variables(None, question.indexes, self._pip.environ, settings, "")
        variables |= link_variables(question.links, self._pip.environ)
        pip = replace(self._pip, environ={**self._pip.environ, **variables})
        before = published_before(question.before)
        known = pins_in((folder / question.pins).read_text())
        new = _new(question, known)
        if not new or (folder / _ONCE).exists():
            return pip.compile(folder, question.source, question.pins, before)
        (folder / _ONCE).touch()
        head = (*link_lines(question.links), f"-c {question.constraints}")
        with fetching_ahead(
            pip, folder, new, known, question.target, head=head, options=before
        ) as finish:
            done = pip.compile(folder, question.source, question.pins, before)
            if done.code == 0:
                finish()
        return done

    def in_the_way(self, text: str) -> frozenset[str]:
        return in_the_way(text)

    def explain(self, text: str, target: Target) -> MllockError:
        return explain(text, target)


def _new(question: Question, known: Mapping[str, str]) -> tuple[str, ...]:
    """A few requirements beyond the pins: which version they get is nearly always the newest, and
    pip-compile takes long enough to have that here by then."""
    if not known:
        return ()
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found = []
    for text in question.asked:
        asked = Requirement(text)
        holds = not asked.marker or asked.marker.evaluate(dict(question.target.markers()))
        if holds and not asked.url and str(canonicalize_name(asked.name)) not in known:
            found.append(text)
    return tuple(found) if len(found) <= _FEW else ()


def foreign(
    platform: str, python: str, *, host: str | None = None, running: str | None = None
) -> ResolutionError | None:
    """Why pip-tools cannot resolve for `platform` and the Python minor version `python` on this
    machine (`host`, `running`); None if it can."""
    running = running or f"{sys.version_info.major}.{sys.version_info.minor}"
    host = host or host_platform()
    if platform != host:
        return ResolutionError(
            "pip-tools resolves for the platform that mllock runs on",
            expected=platform,
            found=host,
            hint='write resolver = "uv" in [environment]: it resolves for any platform',
        )
    if python != running:
        return ResolutionError(
            "pip-tools resolves for the Python that runs mllock",
            expected=f"Python {python}, as environment.python says",
            found=f"Python {running}",
            hint=f'write resolver = "uv" in [environment]; or install mllock with Python {python}',
        )
    return None
