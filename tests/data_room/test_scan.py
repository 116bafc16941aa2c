"""Scanning: the digest is of the content, whatever the disk, the cores and the hostile say."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mllock.core.digest import sha256_of
from mllock.core.tree import TreeManifest
from mllock.data import hashing, worker
from mllock.data.scan import scan
from mllock.errors import DataError, SurroundingsError

HINT = "\nhint: "


def fill(root: Path, files: dict[str, bytes]) -> Path:
    root.mkdir(exist_ok=True)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def lines(manifest: TreeManifest) -> list[str]:
    return [f"{entry.kind} {entry.path}" for entry in manifest.entries]


def refusal(root: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        scan(root, name="data/raw", **options)  # type: ignore[arg-type] # options of any test
    return str(caught.value)


def test_a_folder(tmp_path: Path) -> None:
    root = fill(tmp_path / "t", {"b": b"2", "a/c": b"33", "a.x": b""})
    (root / "empty" / "inner").mkdir(parents=True)
    (root / "run").write_bytes(b"#!")
    (root / "run").chmod(0o700)
    (root / "link").symlink_to("a")
    manifest = scan(root, name="t")
    assert lines(manifest) == ["f a.x", "f a/c", "f b", "d empty/inner", "l link", "x run"]
    assert manifest.entries[1].digest == sha256_of(b"33")
    assert (manifest.files, manifest.size) == (4, 5)


def test_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert lines(scan(tmp_path / "a", name="a")) == ["f ."]
    (tmp_path / "a").chmod(0o755)
    assert lines(scan(tmp_path / "a", name="a")) == ["x ."]


def test_nothing(tmp_path: Path) -> None:
    assert scan(tmp_path, name="t").text() == b"mllock-tree\t1\n"


def test_sizes_around_the_buffers(tmp_path: Path) -> None:
    sizes = {
        f"{edge + offset}": os.urandom(edge + offset)
        for edge in (worker.BUFFER, 64 * 1024, 2 * worker.BUFFER)
        for offset in (-1, 0, 1)
    }
    root = fill(tmp_path / "t", sizes)
    for workers in (1, 2):
        manifest = scan(root, name="t", workers=workers)
        assert {e.path: e.digest for e in manifest.entries} == {
            name: sha256_of(data) for name, data in sizes.items()
        }


TREES = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "ü", "C.txt", "-"]), min_size=1, max_size=3).map("/".join),
    st.binary(max_size=20),
    max_size=6,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(TREES, st.data())
def test_moved_is_equal_and_changed_is_not(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes], data: st.DataObject
) -> None:
    tree = {k: v for k, v in tree.items() if not any(o.startswith(k + "/") for o in tree)}
    base = tmp_path_factory.mktemp("law")
    one = fill(base / "one", tree)
    (base / "elsewhere").mkdir()
    two = fill(base / "elsewhere" / "two", dict(reversed(tree.items())))
    manifest = scan(one, name="one")
    assert TreeManifest.of(manifest.entries) == manifest
    digest = manifest.digest
    assert scan(two, name="two", workers=1).digest == digest
    one.rename(base / "three")
    assert scan(base / "three", name="three").digest == digest
    if not tree:
        return
    path = two / data.draw(st.sampled_from(sorted(tree)))
    match data.draw(st.sampled_from(["byte", "name", "exec", "remove", "add", "folder"])):
        case "byte":
            path.write_bytes(path.read_bytes() + b"x")
        case "name":
            path.rename(path.with_name("renamed"))
        case "exec":
            path.chmod(0o755)
        case "remove":
            path.unlink()
        case "add":
            (path.parent / "added").touch()
        case "folder":
            (path.parent / "added").mkdir()
    assert scan(two, name="two").digest != digest


def test_times_modes_and_hard_links_do_not_count(tmp_path: Path) -> None:
    root = fill(tmp_path / "t", {"a": b"1", "b": b"1"})
    digest = scan(root, name="t").digest
    os.utime(root / "a", (0, 0))
    (root / "a").chmod(0o666)
    (root / "b").unlink()
    os.link(root / "a", root / "b")
    assert scan(root, name="t").digest == digest


def test_many_files_are_hashed_by_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_FEW", 50)
    files = {f"{number % 7}/n{number} ü": bytes([number % 256]) * number for number in range(900)}
    files["large"] = bytes(worker.LIMIT + 1)
    root = fill(tmp_path / "t", files)
    expected = scan(root, name="t", workers=1)
    assert scan(root, name="t", workers=3) == expected
    assert scan(root, name="t", workers=2) == expected
    monkeypatch.setattr(hashing.sys, "executable", "")
    assert scan(root, name="t", workers=2) == expected


def test_a_program_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_FEW", 5)
    monkeypatch.setattr(hashing.sys, "executable", "/bin/true")
    root = fill(tmp_path / "t", {f"{number}": b"" for number in range(20)})
    with pytest.raises(SurroundingsError) as caught:
        scan(root, name="t", workers=2)
    assert str(caught.value) == (
        "a hashing process ended early"
        "\nhint: look for a memory limit, then run the same command again"
    )


def test_an_error_in_the_walk_ends_the_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_FEW", 5)
    root = fill(tmp_path / "t", {f"a/{number}": b"" for number in range(20)})
    os.mkfifo(root / "a" / "pipe")
    assert refusal(root, workers=2).startswith("data/raw/a/pipe: a named pipe, not a file")


def test_the_locale_does_not_matter(tmp_path: Path) -> None:
    """Names are bytes: a Python that decodes them otherwise sees the same tree."""
    root = fill(tmp_path / "t", {"ü": b"1"})
    code = (
        "import pathlib, mllock.data.scan as s; "
        f"print(s.scan(pathlib.Path({str(root)!r}), name='t').digest)"
    )
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert said.stdout.decode().strip() == scan(root, name="t").digest


def test_patterns(tmp_path: Path) -> None:
    root = fill(tmp_path / "t", {"a.csv": b"", "b.txt": b"", "c/d.csv": b"", "tmp/e.csv": b""})
    (root / "empty").mkdir()
    assert lines(scan(root, include=["**/*.csv"], exclude=["tmp"], name="t")) == [
        "f a.csv",
        "f c/d.csv",
    ]
    assert lines(scan(root, include=["**"], exclude=["**/*.csv"], name="t")) == ["f b.txt"]
    assert lines(scan(root, include=["nothing"], name="t")) == []


def test_what_is_left_out_is_not_looked_at(tmp_path: Path) -> None:
    root = fill(tmp_path / "t", {"a": b"", "x/b": b""})
    os.mkfifo(root / "x" / "pipe")
    (root / "out").symlink_to("/")
    os.mkdir(os.fsencode(root / "x") + b"/\xff")
    assert lines(scan(root, exclude=["x", "out"], name="t")) == ["f a"]


def test_wrong_pattern(tmp_path: Path) -> None:
    assert refusal(tmp_path, include=["a//b"]) == "data/raw: \"\" in pattern 'a//b'"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "pipe":
        os.mkfifo("x")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("x")
    else:
        os.mknod("x", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    what = {"pipe": "a named pipe", "socket": "a socket", "device": "a device"}[kind]
    assert refusal(tmp_path) == f"data/raw/x: {what}, not a file{HINT}remove it, or exclude it"
    assert refusal(tmp_path / "x") == "data/raw: neither a file nor a folder"


@pytest.mark.parametrize("target", ["/etc", "../x", "a/../../x", "a/..", "\udcff", "a\x1b"])
def test_links_that_leave(tmp_path: Path, target: str) -> None:
    root = fill(tmp_path / "t", {"a/b": b""})
    (root / "link").symlink_to(target)
    shown = target.replace("\udcff", "\\udcff").replace("\x1b", "\\x1b")
    assert refusal(root) == (
        f"data/raw/link: a link that does not stay in the folder\nfound: {shown}{HINT}"
        "put a copy of what it leads to in its place, or exclude it"
    )


def test_links_to_nothing_or_to_what_is_left_out(tmp_path: Path) -> None:
    root = fill(tmp_path / "t", {"a": b"", "b": b""})
    (root / "link").symlink_to("a")
    assert lines(scan(root, name="t")) == ["f a", "f b", "l link"]
    text = "data/raw: link 'link' leads to what is not in the tree: 'a'"
    assert refusal(root, exclude=["a"]) == f"{text}{HINT}rename, remove or exclude it"
    (root / "a").unlink()
    assert refusal(root) == f"{text}{HINT}rename, remove or exclude it"


def test_the_root_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(".")
    assert refusal(tmp_path / "link") == (
        f"data/raw: a link, not a file or folder{HINT}name what it leads to"
    )


def test_nothing_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing") == "data/raw: no such file or folder"


@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        (b"a\xff", "a\\udcff", "the name is not UTF-8"),
        (b"a\x1b[31m", "a\\x1b[31m", "a name that is not portable: character U+001B in path"),
        (b"a\n", "a\\n", "a name that is not portable: character U+000A in path"),
        (b"a\\b", "a\\b", "a name that is not portable: backslash in path"),
        ("a\u202eb".encode(), "a\\u202eb", "a name that is not portable: character U+202E in path"),
    ],
)
def test_hostile_names(tmp_path: Path, name: bytes, shown: str, reason: str) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path) + b"/in/" + name, "wb"):
        pass
    hint = "rename it" if "UTF-8" in reason else "rename it, or exclude it"
    assert refusal(tmp_path) == f"data/raw/in/{shown}: {reason}{HINT}{hint}"


@pytest.mark.parametrize(("one", "two"), [("a.csv", "A.csv"), ("\u00e9", "e\u0301"), ("ss", "ß")])
@pytest.mark.parametrize("folder", ["", "in/"])
def test_collisions(tmp_path: Path, one: str, two: str, folder: str) -> None:
    root = fill(tmp_path / "t", {folder + one: b"", folder + two: b""})
    first, second = sorted([one, two])
    assert refusal(root) == (
        f"data/raw/{folder}{first}: the same name as {second!r} on some file systems"
        f"{HINT}rename one of them"
    )


def test_folders_collide_as_well(tmp_path: Path) -> None:
    root = fill(tmp_path / "t", {"Train/1": b"", "train/2": b""})
    assert "data/raw/Train: the same name as 'train'" in refusal(root)


CHANGED = (
    f"changed while it was hashed{HINT}"
    "wait until nothing writes to it, then run the same command again"
)


@pytest.mark.parametrize("how", ["grow", "shrink", "touch"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    root = fill(tmp_path / "t", {"a": bytes(3 * worker.BUFFER)})
    real = os.readv
    calls = []

    def readv(descriptor: int, buffers: object) -> int:
        calls.append(1)
        # The first call only finds out that the file is large.
        if len(calls) == 3:
            match how:
                case "grow":
                    os.truncate(root / "a", 4 * worker.BUFFER)
                case "shrink":
                    os.truncate(root / "a", 10)
                case "touch":
                    os.utime(root / "a", (0, 0))
        return real(descriptor, buffers)  # type: ignore[arg-type] # passed through

    monkeypatch.setattr(os, "readv", readv)
    assert refusal(root) == f"data/raw/a: {CHANGED}"


@pytest.mark.parametrize("how", ["add", "remove", "replace", "gone"])
def test_a_folder_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    root = fill(tmp_path / "t", {"in/a": b"1", "in/b": b"2"})
    real = hashing.hash_file

    def hash_file(path: bytes, *rest: object) -> object:
        result = real(path, *rest)  # type: ignore[arg-type] # passed through
        match how:
            case "add":
                (root / "in" / "c").touch()
            case "remove":
                (root / "in" / "b").unlink(missing_ok=True)
            case "replace" if not (tmp_path / "old").exists():
                (root / "in").rename(tmp_path / "old")
                fill(root / "in", {"a": b"1", "b": b"2"})
            case "gone" if (root / "in").exists() and path.endswith(b"b"):
                (root / "in").rename(tmp_path / "old")
        return result

    os.utime(root / "in", (1, 1))
    monkeypatch.setattr(hashing, "hash_file", hash_file)
    said = refusal(root)
    assert said in (
        f"data/raw/in: {CHANGED}",
        f"data/raw: {CHANGED}",
        "data/raw/in/b: cannot be read: no such file or directory",
        "data/raw/in/a: cannot be read: no such file or directory",
    )


def test_a_sparse_giant_is_bounded_and_read_as_zeros(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as file:
        file.truncate(64 << 20)
    assert scan(tmp_path, name="t").entries[0].digest == sha256_of(bytes(64 << 20))


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every mode is readable, so the answer of the system is what is replaced."""
    root = fill(tmp_path / "t", {"a/b": b""})
    real = os.open

    def refuse(path: object, *rest: object, **options: object) -> int:
        if os.fsencode(path).endswith(name):  # type: ignore[arg-type] # what os.open takes
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **options)  # type: ignore[arg-type] # passed through

    monkeypatch.setattr(os, "open", refuse)
    name = b"/b"
    assert refusal(root) == "data/raw/a/b: cannot be read: permission denied"
    name = b"/a"
    assert refusal(root) == "data/raw/a: cannot be read: permission denied"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as file:
        file.truncate(256 << 20)
    tracemalloc.start()
    try:
        scan(tmp_path, name="t")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
