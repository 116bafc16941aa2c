"""What a release says of gates: a golden with mutated twins; one without reads as before."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mllock.attest.release import (
    Accepted,
    Release,
    ReleasedGates,
    make_release,
    read_release,
)
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import RunError

GOLDEN = Path(__file__).parent / "golden"
DATA = ReleasedGates(
    kind="data",
    statement=sha256_of(b"data"),
    result="WARNED",
    passed=12,
    warned=3,
    accepted=(
        Accepted(gate="drift", until=dt.date(2027, 1, 1), reason="a small test set"),
        Accepted(gate="leakage.rows", until=dt.date(2026, 12, 31), reason="known"),
    ),
)
MODEL = ReleasedGates(kind="model", statement=sha256_of(b"model"), result="PASSED", passed=4)


def plain() -> Release:
    return read_release((GOLDEN / "release.json").read_bytes())


def test_the_vector(golden: Any) -> None:
    release = replace(plain(), gates=(DATA, MODEL))
    golden(GOLDEN / "release-gates.json", make_release(release))
    assert read_release((GOLDEN / "release-gates.json").read_bytes()) == release
    turned = replace(DATA, accepted=tuple(reversed(DATA.accepted)))
    assert make_release(replace(release, gates=(MODEL, turned))) == make_release(release)


def test_without_gates_as_before() -> None:
    assert plain().gates == ()
    assert make_release(plain()) == (GOLDEN / "release.json").read_bytes()
    assert b"gates" not in make_release(plain())


def gates(place: int = 0, **changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["predicate"]["gates"][place].update(changes)


TWINS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a better result": (
        gates(result="PASSED"),
        "predicate.gates: data: the result is not that of its counts\n"
        "expected: WARNED\nfound: PASSED",
    ),
    "a failure": (
        gates(1, failed=1),
        "predicate.gates: model: the result is not that of its counts\n"
        "expected: FAILED\nfound: PASSED",
    ),
    "an exception for nothing": (
        gates(1, accepted=[{"gate": "drift", "until": "2027-01-01", "reason": "x"}]),
        "predicate.gates: model: the result is not that of its counts\n"
        "expected: PASSED\nfound: PASSED",
    ),
    "another statement": (
        gates(statement=sha256_of(b"another")),
        "subject: the subjects are not those of the predicate",
    ),
    "no gates": (
        lambda value: value["predicate"].pop("gates"),
        "subject: the subjects are not those of the predicate",
    ),
    "gates without any": (
        lambda value: value["predicate"].update(gates=[]),
        "predicate: not a release: Expected `array` of length >= 1 - at `$.gates`",
    ),
    "out of order": (
        lambda value: value["predicate"]["gates"].reverse(),
        "predicate.gates: not in order, or one is there twice",
    ),
    "exceptions out of order": (
        lambda value: value["predicate"]["gates"][0]["accepted"].reverse(),
        "predicate.gates: data: accepted: not in order, or one is there twice",
    ),
    "no day": (
        lambda value: value["predicate"]["gates"][0]["accepted"][0].update(until="2027-02-30"),
        "predicate.gates: not a day\nfound: 2027-02-30",
    ),
    "another kind": (
        gates(kind="serve"),
        "predicate: not a release: Invalid enum value 'serve' - at `$.gates[0].kind`",
    ),
}


@pytest.mark.parametrize("twin", TWINS)
def test_mutated_twins(twin: str) -> None:
    change, message = TWINS[twin]
    value = json.loads((GOLDEN / "release-gates.json").read_bytes())
    change(value)
    with pytest.raises(RunError) as caught:
        read_release(canonical.dumps(value), name="x")
    assert str(caught.value) == f"x: {message}"
