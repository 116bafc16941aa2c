"""When two values are the same: exactly, alike, or after normalising. As columns, and as hashes.

    exact       text as it is (CSV), or type and value; integers of any width are one type, floats
                of 32 and of 64 bits are two
    alike       of unlike formats: numbers are compared as numbers, moments as moments, JSON as
                what it says, everything else as its text
    normalised  alike, and of text Unicode NFKC, case folded, spaces in a row made one; true is 1

A number is a 64-bit float, and beyond 2**53 a 64-bit integer if it is written as one; a column may
be read in another way (`Reading`). Laws: what is the same has the same hash; what comes out for a
row depends on nothing but that row and the form, so that batches of any size give the same.
Vectorised: Python looks at text that is not ASCII, or JSON, once at each text that differs, and at
nothing else. Hashes mean nothing outside of one version of polars.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mllock.gates.one_form import decoded, documents, halves, moments

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["Form", "Mode", "Reading", "as_compared", "fold", "names_of", "row_hashes", "same_type"]

Mode = Literal["exact", "alike", "normalised"]
# How `alike` and `normalised` read a column: plain; single: numbers are rounded to 32 bits, as
# those of the other table are; name: text that names something, never a number, so that 001 and 1
# are two names, but 12.0 is 12; number: names that are numbers in the other table.
Reading = Literal["plain", "single", "name", "number"]

_SEED, _FLOAT, _INTEGER, _TEXT = 0x6D6C6C6F, 0x66, 0x69, 0x74
# So many rows say whether it is worth to look for values that repeat.
_LOOK = 4096
_EXACT_INTEGERS = 2.0**53
# The spaces that are left after NFKC; Unicode's White_Space, for both ways of folding.
_SPACES = "[\t-\r \x85\u1680\u2028\u2029]+"
_SPACED = "[\t-\r]|  |^ | $"


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How rows of one table are compared: its columns in the order in which they meet those of
    the other, for `exact` the types that both are brought to, else how each is read (none: all
    are plain)."""

    mode: Mode
    names: tuple[str, ...]
    types: tuple[pl.DataType, ...] = ()
    readings: tuple[Reading, ...] = ()

    def reading(self, place: int) -> Reading:
        return self.readings[place] if self.readings else "plain"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Values:
    """A column taken apart: a value is in one of the three, or missing in all."""

    float: pl.Series
    integer: pl.Series | None = None
    text: pl.Series | None = None


def same_type(left: pl.DataType, right: pl.DataType) -> pl.DataType | None:
    """The type in which values of both are compared exactly; None if they are never the same."""
    import polars as pl

    if pl.Null in (left, right):
        other = right if left == pl.Null else left
        return pl.String() if other == pl.Null else other
    if left.is_integer() and right.is_integer():
        wide = (pl.UInt64, pl.Int128, pl.UInt128)
        return pl.Int128() if left in wide or right in wide else pl.Int64()
    if left == right:
        return left
    if isinstance(left, pl.Datetime) and isinstance(right, pl.Datetime):
        aware = left.time_zone is not None
        if "ns" in (left.time_unit, right.time_unit) or aware != (right.time_zone is not None):
            return None
        return pl.Datetime("us", "UTC" if aware else None)
    return None


def row_hashes(frame: pl.DataFrame, form: Form) -> NDArray[np.uint64]:
    """A hash for each row; equal for rows that are the same."""
    import polars as pl

    if form.mode == "exact":
        return _exact(frame, form).hash_rows(_SEED).to_numpy()
    hashes = [
        (
            _hash(part)
            if isinstance(part, _Values)
            else _hash_of_text(part, form.mode, form.reading(place))
        ).alias(str(place))
        for place, part in enumerate(_split(frame, form))
    ]
    return pl.DataFrame(hashes).hash_rows(_SEED).to_numpy()


