"""Labels and values of slices as text: one for all that are the same, in one order. Pure."""

from __future__ import annotations

import decimal
from collections.abc import Iterable

__all__ = ["in_order", "text_of"]


def text_of(value: object) -> str | None:
    """A value as the text that it has in common with all that are the same; None if it is missing.

    >>> text_of("1.0"), text_of(1), text_of(True), text_of("True"), text_of(" a")
    ('1', '1', 'true', 'true', 'a')
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    text = (repr(value) if isinstance(value, float) else str(value)).strip()
    if text in ("True", "False"):
        return text.lower()
    try:
        number = decimal.Decimal(text)
    except decimal.InvalidOperation:
        return text or None
    if not number.is_finite():
        return None if number.is_nan() else text
    if number == 0:
        return "0"
    with decimal.localcontext(prec=max(28, len(text))):
        number = number.normalize()
    return format(number, "f") if -30 < number.adjusted() < 30 else str(number)


def in_order(values: Iterable[str]) -> tuple[str, ...]:
    """Numbers by size, before words by alphabet: the same whatever the order of rows."""

    def place(text: str) -> tuple[int, decimal.Decimal, str]:
        try:
            number = decimal.Decimal(text)
        except decimal.InvalidOperation:
            return 1, decimal.Decimal(0), text
        return (0, number, text) if number.is_finite() else (1, decimal.Decimal(0), text)

    return tuple(sorted(values, key=place))
