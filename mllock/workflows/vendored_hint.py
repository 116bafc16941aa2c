"""What is said of vendored folders where a file has to be fetched and cannot be: a folder that was
made for another lock is found, and has not all of this one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mllock.errors import OfflineError
from mllock.workflows.context import Context

__all__ = ["looking_into_vendored"]


@contextlib.contextmanager
def looking_into_vendored(ctx: Context) -> Iterator[None]:
    """Adds to the hint of an OfflineError which folders did not have it."""
    try:
        yield
    except OfflineError as error:
        if ctx.cache.vendored:
            folders = " and ".join(str(folder.root) for folder in ctx.cache.vendored)
            said = f'{folders} lacks it: "mllock vendor --check" says what else'
            error.hint = said if error.hint is None else f"{error.hint}; {said}"
        raise
