"""Fetching: right bytes or a clear error, against a real server that misbehaves."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.reporter import Recorder
from support.webserver import Answer, serving

from mllock.core.digest import sha256_of
from mllock.core.ports import Want
from mllock.errors import IntegrityError, OfflineError
from mllock.store.cache import Cache
from mllock.store.fetch import HttpFetcher
from mllock.store.transport import PermanentError, new_session, next_url

BODY = b"some bytes\n" * 1000
HINT = "check the network, the proxy and the mirror, then run the same command again"


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def cache(tmp_path: Path, recorder: Recorder) -> Cache:
    return Cache(tmp_path / "cache", recorder)


@pytest.fixture
def fetcher(cache: Cache, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> HttpFetcher:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return HttpFetcher(cache, recorder, backoff=0)


def want(urls: Sequence[str], body: bytes = BODY, name: str = "a.deb") -> Want:
    return Want(name=name, urls=tuple(urls), size=len(body), digest=sha256_of(body))


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def temporaries(cache: Cache) -> list[str]:
    return os.listdir(cache.root / "tmp")


def test_read(fetcher: HttpFetcher) -> None:
    with serving({"/a": Answer(body=BODY), "/b": Answer(body=BODY, length=None)}) as server:
        assert fetcher.read(server.url + "/a", max_bytes=len(BODY)) == BODY
        assert fetcher.read(server.url + "/b", max_bytes=len(BODY)) == BODY


def test_bodies_are_read_as_they_were_sent(fetcher: HttpFetcher) -> None:
    packed = gzip.compress(BODY)
    answer = Answer(body=packed, headers={"Content-Encoding": "gzip"})
    with serving({"/a.gz": answer}) as server:
        assert fetcher.read(server.url + "/a.gz", max_bytes=1 << 20) == packed
        assert server.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("length", [-1, None])
def test_read_is_bounded(fetcher: HttpFetcher, length: int | None) -> None:
    with serving({"/a": Answer(body=BODY, length=length)}) as server:
        with pytest.raises(OfflineError) as caught:
            fetcher.read(server.url + "/a", max_bytes=len(BODY) - 1)
        host = server.url.removeprefix("http://")
    assert str(caught.value) == (
        f"cannot fetch a: {host}: answered with more than 10999 bytes\nhint: {HINT}"
    )


@pytest.mark.parametrize("status", [404, 410])
def test_read_of_nothing(fetcher: HttpFetcher, status: int) -> None:
    with serving({"/a": Answer(status=status)}) as server, pytest.raises(FileNotFoundError):
        fetcher.read(server.url + "/a", max_bytes=10)


def test_transient_failures_are_tried_again(fetcher: HttpFetcher) -> None:
    answers = [
        Answer(status=503, headers={"Retry-After": "0"}),
        Answer(hang_up=True),
        Answer(body=BODY[:-1], length=len(BODY)),
        Answer(body=BODY),
    ]
    with serving({"/a": answers}) as server:
        assert fetcher.read(server.url + "/a", max_bytes=len(BODY)) == BODY
        assert server.asked == ["/a"] * 4


@pytest.mark.parametrize(
    ("answer", "times", "reason"),
    [
        (Answer(status=500), 4, "answered 500"),
        (Answer(status=403), 1, "answered 403"),
        (Answer(status=206, body=b"x"), 1, "answered 206"),
        (Answer(hang_up=True), 4, "the connection broke"),
        (Answer(body=b"x", length=9), 4, "the connection broke"),
        (Answer(status=302), 1, "redirects to something that is not http or https"),
        (
            Answer(status=302, headers={"Location": "file:///etc/passwd"}),
            1,
            "redirects to something that is not http or https",
        ),
        (Answer(status=302, headers={"Location": "/a"}), 11, "more than 10 redirects"),
        (
            Answer(status=302, headers={"Location": "http://[::1"}),
            1,
            "redirects to something that is not a URL",
        ),
    ],
)
def test_failures(fetcher: HttpFetcher, answer: Answer, times: int, reason: str) -> None:
    with serving({"/a": answer}) as server:
        with pytest.raises(OfflineError) as caught:
            fetcher.read(server.url + "/a", max_bytes=100)
        host = server.url.removeprefix("http://")
        assert server.asked == ["/a"] * times
    assert str(caught.value) == f"cannot fetch a: {host}: {reason}\nhint: {HINT}"


def test_the_body_of_a_redirect_is_not_read() -> None:
    moved = Answer(status=302, headers={"Location": "/b"}, body=b"x" * 1000)
    with serving({"/a": moved}) as server, new_session() as session:
        response = session.get(f"{server.url}/a", stream=True, allow_redirects=False)
        with contextlib.closing(response):
            assert (response.status_code, response.raw.tell()) == (302, 0)
        assert server.asked == ["/a"]


def test_what_is_no_url(fetcher: HttpFetcher) -> None:
    with pytest.raises(OfflineError) as caught:
        fetcher.read("http://[::1/a", max_bytes=100)
    assert str(caught.value) == f"cannot fetch ?: ?: not a URL that can be asked\nhint: {HINT}"


def test_redirects(fetcher: HttpFetcher) -> None:
    answers = {
        "/a": Answer(status=301, headers={"Location": "/b?x=1"}),
        "/b?x=1": Answer(body=BODY),
    }
    with serving(answers) as server:
        assert fetcher.read(server.url + "/a", max_bytes=len(BODY)) == BODY


def test_credentials_stay_with_their_host(fetcher: HttpFetcher) -> None:
    with serving({"/b": Answer(body=b"x")}) as other:
        target = other.url.replace("127.0.0.1", "localhost") + "/b"
        with serving({"/a": Answer(status=302, headers={"Location": target})}) as server:
            url = server.url.replace("http://", "http://user:secret@") + "/a"
            assert fetcher.read(url, max_bytes=10) == b"x"
            assert "Authorization" in server.headers[0]
        assert "Authorization" not in other.headers[0]


def test_no_way_from_https_to_http() -> None:
    with pytest.raises(PermanentError, match=r"^redirects from https to http$"):
        next_url("https://example.org/a", "http://example.org/a")
    assert next_url("https://example.org/a", "//mirror.example.org/b") == (
        "https://mirror.example.org/b"
    )


def test_messages_hold_no_credentials(fetcher: HttpFetcher) -> None:
    host = closed_port()
    with pytest.raises(OfflineError) as caught:
        fetcher.read(f"http://user:secret@{host}/pool/a.deb?token=secret", max_bytes=10)
    assert str(caught.value) == f"cannot fetch a.deb: {host}: connection refused\nhint: {HINT}"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://example.org/a", "example.org: not an http, https or file URL"),
        ("http:///a", "?: not a URL that can be asked"),
        ("file://example.org/a", "file: a file URL of another host"),
        ("file:///", "file: not a regular file"),
        ("http://nowhere.invalid/a", "nowhere.invalid: the name of the host cannot be resolved"),
    ],
)
def test_urls_that_cannot_be_asked(
    fetcher: HttpFetcher, monkeypatch: pytest.MonkeyPatch, url: str, text: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(OfflineError) as caught:
        fetcher.read(url, max_bytes=10)
    assert caught.value.message.endswith(text)


def test_file_urls(fetcher: HttpFetcher, cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(BODY)
    url = f"file://{tmp_path}/a%20b"
    assert fetcher.read(url, max_bytes=len(BODY)) == BODY
    fetcher.fetch([want([url])])
    assert cache.get(sha256_of(BODY)) is not None
    with pytest.raises(FileNotFoundError):
        fetcher.read(f"file://{tmp_path}/nothing", max_bytes=10)


def test_fetch_many(fetcher: HttpFetcher, cache: Cache) -> None:
    bodies = {f"/{number}": bytes([number]) * 100_000 for number in range(20)}
    with serving({path: Answer(body=body) for path, body in bodies.items()}) as server:
        wants = [want([server.url + path], body, path[1:]) for path, body in bodies.items()]
        fetcher.fetch(wants)
        fetcher.fetch(wants)
        assert sorted(server.asked) == sorted(bodies)
    assert all(cache.get(one.digest) is not None for one in wants)
    assert temporaries(cache) == []


def test_a_damaged_entry_is_fetched_again(
    fetcher: HttpFetcher, cache: Cache, recorder: Recorder
) -> None:
    with serving({"/a": Answer(body=BODY)}) as server:
        fetcher.fetch([want([server.url + "/a"])])
        path = cache.blob_path(sha256_of(BODY))
        path.chmod(0o644)
        path.write_bytes(b"damaged")
        fetcher.fetch([want([server.url + "/a"])])
        assert len(server.asked) == 2
    assert path.read_bytes() == BODY
    assert recorder.lines == [f"warn: removed a damaged entry of the cache: {sha256_of(BODY)}"]


def test_thenext_url_is_asked(fetcher: HttpFetcher, cache: Cache, recorder: Recorder) -> None:
    wrong = b"x" * len(BODY)
    with serving({"/wrong": Answer(body=wrong), "/a": Answer(body=BODY)}) as server:
        urls = [f"http://{closed_port()}/a", *(server.url + p for p in ("/no", "/wrong", "/a"))]
        fetcher.fetch([want(urls)])
        host = server.url.removeprefix("http://")
    assert cache.get(sha256_of(BODY)) is not None
    assert recorder.lines == [f"warn: {host} has wrong bytes for a.deb"]


@pytest.mark.parametrize(
    ("body", "length", "expected", "found"),
    [
        (b"x" * len(BODY), -1, sha256_of(BODY), sha256_of(b"x" * len(BODY))),
        (BODY[:-1], -1, "11000 bytes", "10999 bytes"),
        (BODY[:-1], None, "11000 bytes", "10999 bytes"),
        (BODY + b"x", -1, "11000 bytes", "more than 11000 bytes"),
        (BODY * 50, None, "11000 bytes", "more than 11000 bytes"),
    ],
)
def test_wrong_bytes(
    fetcher: HttpFetcher,
    cache: Cache,
    body: bytes,
    length: int | None,
    expected: str,
    found: str,
) -> None:
    with serving({"/a": Answer(body=body, length=length)}) as server:
        with pytest.raises(IntegrityError) as caught:
            fetcher.fetch([want([server.url + "/a"])])
        host = server.url.removeprefix("http://")
    assert str(caught.value) == (
        f"a.deb: {host} has other bytes than expected\nexpected: {expected}\nfound: {found}\n"
        "hint: ask another mirror, or lock again if the archive was changed on purpose"
    )
    assert cache.get(sha256_of(BODY)) is None
    assert temporaries(cache) == []


def test_offline_names_everybody_who_was_asked(fetcher: HttpFetcher) -> None:
    host = closed_port()
    with serving({}) as server:
        with pytest.raises(OfflineError) as caught:
            fetcher.fetch([want([server.url + "/a", f"http://{host}/a", server.url + "/b"])])
        other = server.url.removeprefix("http://")
    assert str(caught.value) == (
        f"cannot fetch a.deb: {other}: not found; {host}: connection refused\nhint: {HINT}"
    )


def test_nowhere_to_ask(fetcher: HttpFetcher) -> None:
    with pytest.raises(OfflineError) as caught:
        fetcher.fetch([want([])])
    assert str(caught.value) == (
        "cannot fetch a.deb: there is nowhere to ask for it\n"
        "hint: configure a mirror or an index that has it"
    )


def test_one_failure_ends_the_call_and_keeps_what_was_right(
    fetcher: HttpFetcher, cache: Cache
) -> None:
    with serving({"/a": Answer(body=BODY)}) as server:
        fetcher.fetch([want([server.url + "/a"])])
        with pytest.raises(OfflineError):
            fetcher.fetch([want([server.url + "/a"]), want([server.url + "/no"], b"other")])
    assert cache.get(sha256_of(BODY)) is not None
    assert temporaries(cache) == []
