"""Data in S3, from a real server of that protocol on loopback."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator

import pytest

from mllock.core.tree import SINGLE
from mllock.data.remote import TransientError
from mllock.errors import DataError, OfflineError, StaleLockError
from mllock.store.remote.fetch import RemoteData
from mllock.store.remote.filesystem import FilesystemSource

LARGE = random.Random(1).randbytes(9_000_000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    """Puts objects as any other tool would."""

    def __init__(self, endpoint: str, name: str) -> None:
        import boto3

        self.name = name
        self.client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-word")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = Bucket(endpoint, f"b-{abs(hash(request.node.name))}")
    yield made
    made.client.close()


def test_a_folder(bucket: Bucket, bench) -> None:
    bucket.put("d/a.csv", b"1")
    bucket.put("d/sub/b.csv", b"22")
    bucket.put("d/sub/", b"")  # what some tools make of a folder
    bucket.put("d2/x", b"not of this folder")
    bucket.put("d", b"nor this")
    url = f"s3://{bucket.name}/d/"
    found = bench.fetch(url)
    assert bench.bytes_of(found) == {"a.csv": b"1", "sub/b.csv": b"22"}
    assert bench.reporter.moved == [(f"fetching data.d from {url}", 3, 3)]
    # Only what changed is fetched again.
    bucket.put("d/a.csv", b"333")
    assert bench.bytes_of(bench.fetch(url)) == {"a.csv": b"333", "sub/b.csv": b"22"}
    assert bench.reporter.moved[1:] == [(f"fetching data.d from {url}", 3, 3)]
    for path in bench.cache.root.rglob("*"):
        assert path.is_dir() or b"s3cret-word" not in path.read_bytes()


def test_a_folder_without_a_slash_and_a_whole_bucket(bucket: Bucket, bench) -> None:
    bucket.put("d/a.csv", b"1")
    bucket.put("e.csv", b"2")
    assert bench.bytes_of(bench.fetch(f"s3://{bucket.name}/d")) == {"a.csv": b"1"}
    assert bench.bytes_of(bench.fetch(f"s3://{bucket.name}")) == {"d/a.csv": b"1", "e.csv": b"2"}


def test_include_and_exclude(bucket: Bucket, bench) -> None:
    for key in ("a.csv", "b.txt", "old/c.csv"):
        bucket.put(f"d/{key}", key.encode())
    patterns = {"include": ("**/*.csv",), "exclude": ("old",)}
    found = bench.fetch(f"s3://{bucket.name}/d", **patterns)
    assert bench.bytes_of(found) == {"a.csv": b"a.csv"}
    with pytest.raises(DataError) as caught:
        bench.fetch(f"s3://{bucket.name}/d", include=("*.parquet",))
    assert str(caught.value) == (
        f"mlproject.toml: data.d.include: no file of s3://{bucket.name}/d is selected\n"
        "hint: correct the patterns of include and exclude"
    )


def test_a_file(bucket: Bucket, bench) -> None:
    bucket.put("a.bin", LARGE)
    found = bench.fetch(f"s3://{bucket.name}/a.bin")
    assert bench.bytes_of(found) == {SINGLE: LARGE}
    assert found.mark.is_strong
    assert found.mark.size == len(LARGE)


def test_what_is_locked_comes_again_and_nothing_else(bucket: Bucket, bench) -> None:
    bucket.put("d/a.csv", b"1")
    bucket.put("d/b.csv", b"2")
    url = f"s3://{bucket.name}/d"
    pin = bench.pin(url)
    for blob in list((bench.cache.root / "blobs").rglob("*")):
        if blob.is_file():
            blob.unlink()
    assert bench.bring(url, pin).digest == pin.tree
    bucket.put("d/c.csv", b"3")
    # A file more at the source does not matter while the cache knows what is locked.
    assert bench.bring(url, pin).digest == pin.tree
    bench.cache.blob_path(pin.tree).unlink()
    with pytest.raises(StaleLockError) as caught:
        bench.bring(url, pin)
    assert str(caught.value) == (
        f"mlproject.lock: data.d: {url} is not what is locked: 3 files now, 2 locked\n"
        f"expected: {pin.tree}\n"
        'hint: bring the data back, or pin what is there now: "mllock lock --data"'
    )
    bucket.delete("d/c.csv")
    bucket.put("d/b.csv", b"9")
    with pytest.raises(StaleLockError) as caught:
        bench.bring(url, pin)
    assert caught.value.message == f"{url} is not what is locked: other names or bytes"


def test_keys_that_lead_elsewhere(bucket: Bucket, bench) -> None:
    url = f"s3://{bucket.name}/d"
    bucket.put("d/ok", b"1")
    for key, reason in {
        "../../up": '".." in path',
        "/abs": "absolute path",
        "x//y": "empty component in path",
        "a\\b": "backslash in path",
    }.items():
        bucket.put(f"d/{key}", b"evil")
        with pytest.raises(DataError) as caught:
            bench.fetch(url)
        assert str(caught.value) == (
            f"{url}/{key}: a name that is not portable: {reason}\n"
            "hint: rename it there, or exclude it"
        )
        # What is not selected does not matter.
        assert bench.bytes_of(bench.fetch(url, include=("ok",))) == {"ok": b"1"}
        bucket.delete(f"d/{key}")


def test_keys_in_the_way_of_each_other(bucket: Bucket, bench) -> None:
    for folder, keys, message in (
        ("one", ("a", "a/b"), "'a' is both an entry and a folder with entries"),
        ("two", ("a", "A"), "names that fold together: 'A' and 'a'"),
    ):
        for key in keys:
            bucket.put(f"{folder}/{key}", b"1")
        with pytest.raises(DataError) as caught:
            bench.fetch(f"s3://{bucket.name}/{folder}")
        assert str(caught.value) == (
            f"s3://{bucket.name}/{folder}: {message}\nhint: rename it there, or exclude it"
        )


def test_nothing_there(bucket: Bucket, bench) -> None:
    for place in (f"{bucket.name}/nothing", f"{bucket.name}/nothing/", "no-such-bucket/x"):
        with pytest.raises(DataError) as caught:
            bench.fetch(f"s3://{place}")
        assert caught.value.message == f"there is nothing at s3://{place}"


class Between:
    """The real source, with something that happens between its answers."""

    def __init__(self, url: str, happens) -> None:
        self._source = FilesystemSource(url)
        self._happens = happens

    def __enter__(self):
        return self

    def __exit__(self, *exc: object) -> None:
        self._source.__exit__(*exc)

    def look(self):
        return self._source.look()

    @contextlib.contextmanager
    def open(self, file, offset: int):
        with self._source.open(file, offset) as stream:
            self._happens(stream)
            yield stream


def test_an_interrupted_fetch_goes_on_where_it_stopped(bucket: Bucket, bench) -> None:
    bucket.put("a.bin", LARGE)
    url = f"s3://{bucket.name}/a.bin"
    offsets = []

    def breaks(stream) -> None:
        offsets.append(stream.offset)
        read = stream.read

        def once(amount: int) -> bytes:
            if len(offsets) < 5 and stream_bytes.setdefault(len(offsets), 0) >= 4_000_000:
                raise TransientError("the connection broke")
            data = read(amount)
            stream_bytes[len(offsets)] += len(data)
            return data

        stream_bytes: dict[int, int] = {len(offsets): 0}
        stream.read = once

    data = RemoteData(
        bench.cache, bench.reporter, lambda place: Between(place, breaks), backoff=0.001
    )
    found = data.fetch("d", bench.source(url))
    assert bench.bytes_of(found) == {SINGLE: LARGE}
    assert offsets == [0, 4 * 2**20, 8 * 2**20]
    assert bench.leftovers() == []


def test_a_folder_that_changes_while_it_is_fetched(bucket: Bucket, bench) -> None:
    bucket.put("d/a.csv", b"1")
    bucket.put("d/b.csv", b"2")
    url = f"s3://{bucket.name}/d"
    data = RemoteData(
        bench.cache,
        bench.reporter,
        lambda place: Between(place, lambda _: bucket.put("d/b.csv", b"3")),
        backoff=0.001,
    )
    with pytest.raises(DataError) as caught:
        data.fetch("d", bench.source(url))
    assert str(caught.value) == (
        f"{url}/b.csv: changed while it was fetched\n"
        "hint: wait until nothing writes to it, then run the same command again"
    )


def test_what_the_packages_log_is_not_shown() -> None:
    for name in ("s3fs", "botocore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("fsspec").setLevel(logging.DEBUG)
    FilesystemSource("s3://bucket/key")
    assert not logging.getLogger("s3fs").isEnabledFor(logging.ERROR)
    assert not logging.getLogger("botocore.retries").isEnabledFor(logging.ERROR)
    assert logging.getLogger("fsspec").level == logging.DEBUG
    logging.getLogger("fsspec").setLevel(logging.NOTSET)


def test_without_credentials(bucket: Bucket, bench, monkeypatch) -> None:
    bucket.put("a", b"1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(OfflineError) as caught:
        bench.fetch(f"s3://{bucket.name}/a")
    assert caught.value.message == (
        f"cannot fetch data.d from s3://{bucket.name}/a: no credentials were found; of a public "
        "bucket, set FSSPEC_S3_ANON=true"
    )
