"""Differences of trees and values: told if and only if there are some."""

from __future__ import annotations

import io
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.world import MODEL

from mllock.check.compare import (
    compare_files,
    compare_json,
    compare_trees,
    manifest_of,
    tree_below,
)
from mllock.check.evidence import FoundTree
from mllock.check.folder import read_tree
from mllock.check.types import Difference
from mllock.core.digest import sha256_of
from mllock.core.tree import Entry, TreeManifest
from mllock.errors import InputError
from mllock.image.read import Member

NAMES = st.sampled_from(["a", "b", "c/d", "c/e"])


@st.composite
def entry(draw, path):
    kind = draw(st.sampled_from("ffxd"))
    if kind == "d":
        return Entry(kind="d", path=path)
    data = draw(st.sampled_from([b"", b"1", b"2"]))
    return Entry(kind=kind, path=path, size=len(data), digest=sha256_of(data))


trees = st.sets(NAMES).flatmap(
    lambda paths: st.tuples(*(entry(path) for path in sorted(paths))).map(TreeManifest.of)
)


def found_of(tree: TreeManifest, **odd: str) -> FoundTree:
    return FoundTree(entries={e.path: e for e in tree.entries}, odd=odd, size=tree.size)


@given(trees, trees)
def test_no_difference_if_and_only_if_the_digests_are_equal(one, two):
    found = found_of(two)
    differences = compare_trees(one, found, "p")
    assert (differences == ()) == (one.digest == two.digest)
    assert manifest_of(found) == two
    assert all(d.path.startswith("p/") for d in differences)
    assert all(d.expected != d.found for d in differences)


@given(trees, trees)
def test_files_are_compared_without_the_manifest_too(one, two):
    wanted = {e.path: e.digest for e in one.entries if e.digest is not None}
    there = {e.path: e.digest for e in two.entries if e.digest is not None}
    assert (compare_files(wanted, found_of(two)) == ()) == (wanted == there)


@given(trees)
def test_what_is_odd_is_always_a_difference(tree):
    found = found_of(tree, pipe="a FIFO")
    assert manifest_of(found) is None
    assert compare_trees(tree, found) == (
        Difference(path="pipe", expected="nothing", found="a FIFO"),
    )
    wanted = {e.path: e.digest for e in tree.entries if e.digest is not None}
    assert [d.found for d in compare_files(wanted, found)] == ["a FIFO"]


def test_names_that_collide_have_no_manifest():
    one = Entry(kind="d", path="a")
    assert manifest_of(FoundTree(entries={"a": one, "A": Entry(kind="d", path="A")})) is None


@pytest.mark.parametrize(
    ("expected", "found", "differences"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, ["x.a"]),
        ({"a": 1}, {"a": 1.0}, ["x.a"]),
        ({"a": 1}, {"b": 1}, ["x.a", "x.b"]),
        ({"a": {"b": None}}, {"a": {}}, ["x.a.b"]),
        ([1, 2], [1, 3], ["x[1]"]),
        ([1, 2], [1], ["x"]),
        ({}, [], ["x"]),
    ],
)
def test_json(expected, found, differences):
    assert [d.path for d in compare_json(expected, found, "x")] == differences


def test_long_values_are_cut():
    (difference,) = compare_json(["x" * 600], [], "x")
    assert difference.expected == '["' + "x" * 498 + "..."


def member(kind="file", **fields):
    return Member(kind=kind, mode=0o644, uid=0, gid=0, **fields)


def test_a_tree_of_an_image():
    digest = sha256_of(b"1")
    merged = {
        "app": member("folder"),
        "app/out": member("folder"),
        "app/out/model": member("folder"),
        "app/out/model/w": member(size=1, digest=digest),
        "app/empty": member("folder"),
        "app/l": member("symlink", target="empty"),
        "apple": member(size=1, digest=digest),
    }
    assert set(tree_below(merged, "app").entries) == {"out/model/w", "empty", "l"}
    assert set(tree_below(merged, "app", without="app/out/model").entries) == {"empty", "l"}
    assert tree_below(merged, "apple").entries == {
        ".": Entry(kind="f", path=".", size=1, digest=digest)
    }
    assert tree_below(merged, "app/l") == FoundTree(entries={}, odd={".": "a link to empty"})
    assert tree_below(merged, "no") == FoundTree(entries={})
    bare = {"app/f": member(size=1)}
    assert tree_below(bare, "app").odd == {"f": "a file that was not hashed"}


def test_a_folder(tmp_path):
    for name, data in MODEL.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "sub" / "in").symlink_to("features.json")
    (tmp_path / "sub" / "out").symlink_to("../../x")
    (tmp_path / "none").mkdir()
    found = read_tree(tmp_path)
    assert set(found.entries) == {*MODEL, "sub/in", "none"}
    assert found.odd == {"sub/out": "a link out of the tree, to ../../x"}
    assert found.size == sum(map(len, MODEL.values()))


def test_the_largest_files_are_not_read_where_there_is_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("mllock.check.folder.SLACK", 10)
    for name, size in (("a", 12), ("b", 3), ("c", 4), ("d", 5)):
        (tmp_path / name).write_bytes(bytes(size))
    found = read_tree(tmp_path, 2)
    assert set(found.entries) == {"b", "c", "d"}
    assert found.odd == {"a": "a file of 12 bytes, not read: all of the model has 2"}
    assert found.size == 12
    # What is a little too large is told by its digest.
    assert read_tree(tmp_path / "a", 2).entries.keys() == {"."}
    assert read_tree(tmp_path, 14).odd == {}
    assert read_tree(tmp_path).odd == {}


def test_a_file_that_grows_is_not_read_for_ever(tmp_path, monkeypatch):
    """Whoever appends as fast as it is read must not hold up the check."""
    path = tmp_path / "log"
    path.write_bytes(b"x")
    read = []

    class Grows(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            read.append(size)
            with path.open("ab") as more:
                more.write(b"x")
            return super().read(size) if len(read) < 1000 else b""

    monkeypatch.setattr(
        "mllock.check.folder.open", lambda file, *_, **__: Grows(file), raising=False
    )
    assert read_tree(tmp_path).odd == {"log": "a file that changed while it was read"}
    assert len(read) < 5


def test_what_is_no_file_and_no_folder(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert read_tree(tmp_path / "fifo").odd == {".": "a FIFO"}
    (tmp_path / "link").symlink_to("fifo")
    assert read_tree(tmp_path / "link").odd == {".": "a link"}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert read_tree(tmp_path).odd == {"fifo": "a FIFO", "s": "a socket"}
    with pytest.raises(InputError) as caught:
        read_tree(tmp_path / "no")
    assert caught.value.message == "no such file or folder"


def test_a_model_whose_manifest_is_lost(world):
    """The subjects of the record still say which files it has."""
    folder = world.deployed()
    record = world.root / "record.sigstore.json"
    (world.run / "record.sigstore.json").rename(record)
    assert world.check(str(folder), record=record).exit_code() == 0
    (folder / "weights.bin").write_bytes(b"")
    report = world.check(str(folder), record=record)
    assert [d.path for d in report.findings[2].differences] == ["weights.bin"]
    (folder / "weights.bin").write_bytes(MODEL["weights.bin"])
    (folder / "run.sh").chmod(0o644)
    report = world.check(str(folder), record=record)
    (difference,) = report.findings[2].differences
    assert difference.path == "model.manifest"
    assert report.exit_code() == 1
