"""What a resolver could not do, in the terms of the spec: the line, and what may be meant.

Not for finding out why it could not: `mllock.lock.pip_words` does.
"""

from __future__ import annotations

from collections.abc import Iterable

from mllock.errors import ResolutionError
from mllock.spec.loaded import LoadedSpec
from mllock.spec.requirements import Declared

__all__ = ["blame"]


def blame(
    error: ResolutionError, loaded: LoadedSpec, wanted: Declared, locked: Iterable[str]
) -> None:
    """Add to `error` where the requirement stands that it is about, in the spec or in a file of it,
    and for a name that no index has the one that it may be meant for. `locked` are names too."""
    from mllock.lock.near_names import meant
    from mllock.lock.pip_words import PRIVATE
    from mllock.spec.requirements import parts_of, places_of

    unknown: str | None = getattr(error, "unknown", None)
    if unknown is not None:
        name = meant(unknown, {*locked, *(parts_of(text)[0] for text in wanted.requirements)})
        if name is not None:
            error.hint = f'did you mean "{name}"? {PRIVATE}'
    if error.file is not None:
        return
    for name in error.names:
        for index, text in enumerate(loaded.spec.environment.dependencies):
            if parts_of(text)[0] == name:
                error.file = loaded.path.name
                error.key = f"environment.dependencies[{index}]"
                error.line = loaded.place(error.key)
                return
        for text, (file, line) in places_of(loaded.path.parent, loaded).items():
            if parts_of(text)[0] == name:
                error.file, error.line = file, line
                return
