"""Locked wheels brought back: from the cache, or from an index that has to serve the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.bench import TARGET, Bench, bench
from support.wheels import (
    make_wheel,
)

from mllock.core.digest import from_hex, hex_of, sha256_of
from mllock.errors import IntegrityError, OfflineError

__all__ = ["bench"]


def test_fetching_what_is_there_asks_nobody(bench: Bench) -> None:
    data = bench.index.add("alpha", "1.0")
    packages = bench.resolve("alpha")
    bench.index.requests.clear()
    paths = bench.fetch(packages)
    assert {name: path.read_bytes() for name, path in paths.items()} == {
        "alpha-1.0-py3-none-any.whl": data
    }
    assert bench.index.requests == []


def test_pip_unpacks_in_a_folder_of_ours(bench: Bench, tmp_path: Path) -> None:
    """Interrupted, pip leaves what it unpacked: it has to be where mllock removes it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.utime(elsewhere, ns=(1, 1))
    bench.environ |= {name: str(elsewhere) for name in ("TMPDIR", "TEMP", "TMP")}
    bench.index.add("alpha", "1.0")
    packages = bench.resolve("alpha")
    bench.cache.blob_path(from_hex(packages[0].wheels[0].hashes["sha256"])).unlink()
    bench.fetch(packages)
    # Whatever comes or goes in a folder moves its time.
    assert elsewhere.stat().st_mtime_ns == 1
    assert list((bench.cache.root / "tmp").glob("*")) == []


def test_a_tampered_wheel_is_reported_and_fetched_again(bench: Bench) -> None:
    data = bench.index.add("alpha", "1.0")
    packages = bench.resolve("alpha")
    blob = bench.cache.blob_path(sha256_of(data))
    blob.chmod(0o644)
    blob.write_bytes(data[:-1] + b"!")
    bench.reporter.lines.clear()
    (path,) = bench.fetch(packages).values()
    assert path.read_bytes() == data
    assert any(
        line.startswith("warn: ") and hex_of(sha256_of(data)) in line
        for line in bench.reporter.lines
    )


def test_an_index_that_serves_other_bytes(bench: Bench) -> None:
    data = bench.index.add("alpha", "1.0")
    packages = bench.resolve("alpha")
    bench.cache.blob_path(sha256_of(data)).unlink()
    other = make_wheel("alpha", "1.0", {"alpha.py": b"evil = True\n"})
    bench.index.files["alpha"] = {"alpha-1.0-py3-none-any.whl": other}
    bench.environ["PIP_NO_CACHE_DIR"] = "1"
    with pytest.raises(IntegrityError) as caught:
        bench.fetch(packages)
    assert str(caught.value) == (
        "the index serves other bytes for alpha-1.0-py3-none-any.whl than those that are locked\n"
        f"expected: {sha256_of(data)}\nfound: {sha256_of(other)}\n"
        "hint: find out why before you lock them anew: a released wheel never changes"
    )


def test_a_missing_wheel_without_network(bench: Bench) -> None:
    data = bench.index.add("alpha", "1.0")
    packages = bench.resolve("alpha")
    bench.cache.blob_path(sha256_of(data)).unlink()
    bench.environ |= {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_NO_CACHE_DIR": "1"}
    with pytest.raises(OfflineError, match="the package index cannot be read: 127"):
        bench.fetch(packages)


def test_the_locked_file_is_the_one_that_is_fetched(bench: Bench) -> None:
    # The index has since got a better wheel of the same version: the lock decides.
    data = bench.index.add("alpha", "1.0")
    packages = bench.resolve("alpha")
    bench.index.add("alpha", "1.0", tag=f"cp311-cp311-manylinux_2_17_{TARGET.machine}")
    bench.cache.blob_path(sha256_of(data)).unlink()
    assert list(bench.fetch(packages)) == ["alpha-1.0-py3-none-any.whl"]
    assert from_hex(packages[0].wheels[0].hashes["sha256"]) == sha256_of(data)


def test_the_same_bytes_under_another_name(bench: Bench) -> None:
    """A name is no proof, in neither direction."""
    data = bench.index.add("alpha", "1.0")
    packages = bench.resolve("alpha")
    bench.cache.blob_path(sha256_of(data)).unlink()
    bench.index.files["alpha"] = {"Alpha-1.0.0-py3-none-any.whl": data}
    (name, path), *_ = bench.fetch(packages).items()
    assert (name, path.read_bytes()) == ("alpha-1.0-py3-none-any.whl", data)


def test_a_wheel_with_the_name_of_another(bench: Bench) -> None:
    bench.index.files["alpha"] = {"alpha-1.0-py3-none-any.whl": make_wheel("beta", "1.0")}
    assert bench.refusal(IntegrityError, "alpha").startswith(
        "what the index serves as a wheel of alpha is none\n"
    )
