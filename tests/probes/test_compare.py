"""What is alike, and what is not and where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllock.core import canonical
from mllock.probes.compare import Mismatch, mismatches
from mllock.probes.types import EXACT, Alike, Answer, Exchange, Probe, Tolerance

JSON = "application/json"


def exchange(body: bytes, alike: Alike = EXACT, *, kind: str = JSON, status: int = 200) -> Exchange:
    return Exchange(
        probe=Probe(line=1, method="POST", path="/", alike=alike),
        answer=Answer(status=status, type=kind, body=body),
    )


def answer(body: bytes, *, kind: str = JSON, status: int = 200, **more: Any) -> Answer:
    return Answer(status=status, type=kind, body=body, **more)


def values(expected: Any, found: Any, alike: Alike = EXACT) -> list[tuple[str, str, str]]:
    got = mismatches(
        exchange(json.dumps(expected).encode(), alike), answer(json.dumps(found).encode())
    )
    return [(m.place, m.expected, m.found) for m in got]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"a": 1, "b": [1, "x", None]}, {"b": [1.0, "x", None], "a": 1}),
        (0.1 + 0.2, 0.30000000000000004),
        ([], []),
    ],
)
def test_alike(expected: Any, found: Any):
    assert values(expected, found) == []


@pytest.mark.parametrize(
    ("expected", "found", "differences"),
    [
        (1, 2, [("body", "1", "2")]),
        (1, True, [("body", "1", "true")]),
        (0, False, [("body", "0", "false")]),
        (0, None, [("body", "0", "null")]),
        ("1", 1, [("body", '"1"', "1")]),
        ({}, [], [("body", "an object", "an array")]),
        ({"a": {"b/c": 1}}, {"a": {"b/c": 2}}, [("/a/b~1c", "1", "2")]),
        ({"a": 1}, {}, [("/a", "1", "nothing")]),
        ({}, {"a": None}, [("/a", "nothing", "null")]),
        ([1], [1, 2], [("/1", "nothing", "2")]),
        ([1, 2], [1], [("/1", "2", "nothing")]),
        ([1, 2, 3], [1, 0, 0], [("/1", "2", "0"), ("/2", "3", "0")]),
        ("x" * 100, "y", [("body", '"' + "x" * 76 + "...", '"y"')]),
        (1.0, 1.0000000000000002, [("body", "1.0", "1.0000000000000002")]),
    ],
)
def test_differing(expected: Any, found: Any, differences: list[tuple[str, str, str]]):
    assert values(expected, found) == differences


LOOSE = Alike(
    tolerance={
        ("p",): Tolerance(absolute=0.5),
        ("p", "exact"): Tolerance(),
        ("r",): Tolerance(relative=0.01, absolute=0.001),
    },
    ignore=(("t",), ("p", "id")),
)


@pytest.mark.parametrize(
    ("expected", "found", "places"),
    [
        ({"p": 1}, {"p": 1.5}, []),
        ({"p": 1}, {"p": 1.51}, ["/p"]),
        ({"p": [1, {"x": 2}]}, {"p": [1.4, {"x": 1.6}]}, []),
        ({"p": {"exact": 1}}, {"p": {"exact": 1.1}}, ["/p/exact"]),
        ({"q": 1}, {"q": 1.1}, ["/q"]),
        ({"r": 100}, {"r": 101}, []),
        ({"r": 100}, {"r": 101.1}, ["/r"]),
        # The larger of the two, not their sum.
        ({"r": 100}, {"r": 101.0005}, ["/r"]),
        ({"r": -100}, {"r": -101}, []),
        ({"r": 0}, {"r": 0.001}, []),
        ({"r": 0}, {"r": 0.002}, ["/r"]),
        ({"t": 1}, {"t": "other"}, []),
        ({"t": 1}, {}, []),
        ({}, {"t": 1}, []),
        ({"p": {"id": "a"}}, {"p": {"id": "b"}}, []),
        # A tolerance is for numbers.
        ({"p": "1"}, {"p": "2"}, ["/p"]),
        ({"p": 1}, {"p": True}, ["/p"]),
        ({"p": 1e308}, {"p": -1e308}, ["/p"]),
    ],
)
def test_tolerance(expected: Any, found: Any, places: list[str]):
    assert [place for place, _, _ in values(expected, found, LOOSE)] == places


def test_tolerance_of_everything():
    assert (
        values([1, {"a": 2}], [1.1, {"a": 1.9}], Alike(tolerance={(): Tolerance(absolute=0.2)}))
        == []
    )


def test_the_status_decides_first():
    found = answer(b"<html>", kind="text/html", status=307, location="https://other/")
    assert mismatches(exchange(b"1"), found) == (
        Mismatch(place="status", expected="200", found="307 (to https://other/)"),
    )


def test_then_the_media_type_and_the_coding():
    assert mismatches(exchange(b"1"), answer(b"1", kind="text/html")) == (
        Mismatch(place="type", expected=JSON, found="text/html"),
    )
    assert mismatches(exchange(b"1"), answer(b"1", kind="")) == (
        Mismatch(place="type", expected=JSON, found="no content-type"),
    )
    assert mismatches(exchange(b"1"), answer(b"1", encoding="gzip")) == (
        Mismatch(place="type", expected=JSON, found=f"{JSON}, encoded as gzip"),
    )


def test_a_body_that_does_not_end():
    assert mismatches(exchange(b"1"), answer(b"11", cut=True)) == (
        Mismatch(place="body", expected="1 bytes", found="more than 2 bytes"),
    )


def test_what_is_not_json_is_compared_byte_by_byte():
    text = exchange(b"1.0", kind="text/plain")
    assert mismatches(text, answer(b"1.0", kind="text/plain")) == ()
    assert mismatches(text, answer(b"1.00", kind="text/plain")) == (
        Mismatch(place="body", expected='"" at byte 3 of 3', found='"0" at byte 3 of 4'),
    )
    # Not strict JSON: a duplicate key may hide what one reader sees and another does not.
    assert mismatches(exchange(b'{"a":1}'), answer(b'{"a":2,"a":1}')) == (
        Mismatch(
            place="body", expected='"1}" at byte 5 of 7', found='"2,\\"a\\":1}" at byte 5 of 13'
        ),
    )
    nan = exchange(b'{"a":NaN}')
    assert mismatches(nan, answer(b'{"a":NaN}')) == ()
    assert mismatches(nan, answer(b'{"a": NaN}')) != ()


def test_deep_nesting_is_compared():
    deep = b"[" * 900 + b"1" + b"]" * 900
    other = deep.replace(b"1", b"2")
    assert mismatches(exchange(deep), answer(deep)) == ()
    (found,) = mismatches(exchange(deep), answer(other))
    assert (found.place, found.expected, found.found) == ("/0" * 900, "1", "2")


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
)


@given(JSON_VALUES)
def test_nothing_differs_from_itself(value: Any):
    body = canonical.dumps(value)
    assert mismatches(exchange(body), answer(body)) == ()


@given(JSON_VALUES, JSON_VALUES)
def test_exact_means_equal(one: Any, other: Any):
    """Against the canonical form, in which equal values, and no others, are equal bytes."""
    first, second = canonical.dumps(one), canonical.dumps(other)
    assert (mismatches(exchange(first), answer(second)) == ()) == (first == second)
