"""Data over http, from a real server that changes, breaks and lies."""

from __future__ import annotations

import hashlib
import random

import pytest
from support.data_server import DataServer, Served, data_server

from mllock.core.digest import sha256_of
from mllock.core.tree import SINGLE, Entry
from mllock.errors import DataError, InputError, OfflineError, StaleLockError, SurroundingsError
from mllock.store.remote import download
from mllock.store.remote.fetch import RemoteData
from mllock.store.remote.http import HttpSource

BODY = b"a,b\n1,2\n"
# More than what is fetched in memory.
LARGE = random.Random(0).randbytes(3_000_000)
HINT = (
    "\nhint: check the network and the source, then run the same command again: it goes on where "
    "it stopped"
)


def test_a_file(server: DataServer, bench) -> None:
    server.put("/a.csv", BODY, '"1"')
    found = bench.fetch(f"{server.url}/a.csv")
    entry = Entry(kind="f", path=SINGLE, size=8, digest=sha256_of(BODY))
    assert found.manifest.entries == (entry,)
    assert (found.mark.size, found.mark.etag, found.mark.is_strong) == (8, '"1"', True)
    assert bench.bytes_of(found) == {SINGLE: BODY}
    assert bench.reporter.lines == [f"step: fetching data.d from {server.url}/a.csv"]
    assert bench.reporter.moved == [(f"fetching data.d from {server.url}/a.csv", 8, 8)]


def test_an_unchanged_file_is_not_fetched_again(server: DataServer, bench) -> None:
    server.put("/a.csv", BODY, '"1"')
    first = bench.fetch(f"{server.url}/a.csv")
    assert bench.fetch(f"{server.url}/a.csv") == first
    assert len(bench.reporter.moved) == 1
    # Unless somebody asks by content, or the cache lost it.
    assert bench.fetch(f"{server.url}/a.csv", by_content=True) == first
    assert len(bench.reporter.moved) == 2
    bench.cache.blob_path(sha256_of(BODY)).unlink()
    assert bench.fetch(f"{server.url}/a.csv") == first
    assert len(bench.reporter.moved) == 3


@pytest.mark.parametrize("etag", [None, 'W/"1"', "unquoted", '"a"b"'])
def test_without_a_strong_etag_it_is_read_every_time(
    etag: str | None, server: DataServer, bench
) -> None:
    server.put("/a.csv", BODY, etag)
    bench.fetch(f"{server.url}/a.csv")
    server.put("/a.csv", b"other,by\n", etag)
    found = bench.fetch(f"{server.url}/a.csv")
    assert bench.bytes_of(found) == {SINGLE: b"other,by\n"}
    assert found.mark.etag == etag


def test_the_etag_changes_and_the_bytes_stay(server: DataServer, bench) -> None:
    server.put("/a.csv", BODY, '"1"')
    pin = bench.pin(f"{server.url}/a.csv")
    server.put("/a.csv", BODY, '"2"')
    again = bench.pin(f"{server.url}/a.csv")
    assert (pin.etag, again.etag) == ('"1"', '"2"')
    assert pin.tree == again.tree
    assert bench.bring(f"{server.url}/a.csv", pin).digest == pin.tree


def test_the_etag_stays_and_the_bytes_change(server: DataServer, bench) -> None:
    """Believed until somebody asks by content: the pin is older than it could be, never wrong."""
    server.put("/a.csv", BODY, '"1"')
    pin = bench.pin(f"{server.url}/a.csv")
    server.put("/a.csv", b"a,b\n3,4\n", '"1"')
    assert bench.pin(f"{server.url}/a.csv") == pin
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.csv")) == {SINGLE: BODY}
    found = bench.fetch(f"{server.url}/a.csv", by_content=True)
    assert bench.bytes_of(found) == {SINGLE: b"a,b\n3,4\n"}
    # What was remembered by that mark is forgotten.
    assert bench.fetch(f"{server.url}/a.csv").manifest == found.manifest


