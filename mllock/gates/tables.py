"""The port of gates to data: a source as rows, some at a time.

A table is read as often as a gate needs it, and never held whole. Text formats (CSV) give text,
with None for a missing value; typed formats keep their types; folders of images or texts give one
row for each file (`path`, `sha256`, and `label`, the folder that it is in). Laws: batches of any
size are the same rows in the same order; a table that is read twice gives the same rows or raises.
Polars is imported where it is used: gates are an extra.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ROWS", "Batch", "Table", "TableKind"]

# Rows in a batch: large enough that polars is quick, small enough that twenty columns of text fit
# into tens of megabytes.
ROWS = 262_144

# text: values may mean numbers, as in CSV. typed: they are what their types say. files: a row is
# a file, and what it says is its `sha256`.
TableKind = Literal["text", "typed", "files"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows that follow one another in one file. `first` is the position of the first of them in
    `file`, from 1; `offset` is how many rows of the table are before it."""

    file: str
    first: int
    offset: int
    frame: pl.DataFrame


class Table(Protocol):
    """One data source. Raises DataError: file, row or column, expected, found."""

    @property
    def name(self) -> str:
        """The name of the source."""

    @property
    def kind(self) -> TableKind:
        """What its values are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """In the order of the first file; all files have the same."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The type of each column. Of text formats all are String; no type is nested, and none
        is Categorical or Enum."""

    @property
    def is_text(self) -> bool:
        """Whether values are text that may mean numbers, as in CSV."""

    @property
    def size(self) -> int:
        """Bytes of its files: of two tables, which one is larger."""

    def batches(self, columns: Sequence[str] | None = None, *, rows: int = ROWS) -> Iterator[Batch]:
        """All rows, in order, with these columns or all of them; in a batch at most `rows`."""
