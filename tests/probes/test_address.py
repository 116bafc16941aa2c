"""Addresses of endpoints."""

from __future__ import annotations

import pytest

from mllock.errors import InputError
from mllock.probes.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("http://h", Address(scheme="http", host="h", port=80), "http://h"),
        ("https://h/", Address(scheme="https", host="h", port=443), "https://h"),
        ("HTTP://H:8080", Address(scheme="http", host="h", port=8080), "http://h:8080"),
        ("https://h:80/a/b/", Address(scheme="https", host="h", port=80, prefix="/a/b"), "https://h:80/a/b"),
        ("http://[::1]:9", Address(scheme="http", host="::1", port=9), "http://[::1]:9"),
    ],
)  # fmt: skip
def test_addresses(text: str, address: Address, shown: str):
    assert parse_address(text) == address
    assert str(address) == shown
    assert parse_address(shown) == address


@pytest.mark.parametrize(
    "text",
    [
        "http:", "http://", "http:host", "ftp://h", "h", "", "http://h:0", "http://h:99999",
        "http://h:x", "http://h?a=b", "http://h#x", "http://h?", "http://h/a b", "http://h\n",
        "http://[::1", "http://h/\u00e9", f"http://{'a' * 70}.example.org",
    ],
)  # fmt: skip
def test_not_an_address(text: str):
    with pytest.raises(InputError) as caught:
        parse_address(text)
    assert str(caught.value) == (
        f"not an address\nexpected: http://HOST:PORT or https://HOST\nfound: {text}"
    )


def test_no_credentials():
    with pytest.raises(InputError) as caught:
        parse_address("https://me:hunter2@h")
    assert str(caught.value) == (
        "a user or password in the address\nhint: leave it out: probes are sent without credentials"
    )
