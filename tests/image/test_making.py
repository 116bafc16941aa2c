"""Layers made by several processes: the same ones, the same errors, and nothing left behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.nodes import file
from support.reporter import Recorder
from support.wheels import make_wheel, wheel_name

from mllock.core.digest import Digest
from mllock.errors import ArchiveError
from mllock.image import making
from mllock.image.making import WORTH_A_PROCESS, LayerTask, make_layers
from mllock.image.python import merge
from mllock.image.types import Layer
from mllock.image.wheel import wheel_nodes
from mllock.store.cache import Cache

NAMES = ("one", "two", "three", "four")


@pytest.fixture
def reporter() -> Recorder:
    return Recorder()


@pytest.fixture
def cache(tmp_path: Path, reporter: Recorder) -> Cache:
    return Cache(tmp_path / "cache", reporter)


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "processors", lambda: 2)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the layers that this very process makes."""
    titles: list[str] = []
    original = making._make

    def make(task: LayerTask, cache: Cache) -> Layer:
        titles.append(task.title)
        return original(task, cache)

    monkeypatch.setattr(making, "_make", make)
    return titles


def tasks(folder: Path) -> list[LayerTask]:
    """Layers with streams of wheels in them, and with files of our own."""
    found = []
    for name in NAMES:
        data = os.urandom(40_000) + b"text " * 20_000
        path = folder / wheel_name(name, "1")
        path.write_bytes(make_wheel(name, "1", {f"{name}.py": data, f"{name}.txt": b"small"}))
        nodes = merge([(name, wheel_nodes(path, path.name))])
        found.append(LayerTask(kind="python", title=name, nodes=nodes))
    return found


