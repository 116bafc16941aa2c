"""Which question a gate asks about two splits: by which columns, and how they are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mllock.gates.columns import columns
from mllock.gates.tables import Table
from mllock.spec.types import DataSource, LeakageGate

if TYPE_CHECKING:
    import polars as pl

    from mllock.gates.alike import Form
    from mllock.gates.shared import Question

__all__ = ["Pair", "Role", "names_of", "rows_of"]

Role = Literal["key", "group"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two splits, in their order."""

    earlier: Table
    later: Table
    sources: tuple[DataSource, DataSource]

    @property
    def subject(self) -> str:
        return f"{self.earlier.name}, {self.later.name}"

    @property
    def tables(self) -> tuple[Table, Table]:
        return self.earlier, self.later


def rows_of(pair: Pair, gate: LeakageGate) -> Question | None:
    """All columns that both have, but what is ignored, and keys: a key says which row it is, and
    nothing of what is in it. None if there is none."""
    from mllock.gates.alike import Form
    from mllock.gates.shared import Question

    earlier, later = pair.tables
    if "files" in (earlier.kind, later.kind):
        if earlier.kind != later.kind:
            return None
        content = Form(mode="exact", names=("sha256",), types=_texts(1))
        both = (content, content)
        return Question(earlier=earlier.name, later=later.name, forms=both, exact=both)
    left_out = {*gate.ignore, *pair.sources[0].key, *pair.sources[1].key}
    shared = set(earlier.columns) - left_out
    # In one order for all pairs, so that a table is hashed once for all of them.
    names = tuple(sorted(name for name in later.columns if name in shared))
    if not names:
        return None
    normalised = Form(mode="normalised", names=names)
    exact = _exact(pair, names, names)
    if exact is None and earlier.kind != later.kind:
        alike = Form(mode="alike", names=names)
        exact = (alike, alike)
    return Question(
        earlier=earlier.name, later=later.name, forms=(normalised, normalised), exact=exact
    )


def names_of(pair: Pair, role: Role) -> Question | None:
    """By keys or groups. None if one of the splits declares none, or as many columns as the other
    has not."""
    from mllock.gates.alike import Form
    from mllock.gates.shared import Question

    one, other = (
        columns(table, getattr(source, role), key=f"data.{table.name}.{role}")
        for table, source in zip(pair.tables, pair.sources, strict=True)
    )
    if not one or len(one) != len(other):
        return None
    forms = _exact(pair, one, other)
    if forms is None:
        forms = (Form(mode="alike", names=one), Form(mode="alike", names=other))
    return Question(
        earlier=pair.earlier.name,
        later=pair.later.name,
        forms=forms,
        exact=forms,
        only_whole=True,
    )


def _exact(pair: Pair, one: tuple[str, ...], other: tuple[str, ...]) -> tuple[Form, Form] | None:
    """None if values of these columns are never exactly the same."""
    from mllock.gates.alike import Form, same_type

    earlier, later = pair.tables
    if earlier.is_text != later.is_text:
        return None
    types = []
    for left, right in zip(one, other, strict=True):
        found = same_type(earlier.schema[left], later.schema[right])
        if found is None:
            return None
        types.append(found)
    return tuple(  # type: ignore[return-value] # two of them
        Form(mode="exact", names=names, types=tuple(types)) for names in (one, other)
    )


def _texts(count: int) -> tuple[pl.DataType, ...]:
    import polars as pl

    return (pl.String(),) * count
