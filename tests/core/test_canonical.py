"""Canonical JSON: one form out, nothing ambiguous in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mllock.core import canonical
from mllock.core.digest import from_hex, hex_of, is_digest, parse_digest, sha256_of

MAX = 2**53 - 1
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX, MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
@example(1e20)
@example(1e21)
@example(-0.0)
@example(5e-324)
@example({"\U0001f600": 1, "\ufb33": 2})
def test_loads_is_the_inverse_of_dumps(value: Any) -> None:
    data = canonical.dumps(value)
    assert canonical.loads(data) == value
    assert canonical.dumps(canonical.loads(data)) == data


@given(JSON)
def test_the_form_does_not_depend_on_order_or_spaces(value: Any) -> None:
    loose = json.dumps(value, indent=3, ensure_ascii=True).encode()
    assert canonical.dumps(canonical.loads(loose)) == canonical.dumps(value)


# RFC 8785, 3.2.2 and 3.2.3
def test_the_example_of_the_rfc() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert (
        canonical.dumps(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


@pytest.mark.parametrize(
    "value",
    [2**53, -(2**53), float("nan"), float("inf"), "\ud800", {"\udfff": 1}, {1: 2}, b"", {1, 2}],
)
def test_what_json_does_not_have(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical.dumps(value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1,"a":1}', "duplicate key 'a'"),
        (b"NaN", "NaN is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e400", "1e400 is too large"),
        (b"9007199254740993", "9007199254740993 is not exact in a double"),
        (b"1" * 500, f"{'1' * 40} is too large"),
        (b"1" * 50, f"{'1' * 40} is not exact in a double"),
        (b'"\\ud800"', "lone surrogate in a string"),
        (b'{"\\udc00":1}', "lone surrogate in a string"),
        (b'"\\ude00\\ud83d"', "lone surrogate in a string"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
        (b"[" * 100_000, "JSON is nested too deeply"),
        (b'{"a":' * 100_000, "JSON is nested too deeply"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        canonical.loads(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("data", [b"", b"1 2", b"\xef\xbb\xbf1", b"{'a':1}", b"01", b"[1,]", b"\0"])
def test_not_json(data: bytes) -> None:
    with pytest.raises(ValueError):
        canonical.loads(data)


@given(st.binary(max_size=40))
def test_anything_is_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = canonical.loads(data)
    except ValueError:
        return
    assert canonical.loads(canonical.dumps(value)) == value


def test_nesting_of_what_is_written() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError) as caught:
        canonical.dumps(value)
    assert str(caught.value) == "JSON is nested too deeply"
    # The interpreter frees nested lists without recursion, but only if nothing looks at them.
    while value:
        value = value[0]


def test_too_much() -> None:
    with pytest.raises(ValueError) as caught:
        canonical.loads(b"[1,2]", max_bytes=4)
    assert str(caught.value) == "5 bytes of JSON, at most 4 are read"


def test_pairs_of_surrogates_are_characters() -> None:
    assert canonical.loads(b'"\\ud83d\\ude00 \\\\ud800"') == "\U0001f600 \\ud800"


@given(st.binary())
def test_digests(data: bytes) -> None:
    digest = sha256_of(data)
    assert is_digest(digest)
    assert parse_digest(digest) == digest
    assert from_hex(hex_of(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "a" * 64,
        f"sha256:{'A' * 64}",
        f"sha256:{'a' * 63}",
        f"sha256:{'a' * 65}",
        f"sha512:{'a' * 64}",
        f"sha256:{'a' * 64}\n",
        f"sha256:{chr(0x661) * 64}",
    ],
)
def test_not_digests(text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(ValueError):
        parse_digest(text)
    with pytest.raises(ValueError):
        from_hex(text.removeprefix("sha256:") + "x")
