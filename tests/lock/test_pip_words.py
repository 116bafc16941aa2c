"""Causes that a test cannot bring about with an index on loopback, from what pip wrote of them."""

from __future__ import annotations

import pytest

from mllock.errors import OfflineError, ResolutionError, SurroundingsError
from mllock.lock.pip_words import explain
from mllock.lock.target import Target

TARGET = Target(python="3.11.2", platform="linux/amd64", glibc=(2, 36))
NONE = (
    "ERROR: Could not find a version that satisfies the requirement alpha (from versions: none)\n"
    "ERROR: No matching distribution found for alpha\n"
)


def could_not_fetch(reason: str) -> str:
    return (
        f"Could not fetch URL https://index.example.org/simple/alpha/: {reason} - skipping\n{NONE}"
    )


NETWORK = "the network, the proxy and pip's settings (pip config debug)"
ACCOUNT = "user and password: the variables that the URL of the index names, netrc, or the keyring"


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (
            "connection error: HTTPSConnectionPool(host='index.example.org', port=443): Max "
            'retries exceeded with url: /simple/alpha/ (Caused by NameResolutionError("HTTPS('
            "host='index.example.org', port=443): Failed to resolve 'index.example.org' "
            '([Errno -3] Temporary failure in name resolution)"))',
            "temporary failure in name resolution",
        ),
        (
            "There was a problem confirming the ssl certificate: HTTPSConnectionPool(...): (Caused "
            "by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate "
            "verify failed: self-signed certificate (_ssl.c:1006)')))",
            "certificate verify failed: self-signed certificate",
        ),
        (
            "403 Client Error: Forbidden for url: https://index.example.org/simple/alpha/",
            "403 client error: forbidden",
        ),
        ("something https://me:secret@example.org/ new", "something  new"),
    ],
)
def test_the_index_cannot_be_read(reason: str, cause: str) -> None:
    error = explain(could_not_fetch(reason), TARGET)
    assert isinstance(error, OfflineError)
    assert str(error) == (
        "the package index cannot be read: index.example.org\n"
        f"found: {cause.strip()}\n"
        f"hint: check {ACCOUNT if cause.startswith('403') else NETWORK}"
    )


def test_a_404_is_an_answer() -> None:
    reason = "404 Client Error: Not Found for url: https://index.example.org/simple/alpha/"
    error = explain(could_not_fetch(reason), TARGET)
    assert isinstance(error, ResolutionError)
    assert error.message == "no package 'alpha' in the index"


def test_a_full_disk() -> None:
    text = (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    )
    error = explain(text, TARGET)
    assert isinstance(error, SurroundingsError)
    assert error.message == "cannot write: no space left on device while downloading wheels"


@pytest.mark.parametrize("text", ["", "ERROR: something new\n", "Traceback\nBoom: something new\n"])
def test_words_that_are_not_known(text: str) -> None:
    error = explain(text, TARGET)
    assert isinstance(error, ResolutionError)
    assert error.message == "pip could not resolve the dependencies"
    assert (error.found is None) == (text == "")
    assert error.hint == 'see all that it says with "mllock -v lock"'


def test_credentials_in_an_index_are_not_shown() -> None:
    text = (
        "Could not fetch URL https://me:secret@index.example.org/simple/alpha/: "
        "500 Server Error: Oh for url: https://me:secret@index.example.org/ - skipping\n" + NONE
    )
    assert "secret" not in str(explain(text, TARGET))


def test_platform_tags_are_those_of_pep_600() -> None:
    tags = TARGET.platform_tags
    assert tags[0] == "manylinux_2_36_x86_64"
    assert tags[-1] == "linux_x86_64"
    assert tags.index("manylinux2014_x86_64") == tags.index("manylinux_2_17_x86_64") + 1
    arm = Target(python="3.11.2", platform="linux/arm64", glibc=(2, 36)).platform_tags
    assert arm[-3:] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64")
