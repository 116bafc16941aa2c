"""Parquet and Arrow files: polars streams them, what is nested is made flat.

A struct is its fields (`image.bytes`, `image.path`), a list is its JSON text, categories are
their text, NaN is null. Raises DataError that names the file and what polars said.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mllock.errors import DataError
from mllock.gates.by_name import named
from mllock.gates.lines import check_magic
from mllock.gates.parts import OneFile

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TypedPart", "flat", "polars_errors"]

Format = Literal["Parquet", "Arrow"]
_MAGIC: Mapping[Format, bytes] = {"Parquet": b"PAR1", "Arrow": b"ARROW1"}


class TypedPart(OneFile):
    """One file. Its schema is read when it is made."""

    def __init__(self, path: Path, *, file: str, shown: str, kind: Format) -> None:
        super().__init__(path, file=file, shown=shown)
        self._format: Format = kind
        _check(path, shown, kind)
        with polars_errors(shown, kind):
            self._columns = flat(self._scan().collect_schema(), shown)

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        return {name: dtype for name, (_, dtype) in self._columns.items()}

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        import polars as pl

        with polars_errors(self._shown, self._format):
            if not columns:
                height = self._height()
                for first in range(0, height, rows):
                    yield pl.DataFrame(height=min(rows, height - first))
                return
            selected = self._scan().select(self._columns[name][0].alias(name) for name in columns)
            if self._format == "Parquet":
                # A group of rows may be all of them, and small in the file whatever it holds: of
                # a slice no more than the slice is unpacked.
                for first in range(0, self._height(), rows):
                    yield selected.slice(first, rows).collect()
                return
            for frame in selected.collect_batches(chunk_size=rows, maintain_order=True):
                yield from frame.iter_slices(rows)

    def _height(self) -> int:
        import polars as pl

        return int(self._scan().select(pl.len()).collect().item())

    def _scan(self) -> pl.LazyFrame:
        import polars as pl

        if self._format == "Arrow":
            return pl.scan_ipc(self._path, glob=False, hive_partitioning=False)
        return pl.scan_parquet(self._path, glob=False, hive_partitioning=False)


def flat(schema: Mapping[str, pl.DataType], shown: str) -> dict[str, tuple[pl.Expr, pl.DataType]]:
    """For each column of gates how it is made of the file's, and its type."""
    import polars as pl

    found: dict[str, tuple[pl.Expr, pl.DataType]] = {}
    for name, dtype in schema.items():
        for inner, expr, kind in _flat(name, named(name), dtype):
            if inner in found:
                raise DataError(
                    f"two columns with the name {inner!r}", file=shown, hint="rename one of them"
                )
            if kind == pl.Object:
                raise DataError(f"the column {inner!r} holds Python objects", file=shown)
            found[inner] = (expr, kind)
    if not found:
        raise DataError("no columns", file=shown, hint="put columns there, or another source")
    return found


def _flat(
    name: str, expr: pl.Expr, dtype: pl.DataType
) -> Iterator[tuple[str, pl.Expr, pl.DataType]]:
    import polars as pl

    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            inner = expr.struct.field(field.name)
            yield from _flat(f"{name}.{field.name}", inner, field.dtype)  # type: ignore[arg-type]
    elif isinstance(dtype, pl.List | pl.Array):
        items = expr.arr.to_list() if isinstance(dtype, pl.Array) else expr
        text = pl.struct(items.alias("v")).struct.json_encode().str.slice(5).str.head(-1)
        yield name, pl.when(expr.is_null()).then(None).otherwise(text), pl.String()
    elif isinstance(dtype, pl.Categorical | pl.Enum):
        yield name, expr.cast(pl.String), pl.String()
    elif dtype.is_float():
        yield name, expr.fill_nan(None), dtype
    else:
        yield name, expr, dtype


@contextlib.contextmanager
def polars_errors(shown: str, what: str) -> Iterator[None]:
    """What polars says of a file, as one sentence that names it."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise DataError(
            f"cannot be read as {what}: {lines[0]}",
            file=shown,
            hint="write it again, or give it the ending of what it is",
        ) from None


def _check(path: Path, shown: str, kind: Format) -> None:
    """Both ends of a file, so that one that is cut off is said to be."""
    magic = _MAGIC[kind]
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
            stream.seek(0, 2)
            size = stream.tell()
            stream.seek(max(0, size - len(magic)))
            end = stream.read()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot be read: {reason}", file=shown) from error
    if not start:
        raise DataError("an empty file", file=shown, hint="put rows there, or another source")
    if not start.startswith(magic):
        check_magic(start, shown, kind)
        if kind == "Arrow" and start.startswith(b"\xff\xff\xff\xff"):
            raise DataError(
                "an Arrow stream, not an Arrow file",
                file=shown,
                hint="write it as a file (Feather version 2), or as Parquet",
            )
        raise DataError("not what its name says", file=shown, expected=kind, hint="write it again")
    if end != magic:
        raise DataError(
            f"not a whole {kind} file: its end is missing", file=shown, hint="write it again"
        )
