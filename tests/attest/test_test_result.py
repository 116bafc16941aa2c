"""Test results: a golden vector with mutated twins, laws, strict reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.attest.test_result import TestResult, make_test_result, read_test_result
from mllock.core import canonical
from mllock.core.digest import sha256_of
from mllock.errors import RunError

GOLDEN = Path(__file__).parent / "golden"
RESULT = TestResult(
    model=sha256_of(b"model.manifest"),
    configuration={
        "config": sha256_of(b"config"),
        "data/test": sha256_of(b"test"),
        "record": sha256_of(b"record"),
        "results": sha256_of(b"results"),
    },
    passed=("metrics: test: accuracy >= 0.9", "metrics: test: recall >= 0.8"),
    warned=("slices: test: recall by sex",),
    failed=("no-worse-than: test: accuracy",),
)


def test_the_vector(golden: Any) -> None:
    golden(GOLDEN / "test-result.json", make_test_result(RESULT))
    assert read_test_result((GOLDEN / "test-result.json").read_bytes()) == RESULT


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)


@given(
    st.binary(max_size=4),
    st.dictionaries(names, st.binary(max_size=4).map(sha256_of), min_size=1, max_size=4),
    st.dictionaries(names, st.sampled_from(("passed", "warned", "failed")), max_size=6),
)
def test_reading_gives_back_what_was_made(
    model: bytes, configuration: dict[str, Any], tests: dict[str, str]
) -> None:
    lists = {
        outcome: tuple(sorted(name for name, found in tests.items() if found == outcome))
        for outcome in ("passed", "warned", "failed")
    }
    value = TestResult(model=sha256_of(model), configuration=configuration, **lists)
    assert read_test_result(make_test_result(value)) == value
    worst = max(tests.values(), key=("passed", "warned", "failed").index, default="passed")
    assert value.result == worst.upper()


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads((GOLDEN / "test-result.json").read_bytes())
    change(value)
    return canonical.dumps(value)


def predicate(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda value: value["predicate"].update(changes)


TWINS = {
    "a better result": (
        predicate(result="PASSED"),
        "golden: predicate.result: the result is not that of its tests\n"
        "expected: FAILED\nfound: PASSED",
    ),
    "a failure taken away": (
        predicate(failedTests=[]),
        "golden: predicate.result: the result is not that of its tests\n"
        "expected: WARNED\nfound: FAILED",
    ),
    "in two lists": (
        predicate(passedTests=["no-worse-than: test: accuracy"]),
        "golden: predicate: a test has two results",
    ),
    "out of order": (
        predicate(passedTests=["b", "a"]),
        "golden: predicate.passedTests: not in order, or one is there twice",
    ),
    "twice": (
        predicate(warnedTests=["a", "a"]),
        "golden: predicate.warnedTests: not in order, or one is there twice",
    ),
    "configuration out of order": (
        lambda value: value["predicate"]["configuration"].reverse(),
        "golden: predicate.configuration: not in order, or one is there twice",
    ),
    "no configuration": (
        predicate(configuration=[]),
        "golden: predicate: not a test result: Expected `array` of length >= 1 - "
        "at `$.configuration`",
    ),
    "a field that nobody knows": (
        predicate(url="https://example.org"),
        "golden: predicate: not a test result: Object contains unknown field `url`",
    ),
    "no result": (
        lambda value: value["predicate"].pop("result"),
        "golden: predicate: not a test result: Object missing required field `result`",
    ),
    "another word": (
        predicate(result="OK"),
        "golden: predicate: not a test result: Invalid enum value 'OK' - at `$.result`",
    ),
    "a digest that is none": (
        lambda value: value["predicate"]["configuration"][0]["digest"].update(sha256="0"),
        "golden: predicate: not a test result: Expected `str` matching regex "
        "'^[0-9a-f]{64}\\\\Z' - at `$.configuration[0].digest.sha256`",
    ),
    "another subject": (
        lambda value: value["subject"][0].update(name="model"),
        "golden: subject: a test result about something else\nexpected: model.manifest",
    ),
    "another type": (
        lambda value: value.update(predicateType="https://example.org/v1"),
        "golden: predicateType: a statement about something else\n"
        "expected: https://in-toto.io/attestation/test-result/v0.1\n"
        "found: https://example.org/v1",
    ),
}


@pytest.mark.parametrize("twin", TWINS)
def test_mutated_twins(twin: str) -> None:
    change, message = TWINS[twin]
    with pytest.raises(RunError) as caught:
        read_test_result(changed(change), name="golden")
    assert str(caught.value) == message


def test_only_canonical_bytes() -> None:
    data = (GOLDEN / "test-result.json").read_bytes()
    with pytest.raises(RunError) as caught:
        read_test_result(data + b"\n", name="golden")
    assert str(caught.value) == (
        "golden: not an in-toto statement: not in canonical form (RFC 8785)"
    )


def test_what_would_not_read_is_not_made() -> None:
    with pytest.raises(RunError) as caught:
        make_test_result(
            TestResult(model=RESULT.model, configuration=RESULT.configuration, passed=("a", "a"))
        )
    assert caught.value.message == "not in order, or one is there twice"
