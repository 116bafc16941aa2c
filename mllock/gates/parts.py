"""One table of one or more files: the same columns in all of them, in the order of their paths.

A `Part` reads one file; this module puts parts together and counts. Invariants: a batch has rows
of one file; NaN is null; what is nested is JSON text. Raises DataError that names the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mllock.errors import DataError
from mllock.gates.tables import ROWS, Batch, TableKind

if TYPE_CHECKING:
    import polars as pl

__all__ = ["OneFile", "Part", "PartsTable"]


class Part(Protocol):
    """One file of rows."""

    @property
    def file(self) -> str:
        """Its path in the source; "" if it is the source."""

    @property
    def shown(self) -> str:
        """What messages call it."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Its columns, in order."""

    @property
    def size(self) -> int:
        """In bytes."""

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Its rows, in order, at most so many at a time, with these columns in this order."""


class OneFile:
    """What every Part of one file on disk says of itself."""

    def __init__(self, path: Path, *, file: str, shown: str) -> None:
        self._path = path
        self._file = file
        self._shown = shown

    @property
    def file(self) -> str:
        return self._file

    @property
    def shown(self) -> str:
        return self._shown

    @property
    def size(self) -> int:
        return self._path.stat().st_size


class PartsTable:
    """A Table of parts, at least one."""

    def __init__(self, name: str, kind: TableKind, parts: Sequence[Part], *, shown: str) -> None:
        self._name = name
        self._kind: TableKind = kind
        self._parts = tuple(parts)
        self._shown = shown
        self._schema = _same_schema(self._parts)

    @property
    def name(self) -> str:
        return self._name

    @property
    def kind(self) -> TableKind:
        return self._kind

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._schema)

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        return dict(self._schema)

    @property
    def is_text(self) -> bool:
        return self._kind == "text"

    @property
    def size(self) -> int:
        return sum(part.size for part in self._parts)

    def batches(self, columns: Sequence[str] | None = None, *, rows: int = ROWS) -> Iterator[Batch]:
        wanted = tuple(self._schema) if columns is None else tuple(columns)
        unknown = [name for name in wanted if name not in self._schema]
        assert not unknown, f"no such columns: {unknown}"  # columns() has said so to the user
        schema = {name: self._schema[name] for name in wanted}
        offset = 0
        for part in self._parts:
            first = 1
            for frame in part.frames(wanted, rows):
                if not frame.height:
                    continue
                typed = frame if dict(frame.schema) == schema else frame.cast(schema)  # type: ignore[arg-type]
                yield Batch(file=part.file, first=first, offset=offset, frame=typed)
                first += frame.height
                offset += frame.height
        if not offset:
            raise DataError("no rows", file=self._shown, hint="put rows there, or another source")


def _same_schema(parts: Sequence[Part]) -> dict[str, pl.DataType]:
    """The columns of all, in the order of the first; whole numbers and others are numbers."""
    first = parts[0]
    schema = dict(first.schema)
    for part in parts[1:]:
        found = part.schema
        if set(found) != set(schema):
            raise DataError(
                f"other columns than {first.shown}",
                file=part.shown,
                expected=_listed(name for name in schema if name not in found),
                found=_listed(name for name in found if name not in schema),
                hint="give all files of a source the same columns, or make them two sources",
            )
        for name, dtype in found.items():
            schema[name] = _wider(schema[name], dtype, name, first, part)
    return schema


def _wider(
    left: pl.DataType, right: pl.DataType, name: str, first: Part, part: Part
) -> pl.DataType:
    import polars as pl

    if left == right or right == pl.Null:
        return left
    if left == pl.Null:
        return right
    if left.is_integer() and right.is_integer():
        signed = pl.Int64() if pl.UInt64 not in (left, right) else pl.Int128()
        return pl.Int128() if pl.Int128 in (left, right) else signed
    if left.is_numeric() and right.is_numeric():
        return pl.Float64()
    raise DataError(
        f"the column {name!r} has another type than in {first.shown}",
        file=part.shown,
        expected=str(left),
        found=str(right),
        hint="write it with the same type in all files of a source",
    )


def _listed(names: Iterator[str]) -> str:
    quoted = [repr(name) for name in names]
    more = f" and {len(quoted) - 5} more" if len(quoted) > 5 else ""
    return ", ".join(quoted[:5]) + more if quoted else "nothing else"
