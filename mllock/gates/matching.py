"""Predictions matched with data by the declared key.

For keys only: without one the order of rows counts (`mllock.gates.scored`). Keys are compared as
text in which whole numbers that are written differently are one, unless that would make one of two:
then `001` and `1` are two keys. Columns are numbered inside, so that they may have any name. Raises
what `bad_data` and `bad_prediction` make of a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mllock.errors import MllockError
from mllock.gates.tables import Batch

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Blame", "key_frame", "rows_by_key"]

Blame = Callable[..., MllockError]
_PLACE = "place"


def key_frame(batches: Iterable[Batch], key: Sequence[str]) -> pl.DataFrame:
    """The columns of a key as text, named by their numbers."""
    import polars as pl

    return pl.concat(
        pl.DataFrame(
            {str(place): batch.frame[name].cast(pl.String) for place, name in enumerate(key)}
        )
        for batch in batches
    )


def rows_by_key(
    data: pl.DataFrame,
    found: pl.DataFrame,
    key: Sequence[str],
    *,
    name: str,
    bad_data: Blame,
    bad_prediction: Blame,
) -> NDArray[np.int64]:
    """For each row of the data, the source `name`, its row of the predictions."""
    import polars as pl

    numbers = tuple(map(_as_numbers, (data, found)))
    if not any(
        _twice(one) and not _twice(raw) for one, raw in zip(numbers, (data, found), strict=True)
    ):
        data, found = numbers
    for frame, blame in ((data, bad_data), (found, bad_prediction)):
        twice = frame.filter(frame.is_duplicated())
        if len(twice):
            raise blame("a key is there twice", found=_shown(twice.row(0), key))
    names = data.columns
    found = found.with_row_index(_PLACE)
    joined = data.join(found, on=names, how="left", maintain_order="left", nulls_equal=True)
    missing = joined.filter(pl.col(_PLACE).is_null()).drop(_PLACE)
    if len(missing):
        raise bad_prediction(
            "a row of the data has no prediction",
            expected=f"one for each of {len(data)} rows of {name}",
            found=f"none for {_shown(missing.row(0), key)}{_more(len(missing))}",
        )
    if len(found) != len(data):
        extra = found.join(data, on=names, how="anti", nulls_equal=True).drop(_PLACE)
        raise bad_prediction(
            "a prediction is about no row of the data",
            found=f"{_shown(extra.row(0), key)}{_more(len(extra))}",
        )
    return joined[_PLACE].to_numpy().astype(np.int64)


def _as_numbers(keys: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    whole = r"^\+?(-?)0*(\d+)(?:\.0*)?$"
    return keys.with_columns(pl.all().str.replace(whole, "${1}${2}"))


def _twice(keys: pl.DataFrame) -> bool:
    return bool(keys.is_duplicated().any())


def _shown(row: Sequence[object], key: Sequence[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(key, row, strict=True))


def _more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""