def as_compared(frame: pl.DataFrame, form: Form) -> pl.DataFrame:
    """The columns that are equal (null as well) in rows that are the same, and only in these."""
    import polars as pl

    if form.mode == "exact":
        return _exact(frame, form)
    columns: dict[str, pl.Series] = {}
    height = frame.height
    for place, part in enumerate(_split(frame, form)):
        values = (
            part
            if isinstance(part, _Values)
            else _taken_apart(part, form.mode, form.reading(place))
        )
        columns[f"{place}.float"] = values.float
        columns[f"{place}.integer"] = (
            pl.Series([None], dtype=pl.Int64).new_from_index(0, height)
            if values.integer is None
            else values.integer
        )
        columns[f"{place}.text"] = (
            pl.Series([None], dtype=pl.String).new_from_index(0, height)
            if values.text is None
            else values.text
        )
    return pl.DataFrame(columns)


def _exact(frame: pl.DataFrame, form: Form) -> pl.DataFrame:
    import polars as pl

    return frame.select(
        pl.col([name]).cast(kind).alias(str(place))
        for place, (name, kind) in enumerate(zip(form.names, form.types, strict=True))
    )


def _split(frame: pl.DataFrame, form: Form) -> list[pl.Series | _Values]:
    """Taken apart, quickly, is a column with nothing but numbers, as most are; others are text or
    typed numbers still."""
    import polars as pl

    # By position: one column of a table may meet several of the other.
    texts = pl.DataFrame(
        [
            _text_or_number(frame[name], form, place).alias(str(place))
            for place, name in enumerate(form.names)
        ]
    )
    numbers = texts.select(
        _number(str(place), form.reading(place)) for place in range(len(form.names))
    )
    small = numbers.select((pl.all().abs() < _EXACT_INTEGERS).all()).row(0)
    return [
        _Values(float=numbers.to_series(place))
        if small[place] and numbers.to_series(place).null_count() == text.null_count()
        else text
        for place, text in enumerate(texts.iter_columns())
    ]


def _number(name: str, reading: Reading) -> pl.Expr:
    import polars as pl

    if reading == "name":
        # Not one value is a number, so that the column stays text.
        return pl.lit(math.inf).alias(name)
    found = pl.col(name).cast(pl.Float64, strict=False)
    return found.cast(pl.Float32).cast(pl.Float64) if reading == "single" else found


def _text_or_number(series: pl.Series, form: Form, place: int) -> pl.Series:
    """What a typed value would be in a CSV file, or a number."""
    import polars as pl

    dtype = series.dtype
    if dtype == pl.Boolean:
        is_number = form.mode == "normalised" and form.reading(place) != "name"
        return series.cast(pl.Int64 if is_number else pl.String)
    if dtype == pl.Float16:
        series, dtype = pl.Series(halves(series.to_numpy())).fill_nan(None), pl.Float32()
    if dtype == pl.Float32 and form.reading(place) != "single":
        # 0.1 is meant, and not 0.10000000149.
        return series.cast(pl.String).cast(pl.Float64)
    if dtype.is_integer():
        wide = dtype in (pl.UInt64, pl.Int128, pl.UInt128)
        return series.cast(pl.String if wide else pl.Int64)
    if dtype.is_numeric():
        return series.cast(pl.Float64)
    if isinstance(dtype, pl.Datetime):
        moment = series if dtype.time_zone is None else series.dt.convert_time_zone("UTC")
        return moment.dt.to_string("%Y-%m-%d %H:%M:%S%.f")
    if dtype == pl.Date:
        return series.dt.to_string("%Y-%m-%d")
    if dtype == pl.Duration:
        return series.dt.total_microseconds()
    return decoded(series) if dtype == pl.Binary else series.cast(pl.String)


