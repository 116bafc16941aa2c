"""A source that looks as it did is not read; whatever changes, the answer is that of reading."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.settling import settle

from mllock.core.tree import parse
from mllock.data.remembered import Remembered
from mllock.data.scan import scan
from mllock.data.statcache import StatCache
from mllock.spec.types import DataSource

FOLDER = DataSource(source="data")
SOME = DataSource(source="data", include=("**/*.csv",), exclude=("old",))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for name in ("a.csv", "sub/b.csv", "sub/c.txt", "old/d.csv"):
        path = project / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (project / "data/empty").mkdir()
    (project / "data/link").symlink_to("sub/b.csv")
    settle(project)
    return project


def tree(project: Path, source: DataSource = FOLDER) -> str:
    remembered = Remembered(project, project / ".mllock")
    found = remembered.facts(project / source.source, source)
    whole = parse(remembered.text(project / source.source, source))
    assert found.digest == whole.digest
    assert (found.files, found.size) == (whole.files, whole.size)
    assert found.is_single_file == whole.is_single_file
    return found.digest


def read(project: Path, source: DataSource = FOLDER) -> str:
    root = project / source.source
    return scan(root, include=source.include, exclude=source.exclude, name="data").digest


def lines(project: Path) -> int:
    return len(json.loads((project / ".mllock/trees.json").read_text())["sources"])


@pytest.mark.parametrize("source", [FOLDER, SOME, DataSource(source="data/a.csv")])
def test_what_looks_the_same_is_one_line(
    source: DataSource, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tree(project, source)
    assert first == read(project, source)
    assert lines(project) == 1

    def nobody(*args: object) -> None:
        raise AssertionError(args)

    monkeypatch.setattr(StatCache, "folders", nobody)
    remembered = Remembered(project, project / ".mllock")
    assert remembered.facts(project / source.source, source).digest == first


@pytest.mark.parametrize("kept", ["", "{}"])
def test_who_may_not_learn_writes_nothing(kept: str, project: Path) -> None:
    """Not even where every file is known, and only the line of the source is not."""
    first = tree(project)
    state = project / ".mllock"
    (state / "trees.json").unlink()
    if kept:
        (state / "trees.json").write_text(kept)
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    remembered = Remembered(project, state, learn=False)
    assert remembered.facts(project / "data", FOLDER).digest == first
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before


def same_size_and_time(project: Path) -> None:
    path = project / "data/a.csv"
    status = path.stat()
    path.write_text("A.csv")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(project: Path) -> None:
    new = project / "new"
    new.write_text("b.csv")
    status = (project / "data/a.csv").stat()
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.rename(project / "data/a.csv")


CHANGES: dict[str, Callable[[Path], object]] = {
    "bytes": lambda p: (p / "data/a.csv").write_text("other"),
    "same size and time": same_size_and_time,
    "replaced": replaced,
    "touched": lambda p: (p / "data/a.csv").touch(),
    "new": lambda p: (p / "data/new.csv").write_text("new"),
    "gone": lambda p: (p / "data/a.csv").unlink(),
    "renamed": lambda p: (p / "data/a.csv").rename(p / "data/z.csv"),
    "exec bit": lambda p: (p / "data/a.csv").chmod(0o755),
    "another link": lambda p: ((p / "data/link").unlink(), (p / "data/link").symlink_to("a.csv")),
    "another empty folder": lambda p: (p / "data/empty2").mkdir(),
    "no empty folder": lambda p: (p / "data/empty").rmdir(),
    "a file in it": lambda p: (p / "data/empty/x.csv").write_text("x"),
    "a folder moved": lambda p: (
        (p / "data/sub").rename(p / "data/sub2") and (p / "data/link").unlink()
    ),
    "swapped": lambda p: (
        (p / "data/a.csv").rename(p / "data/t"),
        (p / "data/sub/b.csv").rename(p / "data/a.csv"),
        (p / "data/t").rename(p / "data/sub/b.csv"),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("source", [FOLDER, SOME], ids=["all", "some"])
def test_whatever_changes(
    source: DataSource, change: Callable[[Path], object], project: Path
) -> None:
    tree(project, source)
    change(project)
    assert tree(project, source) == read(project, source)
    settle(project)
    assert tree(project, source) == read(project, source)


def test_a_copy_elsewhere_is_another_look(project: Path, tmp_path: Path) -> None:
    first = tree(project)
    shutil.copytree(project, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/data/a.csv").write_text("other")
    assert tree(tmp_path / "copy") != first


def test_a_racily_clean_file_leaves_no_line(project: Path) -> None:
    future = time.time() + 3600
    os.utime(project / "data/a.csv", (future, future))
    tree(project)
    assert not (project / ".mllock/trees.json").exists()
    # And such a change, in the same tick of the clock, is seen.
    same_size_and_time(project)
    assert tree(project) == read(project)


@pytest.mark.parametrize(
    "line", [[], ["x"], ["LOOK", "sha256:x", 1, 1, False], ["LOOK", "TREE", "1", 1, False], None, 1]
)
def test_a_damaged_line_is_none(line: object, project: Path) -> None:
    expected = tree(project)
    path = project / ".mllock/trees.json"
    document = json.loads(path.read_text())
    ((key, right),) = document["sources"].items()
    words = {"LOOK": right[0], "TREE": right[1]}
    if isinstance(line, list):
        line = [words.get(item, item) if isinstance(item, str) else item for item in line]
    document["sources"][key] = line
    path.write_text(json.dumps(document))
    assert tree(project) == expected