def until(condition: Callable[[], bool]) -> None:
    """Wait for a worker; one that never does it is a failure."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("no worker did it")


def leftovers(cache: Cache) -> list[Path]:
    return list(cache.folder("tmp").iterdir())


def test_the_layers_are_those_of_one_process(
    tmp_path: Path, cache: Cache, reporter: Recorder, here: list[str]
) -> None:
    given = tasks(tmp_path)
    alone = Cache(tmp_path / "alone", reporter)
    expected = make_layers(given, alone, reporter, count=4, size=0)
    assert here == list(NAMES)
    here.clear()
    first = iter(given)

    def thought_out() -> Iterator[LayerTask]:
        # The others are not given before a worker has made the first.
        yield next(first)
        until(lambda: any(path.is_file() for path in (cache.root / "blobs").rglob("*")))
        yield from first

    found = make_layers(thought_out(), cache, reporter, count=4, size=WORTH_A_PROCESS)
    assert found == expected
    assert "one" not in here
    for layer in found:
        assert cache.get(layer.digest) is not None
    assert leftovers(cache) == []


def test_what_a_worker_cannot_make_is_an_error_of_ours(
    tmp_path: Path, cache: Cache, reporter: Recorder
) -> None:
    good = tasks(tmp_path)
    twice = LayerTask(kind="python", title="twice", nodes=(file("a"), file("a")))
    with pytest.raises(ArchiveError) as caught:
        make_layers([twice, *good], cache, reporter, count=5, size=WORTH_A_PROCESS)
    assert str(caught.value) == "a: a layer holds this path twice"
    assert leftovers(cache) == []


def test_an_error_of_the_caller_is_the_callers(
    tmp_path: Path, cache: Cache, reporter: Recorder
) -> None:
    def thought_out() -> Iterator[LayerTask]:
        yield from tasks(tmp_path)
        raise ArchiveError("two packages install one path")

    with pytest.raises(ArchiveError, match="two packages install one path"):
        make_layers(thought_out(), cache, reporter, count=5, size=WORTH_A_PROCESS)
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    "program",
    ["import sys; sys.exit(3)", "import sys; sys.stdin.buffer.read(100)", "print('no JSON')"],
    ids=["ends at once", "ends after a few bytes", "says something else"],
)
def test_without_a_worker_the_layers_are_made_here(
    tmp_path: Path,
    cache: Cache,
    reporter: Recorder,
    here: list[str],
    monkeypatch: pytest.MonkeyPatch,
    program: str,
) -> None:
    monkeypatch.setattr(making, "_WORKER", ("-c", program))
    found = make_layers(tasks(tmp_path), cache, reporter, count=4, size=WORTH_A_PROCESS)
    assert [layer.title for layer in found] == list(NAMES)
    assert sorted(here) == sorted(NAMES)
    assert leftovers(cache) == []


def test_a_system_without_another_process(
    tmp_path: Path, cache: Cache, reporter: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no python"))
    found = make_layers(tasks(tmp_path), cache, reporter, count=4, size=WORTH_A_PROCESS)
    assert [layer.title for layer in found] == list(NAMES)


def test_a_worker_of_another_mllock_makes_nothing(
    tmp_path: Path,
    cache: Cache,
    reporter: Recorder,
    here: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(making, "__version__", "another")
    make_layers(tasks(tmp_path), cache, reporter, count=4, size=WORTH_A_PROCESS)
    assert sorted(here) == sorted(NAMES)


def test_as_many_workers_as_are_worth_it(
    tmp_path: Path, cache: Cache, reporter: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tasks(tmp_path)
    asked: list[int] = []
    original = making._workers

    def workers(count: int, *arguments: Any) -> Any:
        asked.append(count)
        return original(0, *arguments)

    monkeypatch.setattr(making, "_workers", workers)
    for processors, size, count in (
        (2, 0, 4),
        (2, WORTH_A_PROCESS - 1, 4),
        (2, WORTH_A_PROCESS, 4),
        (64, WORTH_A_PROCESS, 16),
        (64, 3 * WORTH_A_PROCESS, 16),
        (64, 1000 * WORTH_A_PROCESS, 60),
        (64, 1000 * WORTH_A_PROCESS, 2),
        (1, 1000 * WORTH_A_PROCESS, 60),
    ):
        monkeypatch.setattr(making, "processors", lambda processors=processors: processors)
        make_layers(given, cache, reporter, count=count, size=size)
    assert asked == [0, 0, 1, 1, 3, 7, 1, 0]


def test_what_is_finished_is_kept_when_another_fails(
    tmp_path: Path, cache: Cache, reporter: Recorder
) -> None:
    good = tasks(tmp_path)
    twice = LayerTask(kind="python", title="twice", nodes=(file("a"), file("a")))
    kept: dict[int, str] = {}

    def keep(number: int, layer: Layer) -> None:
        kept[number] = layer.title

    with pytest.raises(ArchiveError):
        make_layers([good[0], good[1], twice], cache, reporter, count=3, size=0, keep=keep)
    assert kept == {0: "one", 1: "two"}


def test_a_system_without_another_thread(
    tmp_path: Path, cache: Cache, reporter: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    found = make_layers(tasks(tmp_path), cache, reporter, count=4, size=WORTH_A_PROCESS)
    assert [layer.title for layer in found] == list(NAMES)
    assert leftovers(cache) == []


def test_what_lies_in_the_folder_is_not_imported(
    tmp_path: Path, cache: Cache, reporter: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pickle", "deflate", "mllock", "msgspec"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    make_layers(tasks(tmp_path), cache, reporter, count=4, size=WORTH_A_PROCESS)
    assert not (tmp_path / "imported").exists()


def test_a_warning_of_a_worker_is_told(tmp_path: Path, cache: Cache, reporter: Recorder) -> None:
    given = tasks(tmp_path)[:1]
    (layer,) = make_layers(given, cache, reporter, count=1, size=0)
    damaged: Digest = layer.digest
    path = cache.blob_path(damaged)
    path.chmod(0o644)
    path.write_bytes(b"not it")

    def thought_out() -> Iterator[LayerTask]:
        yield given[0]
        until(lambda: path.exists() and path.stat().st_size == layer.size)

    (again,) = make_layers(thought_out(), cache, reporter, count=2, size=WORTH_A_PROCESS)
    assert again == layer
    assert cache.get(damaged) == path
    assert reporter.lines == [f"warn: removed a damaged entry of the cache: {damaged}"]
