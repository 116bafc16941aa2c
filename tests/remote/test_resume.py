"""A download that broke off goes on where it stopped, and never becomes another file."""

from __future__ import annotations

import os
import random

import pytest
from support.data_server import DataServer, Served

from mllock.core.digest import sha256_of
from mllock.core.tree import SINGLE
from mllock.errors import OfflineError, StaleLockError

# More than what is fetched in memory.
LARGE = random.Random(0).randbytes(3_000_000)
HINT = (
    "\nhint: check the network and the source, then run the same command again: it goes on where "
    "it stopped"
)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_broken_connection_is_gone_on_with(chunked: bool, server: DataServer, bench) -> None:
    server.files["/a.bin"] = Served(
        body=LARGE, etag='"1"', cuts=[len(LARGE), 1_500_000, 1_200_000], chunked=chunked
    )
    found = bench.fetch(f"{server.url}/a.bin")
    assert bench.bytes_of(found) == {SINGLE: LARGE}
    # Of chunks only whole megabytes are had when the connection breaks.
    first, second = (2**20, 2**21) if chunked else (1_500_000, 2_700_000)
    assert server.asked == [
        "GET /a.bin",
        "GET /a.bin",
        f"GET /a.bin bytes={first}-",
        f"GET /a.bin bytes={second}-",
    ]
    assert [entry["If-Range"] for entry in server.headers[2:]] == ['"1"', '"1"']
    assert bench.leftovers() == []
    total = 0 if chunked else len(LARGE)
    assert [moved[1:] for moved in bench.reporter.moved] == [(total, len(LARGE))]


def broken(server: DataServer, bench, etag: str | None) -> None:
    """Fetch, and fail after a third of the file."""
    cuts = [len(LARGE), 1_000_000, *[0] * 3]
    server.files["/a.bin"] = Served(body=LARGE, etag=etag, cuts=cuts)
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{server.url}/a.bin")
    assert str(caught.value) == (
        f"cannot fetch data.d from {server.url}/a.bin: the connection broke{HINT}"
    )
    server.asked.clear()


def test_an_interrupted_fetch_goes_on_where_it_stopped(server: DataServer, bench) -> None:
    broken(server, bench, '"1"')
    assert len(bench.leftovers()) == 1
    found = bench.fetch(f"{server.url}/a.bin")
    assert bench.bytes_of(found) == {SINGLE: LARGE}
    assert server.asked == ["GET /a.bin", "GET /a.bin bytes=1000000-"]
    assert bench.leftovers() == []


def test_what_changed_meanwhile_begins_anew(server: DataServer, bench) -> None:
    broken(server, bench, '"1"')
    other = LARGE[::-1]
    server.put("/a.bin", other, '"2"')
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.bin")) == {SINGLE: other}
    # And where the mark stays, the server says so itself while it answers (If-Range).
    assert server.asked == ["GET /a.bin", "GET /a.bin"]


def test_a_lie_about_a_part_is_found_by_the_digest(server: DataServer, bench) -> None:
    """The mark stayed, the bytes did not: half of one file and half of the other are no file."""
    server.put("/a.bin", LARGE, '"1"')
    pin = bench.pin(f"{server.url}/a.bin")
    bench.cache.blob_path(sha256_of(LARGE)).unlink()
    server.files["/a.bin"].cuts = [1_000_000, *[0] * 3]
    server.files["/a.bin"].body = LARGE[::-1]
    with pytest.raises(OfflineError):
        bench.bring(f"{server.url}/a.bin", pin)
    server.files["/a.bin"] = Served(body=LARGE, etag='"1"')
    server.asked.clear()
    assert bench.bring(f"{server.url}/a.bin", pin).digest == pin.tree
    assert server.asked == ["GET /a.bin bytes=1000000-", "GET /a.bin"]
    assert bench.cache.get(sha256_of(LARGE)) is not None


def test_without_a_strong_etag_nothing_is_gone_on_with(server: DataServer, bench) -> None:
    broken(server, bench, 'W/"1"')
    assert bench.leftovers() == []
    bench.fetch(f"{server.url}/a.bin")
    assert server.asked == ["GET /a.bin", "GET /a.bin"]


def test_what_got_shorter_begins_anew(server: DataServer, bench) -> None:
    server.put("/a.bin", LARGE, '"1"')
    pin = bench.pin(f"{server.url}/a.bin")
    blob = bench.cache.blob_path(sha256_of(LARGE))
    blob.unlink()
    server.files["/a.bin"].cuts = [1_500_000, *[0] * 3]
    with pytest.raises(OfflineError):
        bench.bring(f"{server.url}/a.bin", pin)
    server.put("/a.bin", LARGE[:1_400_000], '"1"')
    with pytest.raises(StaleLockError) as caught:
        bench.bring(f"{server.url}/a.bin", pin)
    assert (caught.value.expected, caught.value.found) == ("3000000 bytes", "1400000 bytes")
    server.put("/a.bin", LARGE, '"1"')
    assert bench.bring(f"{server.url}/a.bin", pin).digest == pin.tree


def test_what_was_interrupted_at_the_very_end(server: DataServer, bench) -> None:
    broken(server, bench, '"1"')
    (name,) = bench.leftovers()
    (bench.cache.root / "partial" / name).write_bytes(LARGE)
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.bin")) == {SINGLE: LARGE}
    assert server.asked == ["GET /a.bin"]


def test_a_partial_file_of_somebody_else_does_not_count(server: DataServer, bench) -> None:
    broken(server, bench, '"1"')
    (name,) = bench.leftovers()
    path = bench.cache.root / "partial" / name
    path.write_bytes(b"evil" * 250_000)
    path.chmod(0o666)
    assert bench.bytes_of(bench.fetch(f"{server.url}/a.bin")) == {SINGLE: LARGE}
    assert server.asked == ["GET /a.bin", "GET /a.bin"]


def test_an_old_partial_file_is_removed(server: DataServer, bench) -> None:
    broken(server, bench, '"1"')
    (name,) = bench.leftovers()
    os.utime(bench.cache.root / "partial" / name, (0, 0))
    bench.fetch(f"{server.url}/a.bin")
    assert server.asked == ["GET /a.bin", "GET /a.bin"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("bytes 0-2999999/3000000", "answered with another part of the file than was asked for"),
        (
            "bytes 1000000-2999998/3000000",
            "answered with another part of the file than was asked for",
        ),
        (
            "bytes 1000000-3999999/4000000",
            "answered with another part of the file than was asked for",
        ),
        ("bytes 1000000-2999999/*", "answered with a part of the file, and does not say which"),
        ("", "answered with a part of the file, and does not say which"),
    ],
)
def test_another_part_than_was_asked_for(said: str, reason: str, server: DataServer, bench) -> None:
    broken(server, bench, '"1"')
    server.files["/a.bin"].range_said = said
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"{server.url}/a.bin")
    assert caught.value.message == f"cannot fetch data.d from {server.url}/a.bin: {reason}"
