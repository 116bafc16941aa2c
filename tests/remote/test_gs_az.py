"""Data in Google Cloud Storage (its emulator) and in Azure's blob store, read by their own clients
over HTTP, with a server between them and the store that breaks what it hands on."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import types
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from support.azure_store import ACCOUNT, azure_store
from support.store_proxy import StoreProxy, store_proxy

from mllock.core.digest import sha256_of
from mllock.core.tree import SINGLE
from mllock.errors import DataError, OfflineError, StaleLockError

LARGE = random.Random(1).randbytes(9_000_000)
KEY = base64.b64encode(b"s3cret-word of the account").decode()


@dataclass
class Place:
    """A bucket, or container, of its own for each test."""

    scheme: str
    name: str
    proxy: StoreProxy
    put: Callable[[str, bytes], None]
    delete: Callable[[str], None]

    def url(self, key: str = "") -> str:
        return f"{self.scheme}://{self.name}/{key}".rstrip("/") + ("/" if key[-1:] == "/" else "")


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    from gcp_storage_emulator.server import create_server

    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    httpd = server._api._httpd
    yield f"http://127.0.0.1:{httpd.server_port}"
    server.stop()
    httpd.server_close()


@pytest.fixture
def google(emulator: str, monkeypatch: pytest.MonkeyPatch, request) -> Iterator[Place]:
    import gcsfs.retry

    name = f"b-{abs(hash(request.node.name))}"

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> str:
        sent = {"Content-Type": "application/json", **headers}
        url = path if path.startswith("http") else emulator + path
        asked = urllib.request.Request(url, data=body, method=method, headers=sent)
        with urllib.request.urlopen(asked, timeout=20) as answer:
            answer.read()
            return str(answer.headers.get("Location"))

    def put(key: str, body: bytes) -> None:
        quoted = urllib.parse.quote(key, safe="")
        path = f"/upload/storage/v1/b/{name}/o?name={quoted}&uploadType="
        if body:
            ask("POST", path + "media", body, **{"Content-Type": "application/octet-stream"})
        else:
            place = ask("POST", path + "resumable", json.dumps({"name": key}).encode())
            ask("PUT", place, **{"Content-Range": "bytes */0"})

    def delete(key: str) -> None:
        ask("DELETE", f"/storage/v1/b/{name}/o/{urllib.parse.quote(key, safe='')}")

    ask("POST", "/storage/v1/b?project=p", json.dumps({"name": name}).encode())
    with store_proxy(emulator, lambda method, path: "/download/" in path) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        # It waits a minute in all.
        waits = types.SimpleNamespace(**{**vars(asyncio), "sleep": at_once})
        monkeypatch.setattr(gcsfs.retry, "asyncio", waits)
        yield Place("gs", name, proxy, put, delete)


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    from azure.storage.blob.aio import ExponentialRetry, _download_async

    def is_download(method: str, path: str) -> bool:
        return method == "GET" and "comp=list" not in path

    with azure_store() as store, store_proxy(store.url, is_download) as proxy:
        place = f"BlobEndpoint={proxy.url}/{ACCOUNT};AccountName={ACCOUNT};AccountKey={KEY}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", place)
        # It waits 15 s before it asks for the second time, and 1 s within an answer.
        monkeypatch.setattr(ExponentialRetry, "get_backoff_time", lambda *_: 0)
        waits = types.SimpleNamespace(**{**vars(asyncio), "sleep": at_once})
        monkeypatch.setattr(_download_async, "asyncio", waits)
        store.files["box/.keep"] = b"a container is there if something is in it"

        def put(key: str, body: bytes) -> None:
            store.files[f"box/{key}"] = body

        def delete(key: str) -> None:
            del store.files[f"box/{key}"]

        yield Place("az", "box", proxy, put, delete)


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture(params=["gs", "az"])
def store(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue({"gs": "google", "az": "azure"}[request.param])
    return found


def test_a_folder(store: Place, bench) -> None:
    store.put("d/a.csv", b"1")
    store.put("d/sub/b.csv", b"22")
    store.put("d/sub/c & d.csv", b"3")
    store.put("d/sub/", b"")  # what some tools make of a folder
    store.put("d/nothing/", b"")
    store.put("d/empty.csv", b"")
    store.put("d2/x", b"not of this folder")
    url = store.url("d/")
    found = bench.fetch(url)
    expected = {"a.csv": b"1", "sub/b.csv": b"22", "sub/c & d.csv": b"3", "empty.csv": b""}
    assert bench.bytes_of(found) == expected
    assert bench.reporter.moved == [(f"fetching data.d from {url}", 4, 4)]
    # Only what changed is fetched again.
    store.put("d/a.csv", b"333")
    assert bench.bytes_of(bench.fetch(url)) == {**expected, "a.csv": b"333"}
    assert bench.reporter.moved[1:] == [(f"fetching data.d from {url}", 3, 3)]
    assert bench.bytes_of(bench.fetch(store.url("d"))) == {**expected, "a.csv": b"333"}
    found = bench.fetch(url, include=("sub",), exclude=("**/c*",))
    assert bench.bytes_of(found) == {"sub/b.csv": b"22"}
    for path in bench.cache.root.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_a_file(store: Place, bench) -> None:
    store.put("a.bin", LARGE)
    found = bench.fetch(store.url("a.bin"))
    assert bench.bytes_of(found) == {SINGLE: LARGE}
    assert (found.mark.is_strong, found.mark.size) == (True, len(LARGE))
    pin = bench.pin(store.url("a.bin"))
    assert (pin.etag, pin.version is not None) == (found.mark.etag, store.scheme == "gs")


def test_nothing_there(store: Place, bench) -> None:
    store.put("d/a", b"1")
    for url in (
        store.url("nothing"),
        store.url("nothing/"),
        store.url("d/a/b"),
        f"{store.scheme}://no-such-place/x",
    ):
        with pytest.raises(DataError) as caught:
            bench.fetch(url)
        assert caught.value.message == f"there is nothing at {url}"


def test_names_that_lead_elsewhere(store: Place, bench) -> None:
    store.put("d/ok", b"1")
    url = store.url("d")
    names = {"a\\b": "backslash in path"}
    if store.scheme == "az":  # the emulator of the other has files of its own
        names |= {"../../up": '".." in path', "x//y": "empty component in path"}
    for key, reason in names.items():
        store.put(f"d/{key}", b"evil")
        with pytest.raises(DataError) as caught:
            bench.fetch(url)
        assert str(caught.value) == (
            f"{url}/{key}: a name that is not portable: {reason}\n"
            "hint: rename it there, or exclude it"
        )
        store.delete(f"d/{key}")


def test_other_bytes_than_those_that_are_locked(store: Place, bench) -> None:
    store.put("d/a.csv", b"1")
    url = store.url("d")
    pin = bench.pin(url)
    bench.cache.blob_path(sha256_of(b"1")).unlink()
    store.proxy.flip = True
    with pytest.raises(StaleLockError) as caught:
        bench.bring(url, pin)
    assert str(caught.value) == (
        f"mlproject.lock: data.d: {url}/a.csv has other bytes than those that are locked\n"
        f"expected: {sha256_of(b'1')}\nfound: {sha256_of(b'0')}\n"
        'hint: bring the data back, or pin what is there now: "mllock lock --data"'
    )
    store.proxy.flip = False
    assert bench.bring(url, pin).digest == pin.tree


def test_an_answer_that_breaks_off_is_asked_for_again(store: Place, bench) -> None:
    store.put("a.bin", LARGE)
    store.put("d/small", b"123456789")
    store.proxy.cuts = [1_000_000, 0]
    assert bench.bytes_of(bench.fetch(store.url("a.bin"))) == {SINGLE: LARGE}
    store.proxy.cuts = [4]
    assert bench.bytes_of(bench.fetch(store.url("d"))) == {"small": b"123456789"}
    assert store.proxy.cuts == []
    assert bench.leftovers() == []


def test_an_answer_that_always_breaks_off_is_nothing(store: Place, bench) -> None:
    store.put("a", b"123456789")
    store.proxy.cuts = [4] * 1000
    with pytest.raises(OfflineError) as caught:
        bench.fetch(store.url("a"))
    assert caught.value.message == (
        f"cannot fetch data.d from {store.url('a')}: the connection broke"
    )


def test_a_store_that_is_out_of_order(store: Place, bench) -> None:
    store.put("a", b"1")
    store.proxy.statuses = [503, None, 500]
    assert bench.bytes_of(bench.fetch(store.url("a"))) == {SINGLE: b"1"}
    store.proxy.statuses = [503] * 1000
    with pytest.raises(OfflineError) as caught:
        bench.fetch(store.url("b"))
    assert caught.value.message == f"cannot fetch data.d from {store.url('b')}: answered 503"


def test_a_page_of_somebody_else(store: Place, bench) -> None:
    store.put("a", b"1")
    store.proxy.statuses = [200] * 1000
    with pytest.raises(OfflineError) as caught:
        bench.fetch(store.url("d/"))
    why = {"gs": "its package says JSONDecodeError", "az": "its answer is no listing"}
    assert caught.value.message == (
        f"cannot fetch data.d from {store.url('d/')}: {why[store.scheme]}"
    )


@pytest.mark.parametrize("status", [401, 403])
def test_access_is_denied(store: Place, bench, status: int) -> None:
    store.put("a", b"1")
    store.proxy.statuses = [status] * 1000
    with pytest.raises(OfflineError) as caught:
        bench.fetch(store.url("a"))
    assert caught.value.message == (
        f"cannot fetch data.d from {store.url('a')}: answered {status}: access is denied"
    )


def test_nobody_listens(store: Place, bench, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:1"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", nowhere)
    place = f"BlobEndpoint={nowhere}/{ACCOUNT};AccountName={ACCOUNT};AccountKey={KEY}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", place)
    with pytest.raises(OfflineError) as caught:
        bench.fetch(store.url("a"))
    assert caught.value.message == (f"cannot fetch data.d from {store.url('a')}: cannot be reached")


def test_without_an_account(azure: Place, bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    with pytest.raises(OfflineError) as caught:
        bench.fetch(azure.url("a"))
    assert caught.value.message == (
        f"cannot fetch data.d from {azure.url('a')}: no account is named; "
        "set AZURE_STORAGE_ACCOUNT_NAME"
    )
