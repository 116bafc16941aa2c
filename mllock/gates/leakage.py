"""The gates that compare rows: of one split in another, keys, groups, and the order of time.

    leakage_results(spec, tables, gate, terms) -> results, in the order of docs/reference/gates.md

Pairs are compared in the order of the splits: what the later one shares with the earlier is the
finding. All pairs and all of these gates are answered from one reading of each table
(`mllock.gates.shared`), which watchers may look at as well. Raises DataError for a column that is
not there, a key that is missing, a time that is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mllock.errors import DataError
from mllock.gates.columns import column, columns
from mllock.gates.tables import Batch, Table
from mllock.gates.terms import Terms, quoted
from mllock.gates.times import Times, TimesWatcher, not_after
from mllock.gates.types import MAX_BROKEN, Result, Row
from mllock.spec.gates import splits_of
from mllock.spec.sources import here
from mllock.spec.types import DataSource, LeakageGate, Spec

if TYPE_CHECKING:
    import polars as pl

    from mllock.gates.alike import Form
    from mllock.gates.shared import Match, Question, Shared, Watcher

__all__ = ["leakage_results"]

Role = Literal["key", "group"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
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


# What a question says is to be done with its answer.
_Say = Callable[["Shared"], Iterator[Result]]


def leakage_results(
    spec: Spec,
    tables: Mapping[str, Table],
    gate: LeakageGate,
    terms: Terms,
    *,
    watchers: Mapping[str, Sequence[Watcher]] | None = None,
) -> tuple[Result, ...]:
    """Every table of `tables` that is a split, or that a watcher looks at, is read."""
    from mllock.gates.shared import share

    names = [name for name in splits_of(spec) if name in tables]
    pairs = [
        _Pair(
            earlier=tables[one],
            later=tables[other],
            sources=(spec.data[one], spec.data[other]),
        )
        for one, other in itertools.combinations(names, 2)
    ]
    _check_ignored(gate, [tables[name] for name in names])
    asked = [
        *((pair, "rows", _rows(pair, gate)) for pair in pairs),
        *((pair, "key", _named(pair, "key")) for pair in pairs),
        *((pair, "group", _named(pair, "group")) for pair in pairs),
    ]
    questions = [question for _, _, question in asked if question is not None]
    clocks = _clocks(spec, tables, names)
    keys = {
        name: columns(tables[name], spec.data[name].key, key=f"data.{name}.key") for name in names
    }
    seeing: dict[str, list[Watcher]] = {name: list(more) for name, more in (watchers or {}).items()}
    for name in names:
        own = seeing.setdefault(name, [])
        if len(names) > 1 and keys[name]:
            own.append(_NoMissingKey(keys[name], here(spec.data[name])))
        if name in clocks:
            own.append(clocks[name])
    seen = {
        name: table
        for name, table in tables.items()
        if seeing.get(name) or (name in names and pairs)
    }
    answers = (
        dict(zip(questions, share(seen, questions, keys=keys, watchers=seeing), strict=True))
        if seen
        else {}
    )
    said = _Said(terms, gate, keys)
    results: list[Result] = []
    for kind in ("rows", "normalised", "key", "group"):
        for pair, what, question in asked:
            if what == ("rows" if kind == "normalised" else kind):
                answer = None if question is None else answers[question]
                results += said.of(kind, pair, answer, question)
    results += [
        said.time(pair, clocks[pair.earlier.name].times, clocks[pair.later.name])
        for pair in pairs
        if pair.earlier.name in clocks and pair.later.name in clocks
    ]
    return tuple(results)


# Questions


def _rows(pair: _Pair, gate: LeakageGate) -> Question | None:
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


def _named(pair: _Pair, role: Role) -> Question | None:
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


def _exact(pair: _Pair, one: tuple[str, ...], other: tuple[str, ...]) -> tuple[Form, Form] | None:
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


def _check_ignored(gate: LeakageGate, tables: Sequence[Table]) -> None:
    for index, name in enumerate(gate.ignore):
        if tables and not any(name in table.columns for table in tables):
            column(tables[0], name, key=f"gates.leakage.ignore[{index}]")


def _clocks(
    spec: Spec, tables: Mapping[str, Table], names: Sequence[str]
) -> dict[str, TimesWatcher]:
    """Of the splits that declare a time, if there are two of them."""
    found = {}
    for name in names:
        time = spec.data[name].time
        if time is not None:
            place = column(tables[name], time, key=f"data.{name}.time")
            found[name] = TimesWatcher(place, here(spec.data[name]))
    return found if len(found) > 1 else {}


class _NoMissingKey:
    """Looks at every row: a key that is missing names nothing."""

    def __init__(self, names: tuple[str, ...], shown: str) -> None:
        self.columns = names
        self._shown = shown

    def add(self, batch: Batch) -> None:
        for name in self.columns:
            series = batch.frame[name]
            if series.null_count():
                place = series.is_null().arg_max() or 0
                raise DataError(
                    f"row {batch.first + place}: the key {name!r} is missing",
                    file=f"{self._shown}/{batch.file}" if batch.file else self._shown,
                    hint="give every row a key, or declare none",
                )


# Answers


@dataclass(frozen=True, slots=True)
class _Said:
    """Answers as results."""

    terms: Terms
    gate: LeakageGate
    keys: Mapping[str, Sequence[str]]

    def of(
        self, kind: str, pair: _Pair, answer: Shared | None, question: Question | None
    ) -> Iterator[Result]:
        if kind == "rows":
            yield self.rows(pair, answer, question)
        elif kind == "normalised":
            yield self.normalised(pair, answer, question)
        else:
            yield from self.named("key" if kind == "key" else "group", pair, answer)

    def rows(self, pair: _Pair, answer: Shared | None, question: Question | None) -> Result:
        if answer is None or question is None:
            return self._nothing_in_common("leakage.rows", pair)
        later, earlier = pair.later.name, pair.earlier.name
        what = _counted(answer.exact, "row")
        return self.terms.result(
            "leakage.rows",
            pair.subject,
            f"{what} of {later} {_is(answer.exact)} in {earlier}"
            if answer.exact
            else f"no row of {later} is in {earlier}",
            holds=answer.exact <= self.gate.max_shared * answer.rows,
            measured=answer.exact / answer.rows,
            limit=self.gate.max_shared,
            rows=answer.exact,
            broken=self._broken(pair, answer.exact_matches),
            details=_details(pair, answer, question),
        )

    def normalised(self, pair: _Pair, answer: Shared | None, question: Question | None) -> Result:
        gate = "leakage.normalised-rows"
        if answer is None or question is None:
            return self._nothing_in_common(gate, pair)
        later, earlier = pair.later.name, pair.earlier.name
        more = " more" if answer.exact else ""
        return self.terms.result(
            gate,
            pair.subject,
            f"{_counted(answer.other, f'{more} row'.strip())} of {later} {_is(answer.other)} in "
            f"{earlier} but for case, spaces and the form of numbers"
            if answer.other
            else f"no{more} row of {later} is in {earlier}, whatever the case, spaces and the form "
            "of numbers",
            holds=answer.other <= self.gate.max_shared * answer.rows,
            measured=answer.other / answer.rows,
            limit=self.gate.max_shared,
            rows=answer.other,
            broken=self._broken(pair, answer.other_matches),
            details=_details(pair, answer, question),
        )

    def named(self, role: Role, pair: _Pair, answer: Shared | None) -> Iterator[Result]:
        """Nothing of splits that do not both declare it."""
        one, other = (getattr(source, role) for source in pair.sources)
        if not one or not other:
            return
        gate = f"leakage.{role}s"
        later, earlier = pair.later.name, pair.earlier.name
        if answer is None:
            yield self.terms.result(
                gate,
                pair.subject,
                f"the {role} of {earlier} is {quoted(one)}, that of {later} is {quoted(other)}: "
                "they cannot be compared",
                holds=None,
            )
            return
        yield self.terms.result(
            gate,
            pair.subject,
            f"{_counted(answer.exact, 'row')} of {later} {_has(answer.exact)} a {role} "
            f"({quoted(other)}) that {earlier} has as well"
            if answer.exact
            else f"no {role} of {later} is in {earlier}",
            holds=not answer.exact,
            measured=answer.exact / answer.rows,
            limit=0.0,
            rows=answer.exact,
            broken=self._broken(pair, answer.exact_matches),
        )

    def time(self, pair: _Pair, earlier: Times, later: TimesWatcher) -> Result:
        gate, times = "leakage.time", later.times
        one, other = pair.earlier.name, pair.later.name
        if earlier.last is None or times.first is None:
            which = one if earlier.last is None else other
            summary = f"no row of {which} has a time"
            return self.terms.result(gate, pair.subject, summary, holds=None)
        if earlier.kind != times.kind:
            raise DataError(
                f"{one} and {other} cannot be compared by time",
                file="mlproject.toml",
                key=f"data.{other}.time",
                expected=f"{earlier.kind}s, as {one} has",
                found=f"{times.kind}s",
                hint="write all of them in one way",
            )
        if times.first.value > earlier.last.value:
            summary = f"every row of {other} is after every row of {one}"
            return self.terms.result(
                gate, pair.subject, summary, holds=True, measured=0.0, limit=0.0
            )
        count, first = not_after(
            pair.later,
            later.columns[0],
            earlier.last.value,
            here(pair.sources[1]),
            named=MAX_BROKEN,
            keys=self.keys[other],
        )
        return self.terms.result(
            gate,
            pair.subject,
            f"{_counted(count, 'row')} of {other} {_is(count)} not after the last row of {one}",
            holds=False,
            measured=count / times.rows,
            limit=0.0,
            rows=count,
            broken=tuple(
                (Row(source=other, file=file, row=row, key=key),) for file, row, key in first
            ),
        )

    def _nothing_in_common(self, gate: str, pair: _Pair) -> Result:
        kinds = {table.kind for table in pair.tables}
        why = (
            "one is a table and the other is not"
            if "files" in kinds and len(kinds) > 1
            else "they have no column in common"
        )
        summary = f"{pair.earlier.name} and {pair.later.name} cannot be compared: {why}"
        return self.terms.result(gate, pair.subject, summary, holds=None)

    def _broken(self, pair: _Pair, matches: Sequence[Match]) -> tuple[tuple[Row, ...], ...]:
        return tuple(
            tuple(
                Row(
                    source=table.name,
                    file=place.file,
                    row=place.row,
                    key=dict(zip(self.keys[table.name], place.key, strict=True)),
                )
                for table, place in ((pair.later, match.later), (pair.earlier, match.earlier))
            )
            for match in matches
        )


def _details(pair: _Pair, answer: Shared, question: Question) -> dict[str, object]:
    repeated = {
        table.name: count
        for table, count in zip(pair.tables, answer.repeated, strict=True)
        if count
    }
    details: dict[str, object] = {"columns": list(question.forms[1].names)}
    if repeated:
        details["repeated"] = repeated
    if answer.by_hash:
        details["counted"] = "by hash"
    return details


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"
