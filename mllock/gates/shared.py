"""What tables share: rows, keys or groups, found by hashes and then compared by value.

    1. Every table but the largest is read: its hashes are held, sorted.
    2. The largest is read: what of it is among the hashes of another table is kept as a candidate.
    3. Tables with shared hashes are read again, for their candidates. Without any, nobody is.
    4. Candidates are compared by value: a hash that two different rows have is no finding.

So memory grows with the smaller tables, by eight bytes a row. Of very many candidates only those
with the smallest hashes are compared by value, and the rest is counted by hash (`by_hash`): then
both tables are counted once more, exactly. Watchers see every batch of a table once, in 1. or 2.,
so that what else is asked of the tables costs no other reading.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mllock.gates.alike import Form, row_hashes
from mllock.gates.by_name import named
from mllock.gates.by_value import Question, compared_by_value
from mllock.gates.candidates import ALL, LIMIT, Candidates
from mllock.gates.hashes import Hashes, Hits, found_in, rows_in
from mllock.gates.one_form import decoded
from mllock.gates.places import Place, Places, key_text
from mllock.gates.tables import ROWS, Batch, Table

__all__ = ["Match", "Place", "Question", "Shared", "Watcher", "share"]

# The hashes of the largest table are held as well, for its duplicates, if it has no more rows.
KEPT = 1 << 25


class Watcher(Protocol):
    """Sees every batch of a table, in order."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What it needs of the table."""

    def add(self, batch: Batch) -> None:
        """One more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A row of the later table and the first of the earlier one that is the same."""

    later: Place
    earlier: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """`exact` and `other` are numbers of rows of the later table; the matches are the first of
    each in it, different ones. `repeated`: how many rows a table has beyond the first of its kind,
    None of a table too large to tell."""

    rows: int
    exact: int
    other: int
    exact_matches: tuple[Match, ...] = ()
    other_matches: tuple[Match, ...] = ()
    by_hash: bool = False
    repeated: tuple[int | None, int | None] = (None, None)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is hashed of a table: many questions have the same."""

    form: Form
    only_whole: bool


def share(
    tables: Mapping[str, Table],
    questions: Sequence[Question],
    *,
    keys: Mapping[str, Sequence[str]] | None = None,
    watchers: Mapping[str, Sequence[Watcher]] | None = None,
    named: int = 20,
    limit: int = LIMIT,
    rows: int = ROWS,
) -> tuple[Shared, ...]:
    """The answers, in order. `keys` are the columns that name rows, by table; `named`: so many
    matches of each are told. Raises DataError."""
    run = _Run(tables, questions, keys or {}, watchers or {}, named, limit, rows)
    return run.answers()


class _Run:
    def __init__(
        self,
        tables: Mapping[str, Table],
        questions: Sequence[Question],
        keys: Mapping[str, Sequence[str]],
        watchers: Mapping[str, Sequence[Watcher]],
        named: int,
        limit: int,
        rows: int,
    ) -> None:
        self._tables = tables
        self._questions = questions
        self._keys = keys
        self._watchers = watchers
        self._named = named
        self._limit = limit
        self._rows = rows
        self._hashes: dict[tuple[str, _Asked], Hashes] = {}
        self._hits: dict[Question, Hits] = {}
        self._candidates: dict[tuple[Question, str], Candidates] = {}
        self._places: dict[str, Places] = {name: Places() for name in tables}
        self._largest = max(tables, key=lambda name: tables[name].size)

    def answers(self) -> tuple[Shared, ...]:
        for name in self._tables:
            if name != self._largest:
                self._read(name, functools.partial(self._hold, name))
        for question in self._questions:
            if self._largest in (question.earlier, question.later):
                other = self._other(question)
                unique = self._hashes[other, self._asked(question, other)].unique
                self._hits[question] = Hits(unique)
                self._collect(question, self._largest)
        self._read(self._largest, self._meet)
        shared = {question: self._shared(question) for question in self._questions}
        if not self._limit:
            return tuple(self._counted(question, shared[question]) for question in self._questions)
        self._read_again(shared)
        return tuple(self._answer(question, shared[question]) for question in self._questions)

    # Reading

    def _read(self, name: str, take: Callable[[_Asked, _Hashed], None]) -> None:
        """Once, for all questions and watchers."""
        asked = self._all_asked(name)
        watchers = self._watchers.get(name, ())
        if not asked and not watchers:
            return
        columns = dict.fromkeys(
            itertools.chain(
                *(one.form.names for one in asked),
                *(watcher.columns for watcher in watchers),
                self._keys.get(name, ()) if asked else (),
            )
        )
        for batch in self._tables[name].batches(tuple(columns), rows=self._rows):
            self._places[name].add(batch)
            for watcher in watchers:
                watcher.add(batch)
            for one in asked:
                take(one, _hashed(batch, one))

    def _hold(self, name: str, asked: _Asked, batch: _Hashed) -> None:
        self._hashes.setdefault((name, asked), Hashes()).add(batch.hashes)

    def _meet(self, asked: _Asked, batch: _Hashed) -> None:
        """Rows of the largest table, against all others."""
        if self._places[self._largest].rows <= KEPT:
            self._hold(self._largest, asked, batch)
        else:
            self._hashes.pop((self._largest, asked), None)
        for question, hits in self._hits.items():
            if self._asked(question, self._largest) == asked:
                places = hits.add(batch.hashes)
                if len(places):
                    batch.give(self._candidates[question, self._largest], places)

    def _read_again(self, shared: Mapping[Question, NDArray[np.uint64]]) -> None:
        """The candidates of the tables whose hashes were held."""
        for name, table in self._tables.items():
            asking = [
                question
                for question in self._questions
                if name in (question.earlier, question.later)
                and (question, name) not in self._candidates
                and len(shared[question])
            ]
            if not asking:
                continue
            for question in asking:
                self._collect(question, name)
            columns = dict.fromkeys(
                itertools.chain(*(self._candidates[question, name].names for question in asking))
            )
            for batch in table.batches(tuple(columns), rows=self._rows):
                for asked in dict.fromkeys(self._asked(question, name) for question in asking):
                    hashed = _hashed(batch, asked)
                    for question in asking:
                        if self._asked(question, name) == asked:
                            places = np.flatnonzero(found_in(hashed.hashes, shared[question]))
                            hashed.give(self._candidates[question, name], places)

    # Answering

    def _shared(self, question: Question) -> NDArray[np.uint64]:
        if question in self._hits:
            return self._hits[question].shared
        left, right = (
            self._hashes[name, self._asked(question, name)].unique
            for name in (question.earlier, question.later)
        )
        return np.intersect1d(left, right, assume_unique=True)

    def _answer(self, question: Question, shared: NDArray[np.uint64]) -> Shared:
        rows = self._places[question.later].rows
        repeated = tuple(
            self._repeated(question, name) for name in (question.earlier, question.later)
        )
        nothing = Shared(rows=rows, exact=0, other=0, repeated=repeated)  # type: ignore[arg-type]
        if not len(shared):
            return nothing
        sides = [self._candidates[question, name] for name in (question.earlier, question.later)]
        compared = compared_by_value(question, sides)
        told = {
            kind: self._matches(
                question, sides, compared.filter(pl.col("exact") == (kind == "exact"))
            )
            for kind in ("exact", "other")
        }
        counts = {
            kind: int(compared.filter(pl.col("exact") == (kind == "exact"))["rows"].sum())
            for kind in ("exact", "other")
        }
        by_hash = min(side.bound for side in sides) < ALL
        if by_hash:
            every = self._rows_by_hash(question, shared)
            exact = self._exact_by_hash(question, every)
            counts = {"exact": exact, "other": every - exact}
        return replace(
            nothing,
            exact=counts["exact"],
            other=counts["other"],
            exact_matches=told["exact"],
            other_matches=told["other"],
            by_hash=by_hash,
        )

    def _counted(self, question: Question, shared: NDArray[np.uint64]) -> Shared:
        """By hash alone."""
        rows = self._places[question.later].rows
        every = self._rows_by_hash(question, shared)
        return Shared(rows=rows, exact=every, other=0, by_hash=True)

    def _rows_by_hash(self, question: Question, shared: NDArray[np.uint64]) -> int:
        if question.later == self._largest:
            return self._hits[question].rows
        return rows_in(
            self._hashes[question.later, self._asked(question, question.later)].sorted, shared
        )

    def _exact_by_hash(self, question: Question, every: int) -> int:
        if question.exact is None:
            return 0
        if question.exact == question.forms:
            return every
        # A limit of nothing: it counts.
        pair = {name: self._tables[name] for name in (question.earlier, question.later)}
        again = replace(question, forms=question.exact)
        run = _Run(pair, (again,), {}, {}, 0, 0, self._rows)
        return run.answers()[0].exact

    def _repeated(self, question: Question, name: str) -> int | None:
        hashes = self._hashes.get((name, self._asked(question, name)))
        return None if hashes is None else len(hashes.sorted) - len(hashes.unique)

    def _matches(
        self, question: Question, sides: Sequence[Candidates], compared: pl.DataFrame
    ) -> tuple[Match, ...]:
        first = compared.sort("offset").head(self._named)
        names = (question.earlier, question.later)
        earlier, later = (
            self._named_rows(name, side, first[column])
            for name, side, column in zip(names, sides, ("earlier", "offset"), strict=True)
        )
        return tuple(
            Match(later=one, earlier=other) for one, other in zip(later, earlier, strict=True)
        )

    def _named_rows(self, name: str, side: Candidates, offsets: pl.Series) -> list[Place]:
        if side.frame is None:
            return []
        keys = self._keys.get(name, ())
        rows = side.frame.filter(pl.col("offset").is_in(offsets.implode()))
        named = [rows[f"v{side.names.index(key)}"] for key in keys]
        texts = [decoded(values).to_list() for values in named]
        values = dict(
            zip(
                rows["offset"],
                zip(*texts, strict=True) if keys else [()] * rows.height,
                strict=True,
            )
        )
        return [
            self._places[name].at(offset, tuple(map(key_text, values[offset])))
            for offset in offsets
        ]

    # Small things

    def _other(self, question: Question) -> str:
        return question.earlier if question.later == self._largest else question.later

    def _asked(self, question: Question, name: str) -> _Asked:
        return _Asked(question.form(name), question.only_whole)

    def _all_asked(self, name: str) -> tuple[_Asked, ...]:
        return tuple(
            dict.fromkeys(
                self._asked(question, name)
                for question in self._questions
                if name in (question.earlier, question.later)
            )
        )

    def _collect(self, question: Question, name: str) -> None:
        compared = tuple(dict.fromkeys(question.form(name).names))
        more = [key for key in self._keys.get(name, ()) if key not in compared]
        self._candidates[question, name] = Candidates(
            (*compared, *more), len(compared), limit=self._limit
        )


@dataclass(frozen=True, slots=True)
class _Hashed:
    """Rows of a batch with their hashes."""

    frame: pl.DataFrame
    hashes: NDArray[np.uint64]
    offsets: NDArray[np.uint64]

    def give(self, candidates: Candidates, places: NDArray[np.int64]) -> None:
        candidates.add(self.frame[places], self.hashes[places], self.offsets[places])


def _hashed(batch: Batch, asked: _Asked) -> _Hashed:
    frame = batch.frame
    offsets = np.arange(batch.offset, batch.offset + frame.height, dtype=np.uint64)
    if asked.only_whole:
        whole = frame.select(
            pl.all_horizontal(named(name).is_not_null() for name in asked.form.names)
        ).to_series()
        if not whole.all():
            frame, offsets = frame.filter(whole), offsets[whole.to_numpy()]
    return _Hashed(frame, row_hashes(frame, asked.form), offsets)
