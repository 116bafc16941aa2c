"""Leaving a folder as it was when writing a layout into it fails: what is new goes, no more.

Until there is a new index.json, nothing that was written counts; after it everything does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from mllock.processes import held_interrupts

__all__ = ["nothing_half", "remove_folders"]


@contextlib.contextmanager
def nothing_half(folder: Path, new: Sequence[Path]) -> Iterator[None]:
    """If the block fails before there is a new index, what was not there before is not there
    again; `new` are folders."""
    places = (folder / "blobs" / "sha256", folder)
    before = {path for place in places for path in place.iterdir()}
    index = _identity(folder / "index.json")
    try:
        yield
    except BaseException:
        # Ctrl-C, and a second one, do not stop this.
        with held_interrupts(), contextlib.suppress(OSError):
            if _identity(folder / "index.json") == index:
                for path in [path for place in places for path in place.iterdir()]:
                    if path not in before and not path.is_dir():
                        path.unlink(missing_ok=True)
                remove_folders(new)
        raise


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def remove_folders(folders: Sequence[Path]) -> None:
    """Those that are empty, the innermost first."""
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()
