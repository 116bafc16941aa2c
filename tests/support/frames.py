"""A table in memory: frames of polars as the readers of data sources give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from mllock.gates.tables import ROWS, Batch, TableKind

__all__ = ["FrameTable", "as_text"]


@dataclass(frozen=True, kw_only=True)
class FrameTable:
    """Implements `mllock.gates.tables.Table`; `files` are its files, in order."""

    name: str
    files: tuple[tuple[str, pl.DataFrame], ...]
    is_text: bool = False
    cut: int = ROWS

    @classmethod
    def of(cls, name: str, frame: pl.DataFrame, *, text: bool = False, cut: int = ROWS):
        return cls(name=name, files=(("", frame),), is_text=text, cut=cut)

    @property
    def kind(self) -> TableKind:
        return "text" if self.is_text else "typed"

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        return dict(self.files[0][1].schema)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.files[0][1].columns)

    def batches(self, columns: Sequence[str] | None = None, *, rows: int = ROWS) -> Iterator[Batch]:
        offset = 0
        for file, frame in self.files:
            first = 1
            for part in frame.iter_slices(min(rows, self.cut)):
                chosen = part if columns is None else part.select(columns)
                if part.height:
                    yield Batch(file=file, first=first, offset=offset, frame=chosen)
                first += part.height
                offset += part.height


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """As CSV would give it: text, null where a value is missing."""
    return frame.with_columns(pl.all().cast(pl.String))
