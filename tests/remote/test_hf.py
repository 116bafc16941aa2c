"""Data of the Hugging Face hub, from a server on loopback that speaks what its client asks."""

from __future__ import annotations

import json
import time
import types

import pytest
from support.data_server import DataServer, Served

from mllock.core.digest import sha256_of
from mllock.core.tree import SINGLE
from mllock.errors import DataError, OfflineError, StaleLockError

FILES = {"data/a.csv": b"1,2\n", "data/sub/b.csv": b"3,4\n"}


@pytest.fixture
def hub(server: DataServer, bench, monkeypatch: pytest.MonkeyPatch) -> DataServer:
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    # It waits half a minute in all.
    waits = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr(_http, "time", waits)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    api = "/api/datasets/owner/name"
    answer(server, api, {"id": "owner/name", "sha": "a" * 40, "siblings": []})
    answer(server, f"{api}/revision/main", {"id": "owner/name", "sha": "a" * 40, "siblings": []})
    files = [
        {"type": "file", "oid": f"{number:040}", "size": len(body), "path": path}
        for number, (path, body) in enumerate(FILES.items())
    ]
    folder = {"type": "directory", "oid": "c" * 40, "path": "data/sub"}
    top = [{"type": "directory", "oid": "d" * 40, "path": "data"}]
    for recursive, found in (("true", [*files, folder]), ("false", [files[0], folder])):
        answer(server, f"{api}/tree/main/data?recursive={recursive}&expand=false", found)
        answer(server, f"{api}/tree/main?recursive={recursive}&expand=false", top)
    answer(server, f"{api}/tree/main/data/sub?recursive=false&expand=false", files[1:])
    for path, body in FILES.items():
        server.put(f"/datasets/owner/name/resolve/main/{path}", body)
    return server


def answer(server: DataServer, path: str, value: object) -> None:
    server.files[path] = Served(body=json.dumps(value).encode(), kind="application/json")


def test_a_folder(hub: DataServer, bench) -> None:
    found = bench.fetch("hf://datasets/owner/name@main/data")
    assert bench.bytes_of(found) == {"a.csv": b"1,2\n", "sub/b.csv": b"3,4\n"}


def test_a_file(hub: DataServer, bench) -> None:
    found = bench.fetch("hf://datasets/owner/name@main/data/a.csv")
    assert bench.bytes_of(found) == {SINGLE: b"1,2\n"}
    assert (found.mark.etag, found.mark.is_strong) == ("0" * 40, True)


def test_nothing_there(hub: DataServer, bench) -> None:
    with pytest.raises(DataError) as caught:
        bench.fetch("hf://datasets/owner/name@main/data/c.csv")
    assert caught.value.message == ("there is nothing at hf://datasets/owner/name@main/data/c.csv")


def test_access_is_denied(hub: DataServer, bench) -> None:
    for path in list(hub.files):
        hub.files[path].statuses = [403] * 20
    with pytest.raises(OfflineError) as caught:
        bench.fetch("hf://datasets/owner/name@main/data/a.csv")
    assert caught.value.message == (
        "cannot fetch data.d from hf://datasets/owner/name@main/data/a.csv: answered 403: access "
        "is denied"
    )


PLACE = "/datasets/owner/name/resolve/main/data/a.csv"
URL = "hf://datasets/owner/name@main/data/a.csv"


def test_an_answer_that_breaks_off_is_asked_for_again(hub: DataServer, bench) -> None:
    hub.files[PLACE].cuts = [2, 0]
    assert bench.bytes_of(bench.fetch(URL)) == {SINGLE: b"1,2\n"}
    hub.files[PLACE].cuts = [2] * 1000
    other = type(bench)(bench.folder / "other")
    with pytest.raises(OfflineError) as caught:
        other.fetch(URL)
    assert caught.value.message == f"cannot fetch data.d from {URL}: the connection broke"
    assert other.leftovers() == []


def test_other_bytes_than_those_that_are_locked(hub: DataServer, bench) -> None:
    pin = bench.pin(URL)
    bench.cache.blob_path(sha256_of(b"1,2\n")).unlink()
    hub.files[PLACE].body = b"1,9\n"
    with pytest.raises(StaleLockError) as caught:
        bench.bring(URL, pin)
    assert str(caught.value) == (
        f"mlproject.lock: data.d: {URL} has other bytes than those that are locked\n"
        f"expected: {sha256_of(b'1,2' + bytes([10]))}\nfound: {sha256_of(b'1,9' + bytes([10]))}\n"
        'hint: bring the data back, or pin what is there now: "mllock lock --data"'
    )


@pytest.mark.parametrize("status", [500, 503])
def test_a_hub_that_is_out_of_order(
    hub: DataServer, bench, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    for path in list(hub.files):
        hub.files[path].statuses = [status] * 1000
    with pytest.raises(OfflineError) as caught:
        bench.fetch(URL)
    assert caught.value.message == f"cannot fetch data.d from {URL}: answered {status}"
    for path in list(hub.files):
        hub.files[path].statuses = [status]
    assert bench.bytes_of(bench.fetch(URL)) == {SINGLE: b"1,2\n"}


def test_a_page_of_somebody_else(hub: DataServer, bench) -> None:
    for path in list(hub.files):
        hub.files[path] = Served(body=b"<html>log in</html>", kind="text/html")
    with pytest.raises(OfflineError) as caught:
        bench.fetch("hf://datasets/owner/name@main/data")
    assert caught.value.message.startswith(
        "cannot fetch data.d from hf://datasets/owner/name@main/data: its package says "
    )
