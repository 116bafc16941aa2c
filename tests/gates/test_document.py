"""Judgements as bytes: a golden with mutated twins, laws, strict reading."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judged import JUDGEMENT, RESULTS
from support.mutate import mutate_json

from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import RunError
from mllock.gates.document import read_judgement, write_judgement
from mllock.gates.types import Judgement, Result, Row, judge
from mllock.spec.types import Accepted

GOLDEN = Path(__file__).parent / "golden" / "data-gates.json"


def test_the_golden(golden: Any) -> None:
    golden(GOLDEN, write_judgement(JUDGEMENT))
    assert read_judgement(GOLDEN.read_bytes()) == JUDGEMENT
    assert JUDGEMENT.blocks
    assert JUDGEMENT.warns


text = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
numbers = st.floats(allow_nan=False, allow_infinity=False)
rows = st.builds(
    Row,
    source=text,
    file=st.just("") | text,
    row=st.integers(1, 2**53 - 1),
    key=st.dictionaries(text, st.text(st.characters(exclude_categories=("Cs",))), max_size=2),
)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
results = st.builds(
    Result,
    gate=text,
    subject=text,
    verdict=st.sampled_from(("passed", "warned", "failed", "accepted", "not judged")),
    severity=st.sampled_from(("block", "warn")),
    summary=text,
    measured=st.none() | numbers,
    limit=st.none() | numbers,
    rows=st.integers(0, 2**53 - 1),
    broken=st.lists(st.lists(rows, max_size=2).map(tuple), max_size=2).map(tuple),
    details=st.dictionaries(text, values, max_size=3),
    accepted=st.none() | st.builds(Accepted, gate=text, until=st.dates(), reason=text),
)


@given(
    st.builds(
        Judgement,
        kind=st.sampled_from(("data", "model")),
        config=st.binary(max_size=4).map(sha256_of),
        inputs=st.dictionaries(text, st.binary(max_size=4).map(sha256_of), max_size=3),
        day=st.dates(),
        results=st.lists(results, max_size=3).map(tuple),
    )
)
def test_reading_gives_back_what_was_written(judgement: Judgement) -> None:
    data = write_judgement(judgement)
    assert read_judgement(data) == judgement
    assert canonical.dumps(canonical.loads(data)) == data


def test_a_damage_is_seen_or_another_judgement() -> None:
    """No two documents read as one: what was changed is refused, or says something else."""
    value = json.loads(GOLDEN.read_bytes())
    dice = random.Random(7)
    read = 0
    for _ in range(300):
        damaged = mutate_json(value, dice.choice(("flip", "drop", "swap", "duplicate")), dice)
        try:
            found = read_judgement(canonical.dumps(damaged))
        except RunError:
            continue
        read += 1
        assert found != JUDGEMENT
    assert read > 0


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(GOLDEN.read_bytes())
    change(value)
    return canonical.dumps(value)


TWINS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a version to come": (
        lambda value: value.update(v=2),
        "Invalid enum value 2 - at `$.v`",
    ),
    "a field that nobody knows": (
        lambda value: value["results"][0].update(row=1),
        "Object contains unknown field `row` - at `$.results[0]`",
    ),
    "a verdict that is none": (
        lambda value: value["results"][0].update(verdict="ok"),
        "Invalid enum value 'ok' - at `$.results[0].verdict`",
    ),
    "a whole row": (
        lambda value: value["results"][0]["broken"][0][0].update(values=["a"]),
        "Object contains unknown field `values` - at `$.results[0].broken[0][0]`",
    ),
    "a row before the first": (
        lambda value: value["results"][0]["broken"][0][0].update(row=0),
        "Expected `int` >= 1 - at `$.results[0].broken[0][0].row`",
    ),
    "a kind to come": (
        lambda value: value.update(kind="serve"),
        "Invalid enum value 'serve' - at `$.kind`",
    ),
    "an exception without an end": (
        lambda value: value["results"][1]["accepted"].pop("until"),
        "Object missing required field `until` - at `$.results[1].accepted`",
    ),
    "no day": (
        lambda value: value.update(day="2026-11-31"),
        "Invalid RFC3339 encoded date - at `$.day`",
    ),
    "no digest": (
        lambda value: value.update(config="sha256:0"),
        "Expected `str` matching regex '^sha256:[0-9a-f]{64}\\\\Z' - at `$.config`",
    ),
}


@pytest.mark.parametrize("twin", TWINS)
def test_mutated_twins(twin: str) -> None:
    change, message = TWINS[twin]
    with pytest.raises(RunError) as caught:
        read_judgement(changed(change), name="data-gates.json")
    assert str(caught.value) == f"data-gates.json: not results of gates: {message}"


def test_only_canonical_bytes() -> None:
    with pytest.raises(RunError) as caught:
        read_judgement(GOLDEN.read_bytes() + b"\n", name="data-gates.json")
    assert str(caught.value) == (
        "data-gates.json: not results of gates: not in canonical form (RFC 8785)"
    )


def test_no_number_is_not_written() -> None:
    judgement = replace(JUDGEMENT, results=(replace(RESULTS[0], measured=float("nan")),))
    with pytest.raises(RunError) as caught:
        write_judgement(judgement)
    assert (
        str(caught.value)
        == "the results of the gates cannot be written: nan is not representable in JCS"
    )


def test_an_exception_holds_through_its_last_day() -> None:
    last = dt.date(2027, 1, 1)
    accept = (Accepted(gate="leakage", until=last, reason="known"),)
    assert judge("leakage.rows", "block", accept, last) == ("accepted", accept[0])
    after = last + dt.timedelta(days=1)
    assert judge("leakage.rows", "block", accept, after) == ("failed", None)
    assert judge("leakage.rows", "warn", accept, after) == ("warned", None)
    assert judge("leakages", "warn", accept, last) == ("warned", None)
