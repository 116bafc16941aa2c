"""JSON lines: an object in each line, its keys are the columns.

The types are those of all rows: the file is read once for them before it is read for a gate, so
that they do not depend on what comes first. Whole numbers and others are numbers; a column with
values of several types, objects or arrays is text, as it is written in JSON. Blank lines are no
rows. What is nested too deep is refused before polars sees it, which has no limit but its stack.
Raises DataError that names the row or the line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mllock.errors import DataError
from mllock.gates.lines import not_utf8, opened, pieces
from mllock.gates.one_form import MAX_DEPTH, depth
from mllock.gates.parts import OneFile

if TYPE_CHECKING:
    import polars as pl

__all__ = ["JsonLinesPart"]


class JsonLinesPart(OneFile):
    """One file. Its schema is read when it is made, from all of it."""

    def __init__(self, path: Path, *, file: str, shown: str) -> None:
        super().__init__(path, file=file, shown=shown)
        self._schema = self._read_schema()

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        return self._schema

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        import polars as pl

        # Without a column polars does not count: take one and leave it out.
        wanted = columns or tuple(self._schema)[:1]
        schema = {name: self._schema[name] for name in wanted}
        for line, data in self._pieces():
            try:
                frame = pl.read_ndjson(data, schema=schema)
            except pl.exceptions.PolarsError as error:
                raise self._refused(data, line, str(error)) from None
            floats = [name for name, dtype in schema.items() if dtype.is_float()]
            frame = frame.with_columns(pl.col(floats).fill_nan(None)) if floats else frame
            frame = frame.select(wanted) if columns else pl.DataFrame(height=frame.height)
            yield from frame.iter_slices(rows)

    def _read_schema(self) -> dict[str, pl.DataType]:
        import polars as pl

        schema: dict[str, pl.DataType] = {}
        for line, data in self._pieces():
            try:
                found: Mapping[str, pl.DataType] = pl.read_ndjson(
                    data, infer_schema_length=None
                ).schema
            except pl.exceptions.PolarsError as error:
                # A column of several types, or no JSON.
                found = self._inferred(data, line, str(error))
            for name, dtype in found.items():
                schema[name] = _both(schema.get(name, pl.Null()), dtype)
        if not schema:
            raise DataError("no rows", file=self._shown, hint="put rows there, or another source")
        return schema

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        """Lines, and the number of the first of them."""
        line = 1
        with opened(self._path, self._shown) as stream:
            for data in pieces(stream, self._shown, "JSON lines"):
                at = not_utf8(data)
                if at is not None:
                    raise DataError(
                        "not UTF-8",
                        file=self._shown,
                        line=line + data.count(b"\n", 0, at),
                        found=f"byte 0x{data[at]:02x}",
                        hint="convert all of the file to UTF-8",
                    )
                if data.strip():
                    self._check_depth(data, line)
                    yield line, data
                line += data.count(b"\n")

    def _check_depth(self, data: bytes, line: int) -> None:
        # Each line that begins with a bracket has one of them, and no line has all the others.
        brackets = data.count(b"{") + data.count(b"[")
        if brackets - data.count(b"\n{") <= MAX_DEPTH:
            return
        for number, text in enumerate(data.split(b"\n")):
            if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
                continue
            found = depth(text)
            if found > MAX_DEPTH:
                raise DataError(
                    f"row {self._row(line + number)} is nested too deep",
                    file=self._shown,
                    line=line + number,
                    expected=f"objects and arrays within one another at most {MAX_DEPTH} times",
                    found=f"{found} times",
                    hint="write as text what is no value of a column",
                )

    def _row(self, line: int) -> int:
        """Which row that line is."""
        with opened(self._path, self._shown) as stream:
            return sum(bool(text.strip()) for text in itertools.islice(stream, line))

    def _inferred(self, data: bytes, line: int, reason: str) -> dict[str, pl.DataType]:
        """Types row by row, for rows that polars does not unite."""
        import polars as pl

        schema: dict[str, pl.DataType] = {}
        for number, text in enumerate(data.split(b"\n")):
            if not text.strip():
                continue
            try:
                value = msgspec.json.decode(text)
            except (ValueError, RecursionError) as error:
                raise self._no_object(line + number, str(error)) from None
            if not isinstance(value, dict):
                raise self._no_object(line + number, f"{type(value).__name__}, not an object")
            for name, item in value.items():
                schema[name] = _both(schema.get(name, pl.Null()), _type_of(item))
        if not any(dtype == pl.String for dtype in schema.values()):
            raise self._refused(data, line, reason)
        return schema

    def _no_object(self, line: int, problem: str) -> DataError:
        return DataError(
            "not a line of JSON",
            file=self._shown,
            line=line,
            expected='an object, e.g. {"id": 1, "label": "a"}',
            found=problem,
        )

    def _refused(self, data: bytes, line: int, reason: str) -> DataError:
        first = reason.splitlines()[0]
        return DataError(f"cannot be read as JSON lines: {first}", file=self._shown, line=line)


def _type_of(value: object) -> pl.DataType:
    import polars as pl

    if value is None:
        return pl.Null()
    if isinstance(value, bool):
        return pl.Boolean()
    if isinstance(value, int):
        return pl.Int64() if -(2**63) <= value < 2**63 else pl.Int128()
    return pl.Float64() if isinstance(value, float) else pl.String()


def _both(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    """The type of values of both types."""
    import polars as pl

    if right.is_nested():
        return pl.String()
    if left == pl.Null or left == right:
        return right
    if right == pl.Null:
        return left
    if left.is_integer() and right.is_integer():
        return pl.Int128()
    if left.is_numeric() and right.is_numeric():
        return pl.Float64()
    return pl.String()
