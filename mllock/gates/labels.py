"""Labels and values of slices as text: one for all that are the same, in one order. Pure.

The same are values after normalising (`mllock.gates.alike`): of text case, Unicode's forms and
spaces do not count, nor how a number is written.
"""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mllock.gates.alike import fold

if TYPE_CHECKING:
    import polars as pl

__all__ = ["as_labels", "in_order", "text_of"]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
_SPACES = re.compile("[\t-\r ]+")
# Beyond any float of 64 bits: text.
_LARGEST = 400


def text_of(value: object) -> str | None:
    """A value as the text that it has in common with all that are the same; None if it is missing.

    >>> text_of("1.0"), text_of(1), text_of(True), text_of("TRUE"), text_of(" Ab  c")
    ('1', '1', 'true', 'true', 'ab c')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        return value.hex() or None
    text = _folded(repr(value) if isinstance(value, float) else str(value))
    number = _number(text)
    if number is None:
        return text or None
    if number == 0:
        return "0"
    with decimal.localcontext(prec=max(28, len(text))):
        number = number.normalize()
    return format(number, "f") if -30 < number.adjusted() < 30 else str(number).lower()


def as_labels(series: pl.Series) -> pl.Series:
    """A column with the text of each of its values."""
    import polars as pl

    known = series.drop_nulls().unique()
    texts = pl.Series([text_of(value) for value in known.to_list()], dtype=pl.String)
    return series.replace_strict(known, texts, default=None, return_dtype=pl.String)


def in_order(values: Iterable[str]) -> tuple[str, ...]:
    """Numbers by size, before words by alphabet: the same whatever the order of rows. `values` are
    texts as `text_of` makes them."""

    def place(text: str) -> tuple[int, decimal.Decimal, str]:
        number = _number(text)
        return (1, decimal.Decimal(0), text) if number is None else (0, number, text)

    return tuple(sorted(values, key=place))


def _folded(text: str) -> str:
    import polars as pl

    if text.isascii():
        return _SPACES.sub(" ", text.lower()).strip(" ")
    return str(fold(pl.Series([text]))[0])


def _number(text: str) -> decimal.Decimal | None:
    """What is meant by text that was folded, if that is a number."""
    if not _NUMBER.fullmatch(text):
        return None
    try:
        number = decimal.Decimal(text)
    except decimal.InvalidOperation:
        return None
    return number if number == 0 or abs(number.adjusted()) < _LARGEST else None
