"""Text that means the same, brought to one form: moments, JSON and bytes.

    moments    an ISO date or time is `2020-01-01 00:00:00.25` in UTC; a date is its midnight
    documents  a JSON array or object: keys sorted, no spaces, 1.0 is 1
    decoded    bytes are their text if they are UTF-8, else hexadecimal
    halves     a 16-bit float is the 32-bit one that is written like it
    depth      how deep brackets of JSON are nested

What is nothing of this stays as it is. Each depends on nothing but the value itself, and done twice
it does nothing more. Never raises for what a value is.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["MAX_DEPTH", "decoded", "depth", "documents", "halves", "moments"]

# Deeper than any row that means something, and far from where parsers run out of stack.
MAX_DEPTH = 64

_MAYBE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:$|[Tt ])"
_ISO = (
    r"^(?<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?<hour>[01][0-9]|2[0-3]):(?<minute>[0-5][0-9])"
    r"(?::(?<second>[0-5][0-9])(?:\.(?<part>[0-9]{1,9}))?)?"
    r" ?(?<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
# A string that is not closed is one to the end, so that each byte is looked at once.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_EXACT_INTEGERS = 2.0**53


def moments(series: pl.Series) -> pl.Series:
    """ISO dates and times, each as one moment. Without an offset: UTC."""
    import polars as pl

    maybe = series.str.contains(_MAYBE)
    if not maybe.any():
        return series
    texts = series.filter(maybe).alias("t")
    found = texts.str.extract_groups(_ISO).struct.unnest()
    day = pl.col("day").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Int64)
    clock = sum(
        (
            pl.col(name).cast(pl.Int64).fill_null(0) * factor
            for name, factor in (("hour", 3600), ("minute", 60), ("second", 1))
        ),
        pl.lit(0, pl.Int64),
    )
    zone = pl.col("zone").str.replace_all("[:Zz]", "")
    hours = zone.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = zone.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    seconds = day * 86_400 + clock - sign * (hours * 3600 + minutes * 60)
    whole = (seconds * 1_000_000).cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S")
    part = pl.col("part").fill_null("").str.strip_chars_end("0")
    moment = pl.when(part == "").then(whole).otherwise(whole + "." + part)
    written = found.select(moment.alias("t")).to_series()
    return series.scatter(maybe.arg_true(), written.zip_with(written.is_not_null(), texts))


def documents(series: pl.Series) -> pl.Series:
    """JSON arrays and objects, each written in one way."""
    import polars as pl

    maybe = series.str.contains(r"^[ \t\r\n]*[\[{]")
    if not maybe.any():
        return series
    written = [_document(text) for text in series.filter(maybe).to_list()]
    return series.scatter(maybe.arg_true(), pl.Series(written, dtype=pl.String))


def decoded(series: pl.Series) -> pl.Series:
    """Bytes as text."""
    import polars as pl

    try:
        return series.cast(pl.String)
    except pl.exceptions.PolarsError:
        texts = [None if value is None else _decoded(value) for value in series.to_list()]
        return pl.Series(series.name, texts, dtype=pl.String)


def halves(values: NDArray[Any]) -> NDArray[np.float32]:
    """Of 16-bit floats: 0.1 is meant, and not 0.09997559."""
    import numpy as np

    found: NDArray[np.float32] = _halves()[np.ascontiguousarray(values, np.float16).view(np.uint16)]
    return found


def depth(text: bytes) -> int:
    """How deep its brackets are nested, those in strings left out; vectorised."""
    import numpy as np

    brackets = np.frombuffer(_STRING.sub(b"", text).translate(None, _NO_BRACKETS), np.uint8)
    if not len(brackets):
        return 0
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    return max(0, int(np.cumsum(np.where(opening, 1, -1)).max()))


@functools.cache
def _halves() -> NDArray[np.float32]:
    """Of each of them."""
    import numpy as np

    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    return np.array([str(value) for value in every], dtype=np.float32)


def _document(text: str) -> str:
    data = text.encode()
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and depth(data) > MAX_DEPTH:
        return text
    try:
        return msgspec.json.encode(_plain(msgspec.json.decode(data)), order="sorted").decode()
    except ValueError:
        return text


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_INTEGERS:
        return int(value)
    return value


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