def test_a_machine_without_the_bytes_refuses_those_of_a_lying_server(
    server: DataServer, bench
) -> None:
    server.put("/a.csv", BODY, '"1"')
    pin = bench.pin(f"{server.url}/a.csv")
    other = b"a,b\n3,4\n"
    server.put("/a.csv", other, '"1"')
    bench.cache.blob_path(sha256_of(BODY)).unlink()
    with pytest.raises(StaleLockError) as caught:
        bench.bring(f"{server.url}/a.csv", pin)
    assert str(caught.value) == (
        f"mlproject.lock: data.d: {server.url}/a.csv has other bytes than those that are locked\n"
        f"expected: {sha256_of(BODY)}\nfound: {sha256_of(other)}\n"
        'hint: bring the data back, or pin what is there now: "mllock lock --data"'
    )
    # Nor does it help that the cache knows nothing at all.
    for blob in (bench.cache.root / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    with pytest.raises(StaleLockError) as caught:
        bench.bring(f"{server.url}/a.csv", pin)
    assert caught.value.message == (
        f"{server.url}/a.csv is not what is locked: other names or bytes"
    )
    server.put("/a.csv", BODY + b"more", '"1"')
    asked = len(server.asked)
    with pytest.raises(StaleLockError) as caught:
        bench.bring(f"{server.url}/a.csv", pin)
    assert caught.value.message == (
        f"{server.url}/a.csv is not what is locked: 12 bytes now, 8 locked"
    )
    assert len(server.asked) == asked + 1  # its length was enough


def test_on_another_machine_it_is_fetched(server: DataServer, bench, tmp_path) -> None:
    server.put("/a.csv", BODY, '"1"')
    pin = bench.pin(f"{server.url}/a.csv")
    other = type(bench)(tmp_path / "other")
    assert other.bring(f"{server.url}/a.csv", pin).digest == pin.tree
    assert len(other.reporter.moved) == 1


@pytest.mark.parametrize(
    "served",
    [Served(body=BODY, cuts=[8, *[3] * 4]), Served(body=BODY, cuts=[8, *[3] * 4], chunked=True)],
)
def test_a_truncated_answer_is_no_file(served: Served, server: DataServer, bench) -> None:
    server.files["/a.csv"] = served
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{server.url}/a.csv")
    assert str(caught.value) == (
        f"cannot fetch data.d from {server.url}/a.csv: the connection broke{HINT}"
    )
    assert len(server.asked) == 5
    assert not (bench.cache.root / "blobs").exists()


def test_an_answer_without_an_end_is_refused(server: DataServer, bench) -> None:
    server.files["/a.csv"] = Served(body=BODY, bare=True)
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{server.url}/a.csv")
    assert str(caught.value) == (
        f"cannot fetch data.d from {server.url}/a.csv: does not say where the file ends: a part of "
        f"it would look whole{HINT}"
    )


def test_more_than_is_bounded(server: DataServer, bench, monkeypatch) -> None:
    monkeypatch.setattr(download, "MAX_UNANNOUNCED", 1_500_000)
    server.files["/a.bin"] = Served(body=LARGE, chunked=True)
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{server.url}/a.bin")
    assert caught.value.message == (
        f"cannot fetch data.d from {server.url}/a.bin: sends more than 1500000 bytes, and not how "
        "many"
    )


def test_a_small_file_that_is_none(server: DataServer, bench) -> None:
    """What is read into memory is small, whatever a second answer says."""

    class Swapping(HttpSource):
        def look(self):
            found = super().look()
            server.put("/a.csv", LARGE, '"2"')
            return found

    server.put("/a.csv", BODY, '"1"')
    data = RemoteData(
        bench.cache,
        bench.reporter,
        lambda url: Swapping(url, {}, bench.reporter),
        backoff=0.001,
    )
    with pytest.raises(OfflineError) as caught:
        data.fetch("d", bench.source(f"{server.url}/a.csv"))
    assert caught.value.message == (
        f"cannot fetch data.d from {server.url}/a.csv: became larger while it was asked"
    )


def test_no_room(server: DataServer, bench) -> None:
    free = 10**17
    server.files["/a.bin"] = Served(body=BODY, bare=True, headers={"Content-Length": str(free)})
    with pytest.raises(SurroundingsError) as caught:
        bench.fetch(f"{server.url}/a.bin")
    assert caught.value.message == "there is no room for the data in the cache"
    assert caught.value.expected == f"{free} bytes"


def test_500s_pass(server: DataServer, bench) -> None:
    server.files["/a.csv"] = Served(body=BODY, statuses=[500, 503, 502, 200, 500])
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.csv")) == {SINGLE: BODY}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (500, "answered 500"),
        (503, "answered 503"),
        (401, "answered 401: access is denied"),
        (403, "answered 403: access is denied"),
        (418, "answered 418"),
        (204, "answered 204"),
    ],
)
def test_statuses(status: int, reason: str, server: DataServer, bench) -> None:
    server.files["/a.csv"] = Served(body=BODY, statuses=[status] * 4)
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{server.url}/a.csv")
    assert str(caught.value) == f"cannot fetch data.d from {server.url}/a.csv: {reason}{HINT}"


def test_nothing_there(server: DataServer, bench) -> None:
    with pytest.raises(DataError) as caught:
        bench.fetch(f"{server.url}/a.csv")
    assert str(caught.value) == (
        f"mlproject.toml: data.d.source: there is nothing at {server.url}/a.csv\n"
        "hint: correct the URL, or put the data there"
    )


