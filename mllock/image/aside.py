"""Unpacked packages, put aside on disk while a layer is made of them.

A Debian package is one compressed stream: all of it is unpacked before a file of it can be placed,
and a layer needs many packages at once. What is put aside is read through a mapping of a file
without a name, which is gone with the last reader; `let_go` gives the memory back, and the next
reader finds the bytes on disk. Not for what is read once, in order.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mllock.store import atomic

__all__ = ["let_go", "put_aside"]


def put_aside(pieces: Iterable[bytes], folder: Path) -> memoryview:
    """All pieces, in a file of `folder` that has no name. Raises SurroundingsError."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            if not file.tell():  # which cannot be mapped
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error


def let_go(data: memoryview) -> None:
    """Memory that holds what was put aside is free again; other memory is left as it is."""
    if isinstance(data.obj, mmap.mmap):
        data.obj.madvise(mmap.MADV_DONTNEED)
