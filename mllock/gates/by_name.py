"""A column by its name, whatever that is: `pl.col("^a$")` and `pl.col("*")` would be patterns.

So would be the name of a series, for most of its methods: `values` gives it another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["named", "values"]


def named(name: str) -> pl.Expr:
    import polars.selectors as cs

    return cs.by_name(name).as_expr()


def values(frame: pl.DataFrame, name: str) -> pl.Series:
    return frame[name].alias("values")
