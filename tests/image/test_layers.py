"""Layers in the cache, groups of wheels, the project's own files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.locks import make_lock
from support.nodes import file, folder, members, symlink
from support.reporter import Recorder
from support.wheels import make_wheel, wheel_name

from mllock.core import canonical
from mllock.core.digest import hex_of, sha256_of
from mllock.core.tree import Entry, TreeManifest
from mllock.errors import ArchiveError, LockError
from mllock.image.folder import code_nodes, model_nodes, record_nodes
from mllock.image.layers import cached_layer, find_layer, make_layer, recall, remember
from mllock.image.overlaps import check_conflicts
from mllock.image.python import PythonGroup, group_nodes, merge, python_groups
from mllock.image.resolve import refuse_reserved, with_parents
from mllock.image.wheel import Prefix
from mllock.lock.types import PythonPackage, Wheel
from mllock.store.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", Recorder())


def never():
    raise AssertionError("the cache has it")


def test_a_layer_is_made_once(cache: Cache) -> None:
    key = {"wheels": ["sha256:1"]}
    made = cached_layer(cache, "python", "one", key, lambda: [file("a", b"x")])
    again = cached_layer(cache, "python", "one", key, never)
    assert again == made
    blob = cache.get(made.digest)
    assert blob is not None
    data = blob.read_bytes()
    assert (len(data), sha256_of(data)) == (made.size, made.digest)
    assert members(data)["a"][1] == b"x"
    # The title is for people: another one is the same layer.
    assert find_layer(cache, "python", "two", key).digest == made.digest
    assert find_layer(cache, "base", "one", key) is None
    assert find_layer(cache, "python", "one", key | {"prefix": "x"}) is None


def test_a_damaged_layer_is_made_again(cache: Cache) -> None:
    key = {"wheels": []}
    made = cached_layer(cache, "python", "t", key, lambda: [file("a")])
    blob = cache.blob_path(made.digest)
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    assert find_layer(cache, "python", "t", key) is None
    assert cached_layer(cache, "python", "t", key, lambda: [file("a")]) == made


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[]", b"null", b"{", b'{"key":{},"layer":{}}', b"\xff"]
)
def test_a_damaged_entry_is_as_good_as_none(cache: Cache, damage: bytes) -> None:
    key = {"wheels": []}
    made = cached_layer(cache, "python", "t", key, lambda: [file("a")])
    (entry,) = cache.folder("layers").iterdir()
    entry.write_bytes(damage)
    assert find_layer(cache, "python", "t", key) is None
    assert cached_layer(cache, "python", "t", key, lambda: [file("a")]) == made


def give_away(entry: Path) -> None:
    os.chown(entry, 12345, 12345)


def as_somebody_else(entry: Path) -> None:
    entry.chmod(0o666)


def behind_a_link(entry: Path) -> None:
    entry.rename(entry.with_name("moved"))
    entry.symlink_to("moved")


def a_fifo(entry: Path) -> None:
    entry.unlink()
    os.mkfifo(entry)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(
            give_away, marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root to chown")
        ),
        as_somebody_else,
        behind_a_link,
        a_fifo,
    ],
)
def test_an_entry_that_others_may_have_written_is_as_good_as_none(
    cache: Cache, written: Callable[[Path], None]
) -> None:
    """Blobs are known by digest; which blob is the right one, nobody else may say."""
    key, other = {"wheels": ["sha256:1"]}, {"wheels": ["sha256:2"]}
    evil = cached_layer(cache, "python", "t", other, lambda: [file("a", b"evil")])
    (entry,) = cache.folder("layers").iterdir()
    good = cached_layer(cache, "python", "t", key, lambda: [file("a", b"good")])
    (mine,) = set(cache.folder("layers").iterdir()) - {entry}
    forged = json.loads(mine.read_bytes())
    forged["value"] = json.loads(entry.read_bytes())["value"]
    mine.write_bytes(canonical.dumps(forged))
    # Whoever is this user can say so: there is nothing that this user could not do.
    assert find_layer(cache, "python", "t", key) == evil
    written(mine)
    assert find_layer(cache, "python", "t", key) is None
    assert cached_layer(cache, "python", "t", key, lambda: [file("a", b"good")]) == good


def test_a_note_that_others_may_have_written_is_none(cache: Cache) -> None:
    assert recall(cache, "fine", {"wheels": []}) is None
    remember(cache, "fine", {"wheels": []}, {"a": ["b"]})
    assert recall(cache, "fine", {"wheels": []}) == {"a": ["b"]}
    assert recall(cache, "fine", {"wheels": ["sha256:1"]}) is None
    assert recall(cache, "better", {"wheels": []}) is None
    (entry,) = cache.folder("layers").iterdir()
    entry.chmod(0o664)
    assert recall(cache, "fine", {"wheels": []}) is None


def test_an_entry_of_another_key_under_this_name_is_none(cache: Cache) -> None:
    key, other = {"wheels": ["sha256:1"]}, {"wheels": ["sha256:2"]}
    cached_layer(cache, "python", "t", other, lambda: [file("a", b"other")])
    (entry,) = cache.folder("layers").iterdir()
    cached_layer(cache, "python", "t", key, lambda: [file("a")])
    (mine,) = set(cache.folder("layers").iterdir()) - {entry}
    entry.rename(mine)
    assert find_layer(cache, "python", "t", key) is None


def test_a_layer_that_fails_leaves_nothing(cache: Cache) -> None:
    with pytest.raises(ArchiveError):
        make_layer(cache, "code", "t", [file("b", b"x" * 3_000_000), file("a"), file("a")])
    assert [path for path in cache.root.rglob("*") if path.is_file()] == []


# ----- Python layers -----


def package(tmp_path: Path, name: str, files: dict[str, bytes], version: str = "1.0"):
    data = make_wheel(name, version, files)
    file_name = wheel_name(name, version)
    path = tmp_path / file_name
    path.write_bytes(data)
    wheel = Wheel(
        name=file_name,
        path=f"wheels/{file_name}",
        size=len(data),
        hashes={"sha256": hex_of(sha256_of(data))},
    )
    return PythonPackage(name=name, version=version, wheels=(wheel,)), {file_name: path}


def group(*packages: PythonPackage, frame: bool = False) -> PythonGroup:
    return PythonGroup(
        packages=packages,
        prefix=Prefix(),
        python="3.11.2",
        base_interpreter="/usr/bin/python3.11",
        frame=frame,
    )


def test_the_first_layer_is_a_virtual_environment(tmp_path: Path) -> None:
    nodes = {n.path: n for n in merge(group_nodes(group(frame=True), {}))}
    assert sorted(nodes) == [
        "opt",
        "opt/venv",
        "opt/venv/bin",
        "opt/venv/bin/python",
        "opt/venv/bin/python3",
        "opt/venv/bin/python3.11",
        "opt/venv/lib",
        "opt/venv/lib/python3.11",
        "opt/venv/lib/python3.11/site-packages",
        "opt/venv/pyvenv.cfg",
    ]
    assert nodes["opt/venv/bin/python"].target == "/usr/bin/python3.11"
    assert nodes["opt/venv/pyvenv.cfg"].content.data == (
        b"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n"
        b"executable = /usr/bin/python3.11\n"
    )


def test_packages_that_share_a_file_with_the_same_bytes(tmp_path: Path) -> None:
    one, wheels = package(tmp_path, "one", {"space/__init__.py": b"", "space/one.py": b"1"})
    two, more = package(tmp_path, "two", {"space/__init__.py": b"", "space/two.py": b"2"})
    owned = group_nodes(group(one, two), wheels | more)
    check_conflicts(owned)
    assert len([n for n in merge(owned) if n.path.endswith("space/__init__.py")]) == 1


@pytest.mark.parametrize(
    ("left", "right", "path", "how"),
    [
        ({"x.py": b"1"}, {"x.py": b"2"}, "x.py", "with different bytes"),
        ({"x": b"1"}, {"x/y.py": b"2"}, "x", "as a file and as a folder"),
        ({"x/y.py": b"1"}, {"x": b"2"}, "x", "as a file and as a folder"),
    ],
)
def test_packages_that_disagree(tmp_path: Path, left, right, path, how) -> None:
    one, wheels = package(tmp_path, "one", left)
    two, more = package(tmp_path, "two", right)
    with pytest.raises(ArchiveError) as caught:
        check_conflicts(group_nodes(group(one, two), wheels | more))
    names = "two and one" if "x" in left and "x/y.py" not in left and how.startswith("as") else ""
    names = names or "one and two"
    assert sorted(names.split(" and ")) == ["one", "two"]
    assert caught.value.message.endswith(f"both install this path, {how}")
    assert {"one", "two"} <= set(caught.value.message.split())
    assert caught.value.key == f"opt/venv/lib/python3.11/site-packages/{path}"
    assert caught.value.hint == (
        "leave one of the two out of [environment] dependencies"
        if how.startswith("as")
        else "say whose file stays, one's or two's, in [environment] of mlproject.toml: "
        'overlaps = [{ path = "x.py", keep = "one" }]'
    )


def test_a_package_that_replaces_the_interpreter(tmp_path: Path) -> None:
    one, wheels = package(tmp_path, "one", {"one-1.0.data/scripts/python": b"#!/bin/sh\n"})
    with pytest.raises(ArchiveError) as caught:
        check_conflicts(group_nodes(group(one, frame=True), wheels))
    assert caught.value.message == (
        "the virtual environment and one both install this path, with different bytes"
    )
    assert caught.value.key == "opt/venv/bin/python"


def test_every_package_has_one_layer() -> None:
    lock = make_lock()
    names = [p.name for g in python_groups(lock) for p in g.packages]
    assert sorted(names) == [p.name for p in lock.python.packages]
    assert [g.frame for g in python_groups(lock)][:1] == [True]
    from msgspec.structs import replace

    for groups in (lock.layers.python[:-1], (*lock.layers.python, *lock.layers.python)):
        broken = replace(lock, layers=replace(lock.layers, python=groups))
        with pytest.raises(LockError) as caught:
            python_groups(broken)
        assert str(caught.value) == (
            "mlproject.lock: layers.python: the Python layers do not hold each package once\n"
            'hint: run "mllock lock"'
        )


def test_titles_and_keys(tmp_path: Path) -> None:
    packages = [package(tmp_path, name, {f"{name}.py": b""})[0] for name in "abcde"]
    assert group(*packages).title == "a, b, c and 2 more"
    assert group(*packages[:2]).title == "a, b"
    assert group().title == "no packages"
    assert "frame" not in group(*packages).key
    assert group(*packages, frame=True).key["frame"] == {
        "python": "3.11.2",
        "interpreter": "/usr/bin/python3.11",
    }


# ----- resolve and folder -----


def test_parents_are_explicit() -> None:
    nodes = {n.path: n for n in with_parents([file("a/b/c"), folder("a", 0o700)])}
    assert {path: node.mode for path, node in nodes.items()} == {
        "a/b/c": 0o644,
        "a/b": 0o755,
        "a": 0o700,
    }
    with pytest.raises(ArchiveError) as caught:
        with_parents([file("a"), file("a/b")])
    assert str(caught.value) == "a: a layer holds this path as a folder and as a file"
    with pytest.raises(ArchiveError) as caught:
        with_parents([symlink("a", "b"), file("a/b")])
    with pytest.raises(ArchiveError) as caught:
        with_parents([file("a"), file("a")])
    assert str(caught.value) == "a: a layer holds this path twice"


def test_paths_of_mllocks_own() -> None:
    refuse_reserved([folder("opt"), folder("opt/other"), file("application")])
    for node in (folder("app"), file("opt/venv/x"), folder("opt/mllock")):
        with pytest.raises(ArchiveError) as caught:
            refuse_reserved([node])
        assert str(caught.value) == f"{node.path}: a Debian package holds a path of mllock's own"
    with pytest.raises(ArchiveError) as caught:
        refuse_reserved([symlink("opt", "usr/opt")])
    assert str(caught.value) == "opt: a Debian package makes this path something else"


def tree(*entries: Entry) -> TreeManifest:
    return TreeManifest.of(entries)


DIGEST = sha256_of(b"")


def test_code(tmp_path: Path) -> None:
    manifest = tree(
        Entry(kind="f", path="train.py", digest=DIGEST),
        Entry(kind="x", path="bin/run.sh", digest=DIGEST),
        Entry(kind="l", path="link", target="train.py"),
        Entry(kind="d", path="empty"),
    )
    serve = {n.path: (n.kind, n.mode) for n in code_nodes(tmp_path, manifest)}
    assert serve == {
        "app": ("folder", 0o755),
        "app/train.py": ("file", 0o644),
        "app/bin": ("folder", 0o755),
        "app/bin/run.sh": ("file", 0o755),
        "app/link": ("symlink", 0o777),
        "app/empty": ("folder", 0o755),
    }
    train = {
        n.path: n.mode for n in code_nodes(tmp_path, manifest, ("out/deep/model", "metrics.json"))
    }
    assert {p: m for p, m in train.items() if m == 0o1777} == {
        "app": 0o1777,
        "app/out": 0o1777,
        "app/out/deep": 0o1777,
    }


def test_a_model_that_is_one_file(tmp_path: Path) -> None:
    manifest = tree(Entry(kind="f", path=".", digest=DIGEST))
    nodes = {n.path: n for n in model_nodes(tmp_path / "model.bin", manifest, "out/model.bin")}
    assert sorted(nodes) == ["app", "app/out", "app/out/model.bin"]
    assert nodes["app/out/model.bin"].content.path == tmp_path / "model.bin"


def test_record_files() -> None:
    nodes = record_nodes({"b": b"2", "a": b"1"})
    assert sorted(n.path for n in nodes) == ["opt", "opt/mllock", "opt/mllock/a", "opt/mllock/b"]
