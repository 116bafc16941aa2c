"""What a vulnerability service may answer: never a silent "nothing is known"."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.osv import Osv, record
from support.typed import Typed

from mllock.audit.python import MAX_ANSWER

ASKING = "asking about 2 Python packages\n"
FORM = (
    "the vulnerability service HOST answered with something that is not OSV's form"
    " (asked about other 2.0+cpu)\n"
    "hint: does MLLOCK_OSV_URL name its query URL (.../v1/query)?\n"
)
SILENT = (
    "the vulnerability service HOST does not answer: {} (asked about other 2.0+cpu)\n"
    "hint: try again, or name another service with MLLOCK_OSV_URL\n"
)


LATER = record("other", "GHSA-a", schema_version="2.0.0")
# Whoever reads any value as "withdrawn" hides an entry.
ODD = record("other", "GHSA-a", withdrawn=False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: (200, b"<html>"), FORM),
        (lambda: (200, b'{"vulns": [{"affected": 1}]}'), FORM),
        (lambda: (200, b'{"vulns": 7}'), FORM),
        (lambda: (200, b"[1, 2]"), FORM),
        (lambda: (200, b'{"other": []}'), FORM),
        (lambda: (200, b"null"), FORM),
        (lambda: (200, b"[]"), FORM),
        (lambda: (200, b""), FORM),
        (lambda: (200, b"0"), FORM),
        (lambda: (200, b'{"vulns": null}'), FORM),
        (lambda: (200, b"[" * 200_000), FORM),
        (lambda: (200, b'{"vulns": [{"id": "A", "x": ' + b"[" * 200_000), FORM),
        (lambda: (200, json.dumps({"vulns": [ODD]}).encode()), FORM),
        (lambda: (200, b" " * (MAX_ANSWER + 1)), FORM),
        (lambda: (200, json.dumps({"vulns": [LATER]}).encode()), FORM),
        (lambda: (500, b"{}"), SILENT.format("status 500")),
        (lambda: (404, b"{}"), SILENT.format("status 404")),
        (lambda: (302, b"{}"), SILENT.format("status 302")),
        (lambda: (204, b""), SILENT.format("status 204")),
    ],
)  # fmt: skip
def test_a_service_that_does_not_answer_leaves_the_question_open(
    typed: Typed, service: Osv, answer: Callable[[], tuple[int, bytes]], said: str
) -> None:
    service.answer = answer
    code, out, err = typed("audit", "--only", "python")
    host = service.url.split("/")[2]
    assert (code, out) == (4, "")
    assert err == (
        f"{ASKING}warning: 2 Python packages not looked at: {said}".replace("HOST", host)
    )


@pytest.mark.parametrize("slow", ["silent", "drip"])
def test_a_service_that_keeps_one_waiting(
    typed: Typed, service: Osv, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    monkeypatch.setattr("mllock.audit.python._SECONDS", 0.3)
    service.slow = slow
    code, out, err = typed("audit", "--only", "python")
    host = service.url.split("/")[2]
    assert (code, out) == (4, "")
    said = SILENT.format("timed out").replace("HOST", host)
    assert err == f"{ASKING}warning: 2 Python packages not looked at: {said}"


def test_an_entry_that_does_not_say_what_is_affected_is_known(typed: Typed, service: Osv) -> None:
    """OSV's form does not ask for it. It was the answer to a question about this version."""
    silent = record("tiny-lib", "GHSA-a")
    del silent["affected"]
    repository = {"ranges": [{"type": "GIT", "events": []}]}
    more = record("tiny-lib", "GHSA-b", "1.1")
    more["affected"].insert(0, repository)
    service.known["tiny-lib", "1.0"] = [silent, more, record("tiny-lib", "GHSA-c", affected=None)]
    code, out, err = typed("audit", "--only", "python")
    assert (code, out) == (
        1,
        "tiny-lib 1.0: GHSA-a: no fixed version\n  tiny-lib is broken\n"
        "tiny-lib 1.0: GHSA-b: fixed in 1.1\n  tiny-lib is broken\n"
        "tiny-lib 1.0: GHSA-c: no fixed version\n  tiny-lib is broken\n",
    )
    assert err.startswith(f"{ASKING}3 known vulnerabilities in 1 package; ")


def test_urls_that_are_none(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLLOCK_DEBIAN_TRACKER", "http://[::1")
    monkeypatch.setenv("MLLOCK_OSV_URL", "http://[::1")
    assert typed("audit") == (
        4,
        "",
        f"{ASKING}reading Debian's security data\n"
        "warning: 2 Python packages not looked at: MLLOCK_OSV_URL: not the URL of a service that"
        " can be asked\nhint: leave them out with --only debian\n"
        "warning: 1 Debian package not looked at: cannot fetch ?: ?: not a URL that can be asked\n"
        "hint: check the network, the proxy and the mirror, then run the same command again\n",
    )
