"""Columns that the spec names, found in a table, or one message that says which was meant.

Every gate looks its columns up here. Raises SpecError at the key of mlproject.toml that names it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from mllock.errors import SpecError
from mllock.gates.tables import Table

__all__ = ["column", "columns"]

_SPEC = "mlproject.toml"
# So many columns are listed when nothing is near.
_LISTED = 8


def column(table: Table, name: str, *, key: str, line: int | None = None) -> str:
    """`name`, if the table has it. `key` is where the spec names it: "data.train.label"."""
    if name in table.columns:
        return name
    folded = {other.casefold(): other for other in reversed(table.columns)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    more = len(table.columns) - _LISTED
    listed = ", ".join(map(repr, table.columns[:_LISTED])) + (
        f" and {more} more" if more > 0 else ""
    )
    raise SpecError(
        f"{table.name} has no column {name!r}",
        file=_SPEC,
        line=line,
        key=key,
        hint=f'did you mean "{folded[near[0]]}"?' if near else f"it has {listed}",
    )


def columns(
    table: Table, names: Sequence[str], *, key: str, line: int | None = None
) -> tuple[str, ...]:
    """All of them, in the order in which the spec names them."""
    return tuple(column(table, name, key=key, line=line) for name in names)
