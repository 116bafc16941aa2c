"""What the tests of remote data share: a server for each test, a cache, and who fetches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.data_server import DataServer, data_server
from support.reporter import Recorder

from mllock.lock.types import DataPin
from mllock.spec.types import DataSource
from mllock.store.cache import Cache
from mllock.store.remote.connect import opener
from mllock.store.remote.fetch import Fetched, RemoteData
from mllock.workflows.remote_data import remote_pin


@pytest.fixture
def server() -> Iterator[DataServer]:
    with data_server() as running:
        yield running


class Bench:
    """Fetches `source` into a cache; `environ` is what it knows of the user's environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reporter = Recorder()
        self.cache = Cache(folder / "cache", self.reporter)
        self.environ: dict[str, str] = {}

    @property
    def data(self) -> RemoteData:
        return RemoteData(
            self.cache, self.reporter, opener(self.environ, self.reporter), backoff=0.001
        )

    def source(self, url: str, **keys) -> DataSource:
        return DataSource(source=url, path="data", **keys)

    def fetch(self, url: str, *, by_content: bool = False, **keys) -> Fetched:
        return self.data.fetch("d", self.source(url, **keys), by_content=by_content)

    def pin(self, url: str, **keys) -> DataPin:
        source = self.source(url, **keys)
        return remote_pin("d", source, self.data.fetch("d", source))

    def bring(self, url: str, pin: DataPin, **keys):
        return self.data.bring("d", self.source(url, **keys), pin)

    def bytes_of(self, found: Fetched) -> dict[str, bytes]:
        """What is in the cache of it, by path."""
        out = {}
        for entry in found.manifest.entries:
            path = self.cache.get(entry.digest)
            out[entry.path] = path.read_bytes()
        return out

    def leftovers(self) -> list[str]:
        """Files that are on their way."""
        folders = [self.cache.root / name for name in ("partial", "tmp")]
        return sorted(p.name for folder in folders if folder.is_dir() for p in folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("HOME", str(tmp_path))  # nobody's netrc
    monkeypatch.delenv("NETRC", raising=False)
    return Bench(tmp_path)
