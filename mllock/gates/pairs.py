"""Which question a gate asks about two splits: by which columns, and how they are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mllock.gates.columns import columns
from mllock.gates.tables import Table
from mllock.spec.types import DataSource, LeakageGate

if TYPE_CHECKING:
    import polars as pl

    from mllock.gates.alike import Form, Mode, Reading
    from mllock.gates.shared import Question

__all__ = ["Pair", "Role", "common", "names_of", "nearly_common", "rows_of"]

Role = Literal["key", "group"]

_MODES: tuple[Mode, Mode] = ("normalised", "alike")


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
    nothing of what is in it. None if there is none but such as rows have in common rightly: label,
    group and time."""
    from mllock.gates.alike import Form
    from mllock.gates.shared import Question

    earlier, later = pair.tables
    if "files" in (earlier.kind, later.kind):
        if earlier.kind != later.kind:
            return None
        content = Form(mode="exact", names=("sha256",), types=_texts(1))
        both = (content, content)
        return Question(
            earlier=earlier.name, later=later.name, forms=both, exact=both, only_whole=True
        )
    names = common(pair, gate)
    roles = {
        name
        for source in pair.sources
        for name in (source.label, source.time, *source.group)
        if name is not None
    }
    if roles.issuperset(names):
        return None
    readings = _readings(pair, names)
    normalised = Form(mode="normalised", names=names, readings=readings)
    exact = _exact(pair, names, names)
    if exact is None and earlier.kind != later.kind:
        alike = Form(mode="alike", names=names, readings=readings)
        exact = (alike, alike)
    return Question(
        earlier=earlier.name, later=later.name, forms=(normalised, normalised), exact=exact
    )


def common(pair: Pair, gate: LeakageGate) -> tuple[str, ...]:
    """The columns that rows are compared by; in one order for all pairs, so that a table is hashed
    once for all of them."""
    left_out = {*gate.ignore, *pair.sources[0].key, *pair.sources[1].key}
    shared = set(pair.earlier.columns) - left_out
    return tuple(sorted(name for name in pair.later.columns if name in shared))


def nearly_common(pair: Pair) -> tuple[str, str] | None:
    """A column of each that differ by case and spaces: probably one."""
    one, other = (
        {name.strip().casefold(): name for name in reversed(table.columns)} for table in pair.tables
    )
    return next(
        (
            (name, other[folded])
            for folded, name in reversed(one.items())
            if folded in other and other[folded] != name
        ),
        None,
    )


def names_of(pair: Pair, role: Role) -> Question | None:
    """By keys or groups: exactly, or as text without the spaces around it, and by numbers where one
    side has them. What is the same only after normalising is no finding, and told. None if one of
    the splits declares none, or as many columns as the other has not."""
    import polars as pl

    from mllock.gates.alike import Form
    from mllock.gates.shared import Question

    one, other = (
        columns(table, getattr(source, role), key=f"data.{table.name}.{role}")
        for table, source in zip(pair.tables, pair.sources, strict=True)
    )
    if not one or len(one) != len(other):
        return None
    exact = _exact(pair, one, other)
    if exact is not None and not any(dtype == pl.String for dtype in exact[0].types):
        return Question(
            earlier=pair.earlier.name,
            later=pair.later.name,
            forms=exact,
            exact=exact,
            only_whole=True,
        )
    readings = tuple(
        _reading_of_names(pair.earlier.schema[left], pair.later.schema[right])
        for left, right in zip(one, other, strict=True)
    )
    forms, exact = (
        (
            Form(mode=mode, names=one, readings=readings),
            Form(mode=mode, names=other, readings=readings),
        )
        for mode in _MODES
    )
    return Question(
        earlier=pair.earlier.name,
        later=pair.later.name,
        forms=forms,
        exact=exact,
        only_whole=True,
    )


def _readings(pair: Pair, names: tuple[str, ...]) -> tuple[Reading, ...]:
    """None if all are plain, so that a table is hashed once for all pairs. What has 32 bits on one
    side only says no more than these of the other."""
    import polars as pl

    small = (pl.Float16, pl.Float32)
    found: list[Reading] = []
    for name in names:
        types = [table.schema[name] for table in pair.tables]
        wide = [kind for kind in types if kind in (pl.Float64, pl.String)]
        is_single = len(wide) == 1 and any(kind in small for kind in types)
        found.append("single" if is_single else "plain")
    return tuple(found) if "single" in found else ()


def _reading_of_names(left: pl.DataType, right: pl.DataType) -> Reading:
    texts = [kind for kind in (left, right) if not (kind.is_numeric() or kind.is_temporal())]
    return "name" if len(texts) == 2 else "number"


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