def _taken_apart(series: pl.Series, mode: Mode, reading: Reading) -> _Values:
    import polars as pl

    text: pl.Series | None = None
    written = series
    if series.dtype == pl.String:
        text = _one_form(series, mode, reading)
        if reading == "name":
            nothing = pl.Series([None], dtype=pl.Float64).new_from_index(0, len(text))
            return _Values(float=nothing, text=text)
        written = text
        if text.str.starts_with("+").any():
            written = text.str.replace(r"^\+([0-9.])", "${1}")
    frame = pl.DataFrame({"w": written, "f": written.cast(pl.Float64, strict=False)})
    frame = frame.with_columns(f=pl.when(pl.col("f").is_finite()).then("f"))
    if reading == "single":
        frame = frame.with_columns(pl.col("f").cast(pl.Float32).cast(pl.Float64))
    inside = pl.col("f").abs() < 2.0**63
    integer = pl.coalesce(
        pl.col("f" if reading == "single" else "w").cast(pl.Int64, strict=False),
        pl.when(inside).then(pl.col("f").cast(pl.Int64, strict=False)),
    )
    frame = frame.with_columns(i=pl.when(pl.col("f").abs() >= _EXACT_INTEGERS).then(integer))
    is_number = frame["f"].is_not_null()
    frame = frame.with_columns(f=pl.when(pl.col("i").is_null()).then("f"))
    if text is None:
        # Infinity: as text, as CSV has it.
        text = series.cast(pl.String)
    nothing = pl.Series([None], dtype=pl.String)
    return _Values(
        float=frame["f"],
        integer=frame["i"],
        text=nothing.new_from_index(0, len(series)).zip_with(is_number, text),
    )


def _one_form(series: pl.Series, mode: Mode, reading: Reading) -> pl.Series:
    import polars as pl

    # JSON before letters are folded: it has some of its own.
    text = series if reading == "name" else documents(series)
    text = fold(text) if mode == "normalised" else text
    if reading in ("name", "number"):
        text = text.str.strip_chars()
    text = moments(text)
    if reading == "name":
        # As pandas writes whole numbers of a column with a missing one.
        return text.str.replace(r"^(-?(?:0|[1-9][0-9]*))\.0+$", "${1}")
    words = ["true", "false"]
    if mode == "normalised" and text.is_in(words).any():
        return text.replace(pl.Series(words), pl.Series(["1", "0"]))
    return text


def _hash_of_text(series: pl.Series, mode: Mode, reading: Reading) -> pl.Series:
    """As of its values taken apart: each one once, where the beginning says that they repeat."""
    import polars as pl

    if series.head(_LOOK).n_unique() > _LOOK // 4:
        return _hash(_taken_apart(series, mode, reading))
    unique = series.unique().drop_nulls()
    missing = series.clear(1)
    hashes = _hash(_taken_apart(pl.concat([unique, missing]), mode, reading))
    if not len(unique):
        return hashes.new_from_index(0, len(series))
    return series.replace_strict(unique, hashes.head(-1), default=hashes[-1])


def _hash(values: _Values) -> pl.Series:
    import polars as pl

    found = values.float.hash(_FLOAT)
    if values.integer is not None and values.integer.null_count() < len(found):
        found = found.zip_with(values.integer.is_null(), values.integer.hash(_INTEGER))
    is_number = values.float.is_not_null()
    if values.integer is not None:
        is_number = is_number | values.integer.is_not_null()
    if is_number.all():
        return found
    if values.text is not None:
        return found.zip_with(is_number, values.text.hash(_TEXT))
    missing = pl.Series([None], dtype=pl.String).hash(_TEXT).new_from_index(0, len(found))
    return found.zip_with(is_number, missing)


def fold(series: pl.Series) -> pl.Series:
    """Text after normalising."""
    import polars as pl

    found = series.str.to_lowercase()
    if found.str.contains(_SPACED).any():
        found = found.str.replace_all("[\t-\r ]+", " ").str.strip_chars(" ")
    other = series.str.len_bytes() != series.str.len_chars()
    if other.any():
        texts = series.filter(other)
        unique = texts.unique()
        folded = pl.Series([_fold(text) for text in unique.to_list()], dtype=pl.String)
        places = other.arg_true()
        found = found.scatter(places, texts.replace_strict(unique, folded))
    return found


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return re.sub(_SPACES, " ", folded).strip(" ")


def names_of(forms: Sequence[Form]) -> tuple[str, ...]:
    """The columns that forms need."""
    return tuple(dict.fromkeys(name for form in forms for name in form.names))
