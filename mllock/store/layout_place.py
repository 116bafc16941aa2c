"""The folders of a layout that is written: folders, and no links.

A layout may come with a repository. Where `blobs` or `blobs/sha256` is a link, what is written
would lie elsewhere, and what nothing names would be removed there. So links are refused before
anything is written, and files are removed below opened folders, which nobody can put a link in the
place of. The layout's own folder is what the user named, and may be a link.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mllock.errors import InputError
from mllock.store.atomic import cannot_write

__all__ = ["BLOBS", "refuse_links", "remove_blobs"]

BLOBS = ("blobs", "sha256")
_OWN = ("oci-layout", "index.json", BLOBS[0], "/".join(BLOBS))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def refuse_links(folder: Path) -> None:
    """Raises InputError that names the first link among the layout's own files and folders."""
    for name in _OWN:
        place = folder / name
        if place.is_symlink():
            raise InputError(
                "a link is in the place of a part of a layout, and what it leads to would be "
                "written to",
                file=str(place),
                found=f"a link to {os.readlink(place)}",
                hint="remove the link, or name another folder with --output oci:DIR",
            )


def remove_blobs(folder: Path, is_gone: Callable[[str], bool]) -> None:
    """Remove the blobs of `folder` whose names `is_gone` says so of. Raises SurroundingsError,
    also for a link that came into the place of a folder meanwhile."""
    try:
        with _opened(folder) as descriptor:
            for name in os.listdir(descriptor):
                if is_gone(name):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=descriptor)
    except OSError as error:
        raise cannot_write(folder.joinpath(*BLOBS), error) from error


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        at = os.open(folder, _FOLDER & ~os.O_NOFOLLOW)
        stack.callback(os.close, at)
        for name in BLOBS:
            at = os.open(name, _FOLDER, dir_fd=at)
            stack.callback(os.close, at)
        yield at
