"""Test results: what was judged about a model, as an in-toto predicate that other tools read.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md, v0.1. The subject
is the model; `configuration` names by digest everything that was judged and judged by, among it the
record and the document with the details. Three kinds of one form: an evaluation that ran, the
gates of the data, the gates of the model. Law: reading gives back what was made. Specified in
docs/reference/gates.md. Values only; raises RunError.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mllock.attest.statement import DigestSet, Strict, digest_set, make_statement, read_statement
from mllock.core.digest import Digest
from mllock.errors import RunError

__all__ = ["TEST_RESULT_TYPE", "Outcome", "TestResult", "make_test_result", "read_test_result"]

TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
MODEL = "model.manifest"

NonEmpty = Annotated[str, Meta(min_length=1)]
Outcome = Literal["PASSED", "WARNED", "FAILED"]


class _Resource(Strict, frozen=True, kw_only=True):
    name: NonEmpty
    digest: DigestSet


class _Predicate(Strict, frozen=True, kw_only=True):
    result: Outcome
    configuration: Annotated[tuple[_Resource, ...], Meta(min_length=1)]
    passed_tests: tuple[NonEmpty, ...]
    warned_tests: tuple[NonEmpty, ...]
    failed_tests: tuple[NonEmpty, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TestResult:
    """`model` is a tree digest; `configuration` digests by name, sorted; the tests are names, each
    in one list and once."""

    __test__ = False  # not a test of pytest's

    model: Digest
    configuration: Mapping[str, Digest]
    passed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def result(self) -> Outcome:
        return "FAILED" if self.failed else "WARNED" if self.warned else "PASSED"


def make_test_result(value: TestResult) -> bytes:
    """The payload to sign. Raises RunError for what would not read."""
    predicate = {
        "result": value.result,
        "configuration": [
            {"name": name, "digest": digest_set(digest)}
            for name, digest in sorted(value.configuration.items())
        ],
        "passedTests": sorted(value.passed),
        "warnedTests": sorted(value.warned),
        "failedTests": sorted(value.failed),
    }
    payload = make_statement(TEST_RESULT_TYPE, {MODEL: value.model}, predicate)
    read_test_result(payload)
    return payload


def read_test_result(payload: bytes, *, name: str = "test result") -> TestResult:
    """Read strictly. Only verified bytes prove anything."""
    statement = read_statement(payload, TEST_RESULT_TYPE, name=name)
    try:
        raw = msgspec.convert(statement.predicate, _Predicate)
    except msgspec.ValidationError as error:
        raise RunError(f"not a test result: {error}", file=name, key="predicate") from None
    if list(statement.subjects) != [MODEL]:
        raise RunError(
            "a test result about something else", file=name, key="subject", expected=MODEL
        )
    _ascending([resource.name for resource in raw.configuration], name, "configuration")
    value = TestResult(
        model=statement.subjects[MODEL],
        configuration={r.name: r.digest.digest for r in raw.configuration},
        passed=raw.passed_tests,
        warned=raw.warned_tests,
        failed=raw.failed_tests,
    )
    for key, tests in (
        ("passedTests", value.passed),
        ("warnedTests", value.warned),
        ("failedTests", value.failed),
    ):
        _ascending(tests, name, key)
    every = [*value.passed, *value.warned, *value.failed]
    if len(set(every)) != len(every):
        raise RunError("a test has two results", file=name, key="predicate")
    if raw.result != value.result:
        raise RunError(
            "the result is not that of its tests",
            file=name,
            key="predicate.result",
            expected=value.result,
            found=raw.result,
        )
    return value


def _ascending(names: Sequence[str], name: str, key: str) -> None:
    if any(left >= right for left, right in itertools.pairwise(names)):
        raise RunError("not in order, or one is there twice", file=name, key=f"predicate.{key}")
