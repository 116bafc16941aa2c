"""Passwords in what pip and uv say: all spellings, and URLs that no tool reads as was meant."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.bench import Bench, each_bench

from mllock.errors import InputError
from mllock.lock.hiding import hidden

__all__ = ["each_bench"]

PLAIN = "https://index.example.org/simple"
CASES: dict[str, tuple[Mapping[str, str], str, str]] = {
    "as it is, and alone": (
        {"PIP_INDEX_URL": "https://me:hunter2@index.example.org/simple"},
        "at https://me:hunter2@index.example.org/simple: 'hunter2', hunter23",
        f"at {PLAIN}: '***', hunter23",
    ),
    "a token": (
        {"PIP_INDEX_URL": "https://t0ken-of-mine@index.example.org/simple"},
        "https://t0ken-of-mine@index.example.org/simple t0ken-of-mine",
        f"{PLAIN} ***",
    ),
    "a short one in URLs only": (
        {"PIP_INDEX_URL": "https://me:1.0@index.example.org/simple"},
        "https://me:1.0@index.example.org/simple alpha 1.0",
        f"{PLAIN} alpha 1.0",
    ),
    "quoted, read, and quoted by another": (
        {"PIP_INDEX_URL": "https://me:p%40ss%2fw0rd@index.example.org/simple"},
        "https://me:p%40ss%2Fw0rd@index.example.org/simple p@ss/w0rd p%40ss%2fw0rd "
        "https://me:p@ss/w0rd@index.example.org/simple",
        f"{PLAIN} *** *** {PLAIN}",
    ),
    "as a header": (
        {"PIP_INDEX_URL": "https://me:p%40ssw0rd@index.example.org/simple"},
        f"Authorization: Basic {base64.b64encode(b'me:p@ssw0rd').decode()}",
        "Authorization: Basic ***",
    ),
    "an @ that is not quoted": (
        {"PIP_INDEX_URL": "https://me:p@ss@index.example.org/simple"},
        "https://me:p@ss@index.example.org/simple https://me:p%40ss@index.example.org/simple",
        f"{PLAIN} {PLAIN}",
    ),
    "a / that is not quoted": (
        {"PIP_INDEX_URL": "https://me:p/ss@index.example.org/simple"},
        "https://me:p/ss@index.example.org/simple; no port 'p' of me: /ss@index.example.org",
        f"{PLAIN}; no port '***' of me: index.example.org",
    ),
    "a port, as it seems": (
        {"PIP_INDEX_URL": "https://me:12?ss#t@index.example.org/simple"},
        "host=me, port=12 https://me:12?ss#t@index.example.org/simple",
        f"host=me, port=*** {PLAIN}",
    ),
    "an @ of the path": (
        {"PIP_INDEX_URL": "https://me:hunter2@index.example.org/feed@local/simple"},
        "https://me:****@index.example.org/feed@local/simple/alpha",
        "https://index.example.org/feed@local/simple/alpha",
    ),
    "several": (
        {"UV_FIND_LINKS": "https://a:secret1@a.example.org,https://b:se/cret2@b.example.org"},
        "https://a:secret1@a.example.org https://b:se/cret2@b.example.org secret1 cret2",
        "https://a.example.org https://b.example.org *** ***",
    ),
    "a proxy, and one that uv is told apart": (
        {"https_proxy": "http://me:by-proxy@proxy:3128", "UV_INDEX_TEAM_PASSWORD": "by/name"},
        "http://me:by-proxy@proxy:3128 by-proxy by/name by%2Fname",
        "http://proxy:3128 *** *** ***",
    ),
    "a variable that is not for them": (
        {"DATABASE_URL": "postgres://db/x?mail=a@b"},
        "x db a https://index.example.org",
        "x db a https://index.example.org",
    ),
    "of nobody we know": ({}, "http://x:y@z@a/b c@d", "http://a/b c@d"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_it(case: str) -> None:
    given, text, expected = CASES[case]
    assert hidden(text, {}, given) == expected
    assert hidden(expected, given) == expected


def test_netrc(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine a.example.org login me password in-the-file\n")
    (tmp_path / "broken").write_text("machine password\n")
    text = "in-the-file https://me:in-the-file@a.example.org"
    assert hidden(text, {"HOME": str(tmp_path)}) == "*** https://a.example.org"
    found = hidden(text, {"HOME": str(tmp_path), "NETRC": str(tmp_path / "broken")})
    assert found == "in-the-file https://a.example.org"


def test_a_url_that_no_tool_can_read(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0")
    url = each_bench.index.url.replace("://", "://someone:pq/uvw@")
    each_bench.environ["PIP_INDEX_URL"] = url
    said = each_bench.refusal(InputError, "alpha")
    assert said == (
        "the URL of a package index in pip's settings cannot be understood\n"
        'hint: in a password, write %2F for "/", %3F for "?" and %23 for "#" (pip config debug)'
    )
    lines = [line for line in each_bench.reporter.lines if "pip-tmp" not in line]
    assert any("Looking in indexes: " in line for line in lines)
    assert [line for line in lines if "uvw" in line or "'pq'" in line] == []


def test_an_at_sign_in_a_password(each_bench: Bench) -> None:
    each_bench.index.add("alpha", "1.0")
    each_bench.index.login = "someone:hunter2@here"
    url = each_bench.index.url.replace("://", "://someone:hunter2@here@")
    each_bench.environ["PIP_INDEX_URL"] = url
    assert each_bench.versions("alpha") == {"alpha": "1.0"}
    said = [*each_bench.reporter.lines, each_bench.refusal(Exception, "alpha>7")]
    assert [line for line in said if "hunter2" in line or "here@" in line] == []
