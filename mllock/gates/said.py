"""What two splits share, said as results of gates: verdict, sentence, rows with their keys.

Positions and keys are told, and no other value of a row. Raises DataError for two splits whose
times cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mllock.errors import DataError
from mllock.gates.pairs import Pair, Role, common, nearly_common
from mllock.gates.terms import Terms, quoted
from mllock.gates.times import Times, TimesWatcher, not_after
from mllock.gates.types import MAX_BROKEN, Result, Row
from mllock.spec.sources import here
from mllock.spec.types import LeakageGate

if TYPE_CHECKING:
    from mllock.gates.shared import Match, Question, Shared

__all__ = ["Said"]


@dataclass(frozen=True, slots=True)
class Said:
    """Answers as results."""

    terms: Terms
    gate: LeakageGate
    keys: Mapping[str, Sequence[str]]

    def of(
        self, kind: str, pair: Pair, answer: Shared | None, question: Question | None
    ) -> Iterator[Result]:
        if kind == "rows":
            yield self.rows(pair, answer, question)
        elif kind == "normalised":
            yield self.normalised(pair, answer, question)
        else:
            yield from self.named("key" if kind == "key" else "group", pair, answer)

    def rows(self, pair: Pair, answer: Shared | None, question: Question | None) -> Result:
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

    def normalised(self, pair: Pair, answer: Shared | None, question: Question | None) -> Result:
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

    def named(self, role: Role, pair: Pair, answer: Shared | None) -> Iterator[Result]:
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
            else f"{_counted(answer.other, 'row')} of {later} {_has(answer.other)} a {role} "
            f"({quoted(other)}) that {earlier} has but for case and spaces: whether it is the same "
            "cannot be told"
            if answer.other
            else f"no {role} of {later} is in {earlier}",
            holds=False if answer.exact else None if answer.other else True,
            measured=answer.exact / answer.rows,
            limit=0.0,
            rows=answer.exact,
            broken=self._broken(pair, answer.exact_matches or answer.other_matches),
            details={"but-for-case": answer.other} if answer.other else None,
        )

    def time(self, pair: Pair, earlier: Times, later: TimesWatcher) -> Result:
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

    def _nothing_in_common(self, gate: str, pair: Pair) -> Result:
        kinds = {table.kind for table in pair.tables}
        if "files" in kinds and len(kinds) > 1:
            why = "one is a table and the other is not"
        else:
            roles = common(pair, self.gate)
            but = f" but {quoted(roles)}, which is not what a row is known by" if roles else ""
            why = f"they have no column in common{but}"
            if near := nearly_common(pair):
                one, other = (f'"{n}" of {t.name}' for n, t in zip(near, pair.tables, strict=True))
                why += f"; is {one} meant to be {other}?"
        summary = f"{pair.earlier.name} and {pair.later.name} cannot be compared: {why}"
        return self.terms.result(gate, pair.subject, summary, holds=None)

    def _broken(self, pair: Pair, matches: Sequence[Match]) -> tuple[tuple[Row, ...], ...]:
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


def _details(pair: Pair, answer: Shared, question: Question) -> dict[str, object]:
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
