"""CSV as text: RFC 4180, checked before polars parses it, never inferred.

Polars is quick and forgiving: it fills short rows up and turns blank lines into rows. So every
piece is counted first: quotes only around whole values, as many separators as the header has.
Blank lines are no rows. Missing are the words in MISSING, and values of spaces alone. Raises
DataError that names the row (from 1, the header not counted) and the line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mllock.errors import DataError
from mllock.gates import csv_marks
from mllock.gates.lines import not_utf8, opened, pieces
from mllock.gates.parts import OneFile

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MISSING", "CsvPart"]

# Those of pandas.
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """Whole rows, and the marks that they were in. `row` and `line` are those of the first."""

    data: bytes
    marks: csv_marks.Marks
    rows: int
    row: int
    line: int


class CsvPart(OneFile):
    """One file. The header is read when it is made."""

    def __init__(self, path: Path, *, file: str, shown: str, separator: str, packed: bool) -> None:
        super().__init__(path, file=file, shown=shown)
        self._separator = separator
        self._packed = packed
        self._header_lines = 0
        self._columns = self._read_header()

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        import polars as pl

        return dict.fromkeys(self._columns, pl.String())

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        import polars as pl

        places = {name: place for place, name in enumerate(self._columns)}
        # As polars names columns without a header, so that it can be told to parse some of them.
        schema = {f"column_{place + 1}": pl.String for place in places.values()}
        wanted = {name: f"column_{places[name] + 1}" for name in columns}
        for piece in self._pieces():
            if not wanted:
                frame = pl.DataFrame(height=piece.rows)
            else:
                try:
                    frame = pl.read_csv(
                        piece.data,
                        has_header=False,
                        separator=self._separator,
                        schema=schema,
                        columns=list(dict.fromkeys(wanted.values())),
                        null_values=list(MISSING),
                    )
                except pl.exceptions.PolarsError as error:
                    raise self._refused(piece, str(error)) from None
                frame = _without_spaces(frame)
                frame = frame.select(pl.col(place).alias(name) for name, place in wanted.items())
            if frame.height != piece.rows:
                raise self._refused(piece, f"{frame.height} rows were parsed of {piece.rows}")
            yield from frame.iter_slices(rows)

    def _pieces(self) -> Iterator[_Piece]:
        """What follows the header, checked."""
        row, line = 1, 1
        skip = self._header_lines
        with opened(self._path, self._shown, compressed=self._packed) as stream:
            for data in pieces(stream, self._shown, "CSV", end=csv_marks.last_row_end):
                body = data
                if skip:
                    lines = body.split(b"\n", skip)
                    line += len(lines) - 1
                    skip -= len(lines) - 1
                    body = lines[-1] if skip == 0 else b""
                marks = csv_marks.Marks(body, self._separator)
                self._check(marks, row, line)
                body, count = marks.without_blank_lines()
                if count:
                    piece = _Piece(data=body, marks=marks, rows=count, row=row, line=line)
                    if marks.separators() != count * (len(self._columns) - 1):
                        raise self._refused(piece, "rows of different lengths")
                    yield piece
                row += count
                line += marks.lines

    def _check(self, marks: csv_marks.Marks, row: int, line: int) -> None:
        """Of several problems the first, so that it is the same however the file is cut."""
        places = [
            (at, place)
            for place, at in enumerate((not_utf8(marks.data), marks.wrong_quote()))
            if at is not None
        ]
        if not places:
            return
        at, place = min(places)
        number = row + marks.rows_before(at)
        line_number = line + marks.data.count(b"\n", 0, at)
        self._check_lengths(marks, row, line, before=at)
        if place == 0:
            raise DataError(
                f"row {number} is not UTF-8",
                file=self._shown,
                line=line_number,
                found=f"byte 0x{marks.data[at]:02x}",
                hint="convert all of the file to UTF-8, e.g. iconv -f ISO-8859-1 -t UTF-8",
            )
        raise DataError(
            f"row {number} has a quote within a value",
            file=self._shown,
            line=line_number,
            hint='put quotes around the value, and write those in it twice: "5"" pipe"',
        )

    def _check_lengths(
        self, marks: csv_marks.Marks, row: int, line: int, *, before: int | None = None
    ) -> None:
        """The first row that has another number of values than the header."""
        expected = len(self._columns)
        found = marks.other_length(expected - 1, before)
        if found is not None:
            start, separators = found
            raise DataError(
                f"row {row + marks.rows_before(start)} has {_values(separators + 1)}",
                file=self._shown,
                line=line + marks.data.count(b"\n", 0, start),
                expected=f"{expected}, as the header has",
                hint="add what is missing; values with a separator in them need quotes",
            )

    def _refused(self, piece: _Piece, reason: str) -> DataError:
        """`reason`, unless a row has another number of values."""
        self._check_lengths(piece.marks, piece.row, piece.line)
        first = reason.splitlines()[0]
        return DataError(
            f"cannot be read as CSV: {first}",
            file=self._shown,
            line=piece.line,
            hint="is it CSV, with the separator that its ending says?",
        )

    def _read_header(self) -> tuple[str, ...]:
        with opened(self._path, self._shown, compressed=self._packed) as stream:
            skipped = 0
            for data in pieces(stream, self._shown, "CSV", end=csv_marks.last_row_end):
                text = data.lstrip(b"\r\n")
                skipped += data.count(b"\n") - text.count(b"\n")
                if not text:
                    continue
                return self._header(text, skipped)
        raise DataError("an empty file", file=self._shown, hint="put rows there, or another source")

    def _header(self, text: bytes, skipped: int) -> tuple[str, ...]:
        end = csv_marks.first_row_end(text)
        header = text[:end]
        if b"\r" in header.removesuffix(b"\n").removesuffix(b"\r"):
            raise DataError(
                "line ends are CR alone",
                file=self._shown,
                expected="LF or CRLF",
                hint="convert them",
            )
        at = not_utf8(header)
        if at is not None:
            raise DataError(
                "the header is not UTF-8",
                file=self._shown,
                found=f"byte 0x{header[at]:02x}",
                hint="convert all of the file to UTF-8, e.g. iconv -f ISO-8859-1 -t UTF-8",
            )
        try:
            names = next(self._reader(header.decode()))
        except csv.Error as error:
            raise DataError(f"the header cannot be read: {error}", file=self._shown) from None
        self._header_lines = skipped + max(1, header.count(b"\n"))
        # As pandas does, whose index has no name unless it gets one.
        names = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
        twice = (
            next((name for name in names if names.count(name) > 1), None)
            if len(set(names)) < len(names)
            else None
        )
        if twice is not None:
            raise DataError(
                f"two columns with the name {twice!r}", file=self._shown, hint="rename one of them"
            )
        return tuple(names)

    def _reader(self, text: str) -> csv._reader:  # type: ignore[name-defined]
        return csv.reader(io.StringIO(text, newline=""), delimiter=self._separator)


def _without_spaces(frame: pl.DataFrame) -> pl.DataFrame:
    """Null where there is nothing but spaces."""
    import polars as pl

    blank = frame.select((pl.all().str.strip_chars() == "").any()).row(0)
    names = [name for name, has in zip(frame.columns, blank, strict=True) if has]
    return frame.with_columns(
        pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name)) for name in names
    )


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"
