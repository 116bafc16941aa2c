"""What the format has and this version does not do yet: validated, then refused by name.

One table of questions, so that building a feature means deleting its line.
"""

from __future__ import annotations

from collections.abc import Iterator

from mllock.errors import NotAvailableError
from mllock.spec.loaded import LoadedSpec
from mllock.spec.places import Part

__all__ = ["refuse_unavailable"]

_MESSAGE = "not available in this version"


def refuse_unavailable(loaded: LoadedSpec) -> None:
    """Raises NotAvailableError at the first key whose feature is not built yet."""
    for parts, found, hint in _asked_for(loaded):
        raise loaded.error_of(NotAvailableError, _MESSAGE, *parts, found=found, hint=hint)


_Asked = tuple[tuple[Part, ...], str | None, str | None]


def _asked_for(loaded: LoadedSpec) -> Iterator[_Asked]:
    spec = loaded.spec
    if spec.train is not None and spec.train.gpus:
        yield ("train", "gpus"), str(spec.train.gpus), "leave it out"
