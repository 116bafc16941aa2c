"""The memory of files, folder by folder: damaged it is empty, and nothing in it is believed that
does not look the same, whichever patterns it was written for."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest
from support.hashed import hashed
from support.settling import settle

from mllock.data.remembered import Remembered
from mllock.data.scan import scan
from mllock.data.statcache import Kept, StatCache, look_of
from mllock.spec.types import DataSource

__all__ = ["hashed"]

FOLDER = DataSource(source="data")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for name in ("a.csv", "b.csv", "sub/c.csv", "sub/d.txt"):
        path = project / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    settle(project)
    return project


def tree(project: Path, source: DataSource = FOLDER) -> str:
    """By the list of files alone: the line of the whole source is taken away."""
    (project / ".mllock/trees.json").unlink(missing_ok=True)
    return Remembered(project, project / ".mllock").facts(project / source.source, source).digest


def read(project: Path, source: DataSource = FOLDER) -> str:
    root = project / source.source
    return scan(root, include=source.include, exclude=source.exclude, name="data").digest


def test_a_folder_that_looks_the_same_is_not_read(project: Path, hashed: list[str]) -> None:
    first = tree(project)
    assert sorted(hashed) == ["a.csv", "b.csv", "c.csv", "d.txt"]
    hashed.clear()
    assert tree(project) == first
    assert hashed == []
    (project / "data/sub/c.csv").write_text("other")
    (project / "data/sub/e.csv").write_text("e.csv")
    settle(project)
    found = tree(project)
    assert sorted(hashed) == ["c.csv", "e.csv"]
    hashed.clear()
    assert tree(project) == found
    assert hashed == []
    assert found == read(project) != first


def test_one_racily_clean_file_is_read_again_alone(project: Path, hashed: list[str]) -> None:
    future = time.time() + 3600
    os.utime(project / "data/sub/c.csv", (future, future))
    for _ in range(2):
        assert tree(project) == read(project)
        hashed.clear()
    tree(project)
    assert hashed == ["c.csv"]
    # Which shows in what is kept: the others of the folder have a look, it has none.
    cache = StatCache(project / ".mllock")
    kept = cache.folders(json.dumps(["data", FOLDER.include, FOLDER.exclude]))["sub"]
    assert {path: row is None for path, (row, _) in kept.files().items()} == {
        "c.csv": True,
        "d.txt": False,
    }


def test_other_patterns_of_the_same_place_read_nothing_anew(
    project: Path, hashed: list[str]
) -> None:
    tree(project)
    hashed.clear()
    some = DataSource(source="data", include=("**/*.csv",), exclude=("b.csv",))
    assert tree(project, some) == read(project, some)
    hashed.clear()
    assert tree(project, some) == read(project, some)
    assert sorted(hashed) == ["a.csv", "c.csv"]  # by `read`


def test_few_sets_of_patterns_are_kept_and_no_place_that_is_gone(project: Path) -> None:
    for number in range(7):
        (project / f"data/{number}").touch()
    settle(project)
    for number in range(7):
        tree(project, DataSource(source="data", exclude=(f"{number}",)))
    tree(project, DataSource(source="data/sub"))
    cache = StatCache(project / ".mllock")
    places = [json.loads(key) for key in cache._known]
    assert places == [
        *(["data", ["**/*"], [f"{number}"]] for number in range(3, 7)),
        ["data/sub", ["**/*"], []],
    ]
    (project / "data").rename(project / "elsewhere")
    tree(project, DataSource(source="elsewhere"))
    assert [json.loads(key)[0] for key in StatCache(project / ".mllock")._known] == ["elsewhere"]


def test_a_byte_more_or_less_or_other_is_an_empty_cache(project: Path, hashed: list[str]) -> None:
    expected = tree(project)
    path = project / ".mllock/stat-cache"
    content = path.read_bytes()
    places = [*range(25), *range(25, len(content), 23), len(content) - 1]
    damaged = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in places]
    damaged += [content[:at] for at in places] + [content + b"x", b""]
    for one in damaged:
        path.write_bytes(one)
        hashed.clear()
        assert tree(project) == expected
        assert len(hashed) == 4
        assert path.read_bytes() == content


def test_a_line_of_another_file_is_not_taken_for_its_own(project: Path) -> None:
    """What a swap of two files of one size looks like, with all times put back."""
    one, two = project / "data/a.csv", project / "data/b.csv"
    tree(project)
    for path in (one, two):
        os.utime(path, ns=(1, 1))
    settle(project)
    tree(project)
    one.rename(project / "x")
    two.rename(one)
    (project / "x").rename(two)
    for path in (one, two):
        os.utime(path, ns=(1, 1))
    assert tree(project) == read(project)


def test_the_form_of_the_file(project: Path) -> None:
    """docs: a header, sources by place and patterns, folders, and the digest of all of that."""
    tree(project)
    content = (project / ".mllock/stat-cache").read_bytes()
    assert content.startswith(b"mllock-stat-cache\t3\n")
    assert content[-32:] == hashlib.sha256(content[:-32]).digest()
    row = (1, 2, 3, 4, 5, 6)
    kept = Kept(look=look_of("f", ["a", "b"], [row, None]), lines="one\ntwo", size=2)
    assert kept.files() == {"a": (row, "one"), "b": (None, "two")}