def test_redirects_are_followed(server: DataServer, bench) -> None:
    server.put("/b.csv", BODY, '"1"')
    server.files["/a.csv"] = Served(location="/b.csv")
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.csv")) == {SINGLE: BODY}


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/a.csv", "more than 10 redirects"),
        ("file:///etc/passwd", "redirects to something that is not http or https"),
        ("ftp://example.org/", "redirects to something that is not http or https"),
        ("", "redirects to something that is not http or https"),
        ("http://[::1", "redirects to something that is not a URL"),
    ],
)
def test_redirects_are_bounded(location: str, reason: str, server: DataServer, bench) -> None:
    server.files["/a.csv"] = Served(location=location)
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{server.url}/a.csv")
    assert str(caught.value) == f"cannot fetch data.d from {server.url}/a.csv: {reason}{HINT}"


def test_credentials_go_to_their_own_host_only(server: DataServer, bench) -> None:
    bench.environ = {"WHO": "ada", "WORD": "s3cret"}
    url = server.url.replace("://", "://${WHO}:${WORD}@") + "/a.csv"
    with data_server() as other:
        server.files["/a.csv"] = Served(location=f"{other.url}/b.csv")
        other.put("/b.csv", BODY, '"1"')
        bench.fetch(url)
        assert [entry.get("Authorization") for entry in other.headers] == [None, None]
    assert {entry.get("Authorization") for entry in server.headers} == {"Basic YWRhOnMzY3JldA=="}
    assert bench.reporter.lines == [f"step: fetching data.d from {server.url}/a.csv"]
    for path in bench.cache.root.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes()


def test_a_variable_that_is_not_set(server: DataServer, bench) -> None:
    url = server.url.replace("://", "://${WHO}@") + "/a.csv"
    with pytest.raises(InputError) as caught:
        bench.fetch(url)
    assert str(caught.value) == (
        f"WHO is not set in the environment\nfound: a data source needs it: {server.url}/a.csv\n"
        "hint: set it, or leave user and password to netrc"
    )


def test_netrc(server: DataServer, bench) -> None:
    netrc = bench.folder / ".netrc"
    netrc.write_text("machine 127.0.0.1 login ada password s3cret\n")
    netrc.chmod(0o600)
    server.put("/a.csv", BODY, '"1"')
    bench.fetch(f"{server.url}/a.csv")
    assert {entry.get("Authorization") for entry in server.headers} == {"Basic YWRhOnMzY3JldA=="}


def test_a_query_is_not_shown(server: DataServer, bench) -> None:
    with pytest.raises(DataError) as caught:
        bench.fetch(f"{server.url}/a.csv?private=1")
    assert caught.value.message == f"there is nothing at {server.url}/a.csv?..."


def test_a_web_page_is_doubted(server: DataServer, bench) -> None:
    server.files["/a.csv"] = Served(body=b"<html>", kind="text/html; charset=utf-8")
    bench.fetch(f"{server.url}/a.csv")
    assert bench.reporter.lines[0] == (
        f"warn: {server.url}/a.csv answered with a web page: is it the data?"
    )


def test_memory_of_others_does_not_count(server: DataServer, bench) -> None:
    server.put("/a.csv", BODY, '"1"')
    bench.fetch(f"{server.url}/a.csv")
    (memory,) = (bench.cache.root / "remote").iterdir()
    evil = bench.cache.put_bytes(b"evil1234")
    memory.write_text(memory.read_text().replace(sha256_of(BODY), evil))
    memory.chmod(0o666)
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.csv")) == {SINGLE: BODY}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version":1,"url":1}'])
def test_a_memory_that_cannot_be_read_is_empty(text: str, server: DataServer, bench) -> None:
    server.put("/a.csv", BODY, '"1"')
    bench.fetch(f"{server.url}/a.csv")
    (memory,) = (bench.cache.root / "remote").iterdir()
    memory.write_text(text)
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.csv")) == {SINGLE: BODY}


def test_a_server_that_is_not_there(bench) -> None:
    with data_server() as gone:
        url = gone.url
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{url}/a.csv")
    assert str(caught.value) == (f"cannot fetch data.d from {url}/a.csv: connection refused{HINT}")


def test_the_digest_is_of_the_bytes(server: DataServer, bench) -> None:
    server.put("/a.bin", LARGE, '"1"')
    found = bench.fetch(f"{server.url}/a.bin")
    assert found.manifest.entries[0].digest == f"sha256:{hashlib.sha256(LARGE).hexdigest()}"
