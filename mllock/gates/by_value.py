"""Candidates of two tables compared by value: a hash that two rows have is no finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from mllock.gates.alike import Form, as_compared
from mllock.gates.candidates import Candidates

__all__ = ["Question", "compared_by_value"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What does the table `later` share with `earlier`? `forms` say by what, of the earlier and the
    later one; rows that are the same by `exact`, which implies `forms`, are told apart.
    `only_whole`: rows where one of the values is missing share nothing."""

    earlier: str
    later: str
    forms: tuple[Form, Form]
    exact: tuple[Form, Form] | None = None
    only_whole: bool = False

    def form(self, table: str) -> Form:
        return self.forms[0] if table == self.earlier else self.forms[1]


def compared_by_value(question: Question, sides: Sequence[Candidates]) -> pl.DataFrame:
    """`offset` and `rows` of the later table's candidates that the earlier one has, `earlier` the
    offset of the first of these, and whether it is `exact`."""
    frames = [side.frame for side in sides]
    bound = pl.lit(min(side.bound for side in sides), pl.UInt64)
    empty = pl.DataFrame(
        schema={"offset": pl.UInt64, "rows": pl.UInt64, "earlier": pl.UInt64, "exact": pl.Boolean}
    )
    if frames[0] is None or frames[1] is None:
        return empty
    earlier, later = (
        frame.filter(pl.col("hash") <= bound) for frame in frames if frame is not None
    )
    found = []
    forms = [(question.exact, True)] if question.exact is not None else []
    forms += [(question.forms, False)] if question.exact != question.forms else []
    for pair, is_exact in forms:
        assert pair is not None
        matched = _joined(earlier, later, pair, sides)
        found.append(matched.with_columns(exact=pl.lit(is_exact)))
        later = later.join(matched, on="offset", how="anti")
    return pl.concat([empty, *found])


def _joined(
    earlier: pl.DataFrame,
    later: pl.DataFrame,
    forms: tuple[Form, Form],
    sides: Sequence[Candidates],
) -> pl.DataFrame:
    left, right = (
        as_compared(_named(frame, side), form)
        for frame, form, side in zip((earlier, later), forms, sides, strict=True)
    )
    on = left.columns
    first = (
        left.with_columns(earlier["offset"].alias("earlier")).group_by(on).agg(pl.min("earlier"))
    )
    return (
        right.with_columns(later["offset"].alias("offset"), later["rows"].alias("rows"))
        .join(first, on=on, how="inner", nulls_equal=True)
        .select("offset", "rows", "earlier")
    )


def _named(frame: pl.DataFrame, side: Candidates) -> pl.DataFrame:
    return frame.select(pl.col(f"v{place}").alias(name) for place, name in enumerate(side.names))
