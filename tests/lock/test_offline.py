"""Offline: what is here is used, what is missing is named, and nobody is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.bench import Bench, asking, bench, each_bench
from support.locks import make_lock
from support.reporter import Recorder
from support.training import context, make_project, put_wheels, relock
from support.webserver import Answer, serving

from mllock.core.digest import from_hex, sha256_of
from mllock.core.offline import VARIABLE, is_offline
from mllock.core.ports import Want
from mllock.errors import OfflineError, ResolutionError
from mllock.lock.debian.fetch import fetch_debs
from mllock.lock.local import LocalResolver
from mllock.lock.pip import Pip
from mllock.lock.python import resolver_of
from mllock.lock.types import Lock, PythonPackage
from mllock.store.base_source import RegistrySource
from mllock.store.cache import Cache
from mllock.store.fetch import HttpFetcher
from mllock.store.oci_json import Descriptor
from mllock.store.registry.client import Registry
from mllock.store.registry.reference import parse_reference
from mllock.store.remote.connect import opener
from mllock.workflows.context import Context
from mllock.workflows.outdated import outdated

__all__ = ["bench", "each_bench"]

HERE = (
    'expected: in the cache, or in a folder that "mllock vendor" made\n'
    "found: not there: {}\n"
    "hint: type it once without --offline, or name such a folder with MLLOCK_VENDOR"
)
LEAVE_OUT = "hint: leave out --offline, or unset MLLOCK_OFFLINE"


def had(bench: Bench, *names: str) -> tuple[PythonPackage, ...]:
    """Packages whose wheels are in the cache, version 1.0, as a lock has them."""
    return put_wheels(bench.cache, {(name, "1.0"): {f"{name}.py": name.encode()} for name in names})


def locked(packages: tuple[PythonPackage, ...]) -> Lock:
    lock = make_lock()
    return replace(lock, python=replace(lock.python, packages=packages))


def offline(bench: Bench, previous: Lock | None) -> LocalResolver:
    def make(environ):
        return resolver_of(
            bench.resolver, bench.cache, bench.cache.root / "uv", bench.reporter, environ
        )

    pip = Pip(environ={**bench.environ, VARIABLE: "1"}, reporter=bench.reporter)
    return LocalResolver(make, pip, bench.cache, previous)


@pytest.mark.parametrize(
    ("value", "means"),
    [("1", True), ("yes", True), ("", False), ("0", False), ("No", False), ("off", False)],
)
def test_the_variable(value: str, *, means: bool) -> None:
    assert is_offline({VARIABLE: value}) is means
    assert not is_offline({})


def test_versions_are_chosen_among_the_previous_wheels(each_bench: Bench) -> None:
    bench = each_bench
    before = had(bench, "alpha", "gamma")
    bench.index.add("alpha", "2.0")
    # A folder of links that is on the network would be asked even without an index.
    bench.environ["PIP_FIND_LINKS"] = bench.index.url + "/alpha/"
    resolver = offline(bench, locked(before))
    found = resolver.resolve(asking("alpha", exclude_newer="2026-01-01T00:00:00Z"))
    assert found == tuple(package for package in before if package.name != "gamma")
    assert (resolver.name, bench.index.requests) == (bench.resolver, [])


def test_what_was_never_locked_cannot_be_chosen(bench: Bench) -> None:
    before = had(bench, "alpha")
    bench.index.add("delta", "1.0")
    with pytest.raises(ResolutionError) as caught:
        offline(bench, locked(before)).resolve(asking("alpha", "delta"))
    assert str(caught.value).partition("\n")[0] == "no package 'delta' in the index"
    assert str(caught.value).splitlines()[-1] == (
        "hint: offline, only wheels of the previous lock and of pip's local folders count: leave"
        " out --offline to ask the index"
    )
    assert bench.index.requests == []


def test_locked_wheels_come_from_a_local_folder_or_are_named(bench: Bench, tmp_path: Path) -> None:
    packages = had(bench, "alpha")
    blob = bench.cache.blob_path(from_hex(packages[0].wheels[0].hashes["sha256"]))
    data = blob.read_bytes()
    blob.unlink()
    bench.index.files["alpha"] = {"alpha-1.0-py3-none-any.whl": data}
    bench.environ[VARIABLE] = "1"
    with pytest.raises(OfflineError) as caught:
        bench.fetch(packages)
    assert str(caught.value) == (
        "offline, and a file would have to be fetched\n" + HERE.format("alpha-1.0-py3-none-any.whl")
    )
    links = tmp_path / "links"
    links.mkdir()
    (links / "alpha-1.0-py3-none-any.whl").write_bytes(data)
    bench.environ["PIP_FIND_LINKS"] = str(links)
    assert [path.read_bytes() for path in bench.fetch(packages).values()] == [data]
    assert bench.index.requests == []


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", Recorder())


def test_archives_are_not_asked(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "near").write_bytes(b"near")
    near = (tmp_path / "near").as_uri()
    with serving({"/far": Answer(body=b"far")}) as server:
        fetcher = HttpFetcher(cache, Recorder(), offline=True)
        urls = (server.url + "/far", near)
        fetcher.fetch([Want(name="near", urls=urls, size=4, digest=sha256_of(b"near"))])
        assert fetcher.read(near, max_bytes=4) == b"near"
        far = [
            Want(name=f"far{n}", urls=urls[:1], size=3, digest=sha256_of(b"far%d" % n))
            for n in range(7)
        ]
        with pytest.raises(OfflineError) as caught:
            fetcher.fetch(far)
        with pytest.raises(OfflineError) as asked:
            fetcher.read(urls[0], max_bytes=4)
        assert server.asked == []
    assert str(caught.value) == (
        "offline, and 7 files would have to be fetched\n"
        + HERE.format("far0, far1, far2, far3, far4 and 2 more")
    )
    host = server.url.removeprefix("http://")
    assert str(asked.value) == f"offline: the archive {host} is not asked\n{LEAVE_OUT}"


def test_without_a_mirror_the_packages_are_named(cache: Cache, tmp_path: Path) -> None:
    (deb, *_) = make_lock().system
    with pytest.raises(OfflineError) as caught:
        fetch_debs(
            [deb],
            suite="bookworm",
            mirror=None,
            environ={VARIABLE: "1"},
            fetcher=HttpFetcher(cache, Recorder(), offline=True),
            blobs=cache,
            apt=tmp_path,
        )
    assert str(caught.value) == (
        f"offline, and a file would have to be fetched\n{HERE.format(f'{deb.name} {deb.version}')}"
    )


def test_registries_are_not_asked(cache: Cache) -> None:
    reference = parse_reference("127.0.0.1:1/team/base:1")
    environ = {VARIABLE: "1", "HOME": os.devnull}
    digest = sha256_of(b"layer")
    layer = Descriptor(digest=digest, size=5, media_type="x", annotations={})
    source = RegistrySource(reference, environ)
    with pytest.raises(OfflineError) as missing:
        source.fetch([layer], cache, Recorder())
    assert str(missing.value) == (
        "offline, and a file would have to be fetched\n"
        + HERE.format(f"{digest} of 127.0.0.1:1/team/base")
    )
    for ask in (lambda: source.find("linux/amd64"), Registry(reference, environ).__enter__):
        with pytest.raises(OfflineError) as caught:
            ask()
        assert str(caught.value) == f"offline: the registry 127.0.0.1:1 is not asked\n{LEAVE_OUT}"
    cache.put_bytes(b"layer")
    source.fetch([layer], cache, Recorder())


def test_data_sources_are_not_asked() -> None:
    connect = opener({VARIABLE: "1"}, Recorder())
    for url in ("https://user@127.0.0.1:1/train.csv", "s3://bucket/train"):
        with pytest.raises(OfflineError) as caught, connect(url):
            pass
        shown = url.replace("user@", "")
        assert str(caught.value) == f"offline: the data source {shown} is not asked\n{LEAVE_OUT}"


def relocked(folder: Path, environ: dict[str, str]) -> Context:
    ctx = context(make_project(folder / "project"), environ)
    relock(ctx)
    return ctx


def test_nothing_is_outdated_by_hearsay(tmp_path: Path) -> None:
    with pytest.raises(OfflineError) as caught:
        outdated(relocked(tmp_path, {VARIABLE: "1"}))
    assert str(caught.value) == f"offline: the package index is not asked\n{LEAVE_OUT}"
