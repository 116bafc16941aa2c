"""Folders of anything but tables: one row for each file, by content, without opening it as data.

`path` is in the source, `sha256` as the tree manifest has it, `label` the folder that the file is
in (null for what lies in the source itself). Two files are the same if their bytes are; an empty
file says nothing, and has no `sha256`. Files that desktops and tools leave behind are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mllock.core.digest import hex_of, sha256_of
from mllock.core.tree import TreeManifest

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FILE_COLUMNS", "FilesPart"]

FILE_COLUMNS = ("path", "sha256", "label")

# Beside those whose names begin with a dot.
_LEFT_BEHIND = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
_EMPTY = sha256_of(b"")


class FilesPart:
    """The files of a manifest, in its order. Links and empty folders are no rows."""

    file = ""

    def __init__(self, manifest: TreeManifest, *, shown: str) -> None:
        self._shown = shown
        self._rows = [
            (entry.path, None if entry.digest == _EMPTY else hex_of(entry.digest))
            for entry in manifest.entries
            if entry.digest is not None and _is_data(entry.path)
        ]

    @property
    def shown(self) -> str:
        return self._shown

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        import polars as pl

        return dict.fromkeys(FILE_COLUMNS, pl.String())

    @property
    def size(self) -> int:
        # What is held of a row, and not what is in the file.
        return 128 * len(self._rows)

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        import polars as pl

        for first in range(0, len(self._rows), rows):
            some = self._rows[first : first + rows]
            values: dict[str, list[str | None]] = {
                "path": [path for path, _ in some],
                "sha256": [digest for _, digest in some],
                "label": [path.rpartition("/")[0] or None for path, _ in some],
            }
            data = {name: pl.Series(values[name], dtype=pl.String) for name in columns}
            yield pl.DataFrame(data, height=None if data else len(some))


def _is_data(path: str) -> bool:
    name = path.rpartition("/")[2]
    return not name.startswith(".") and name.lower() not in _LEFT_BEHIND
