"""How a file looks, and that no change of it, alone or among others, goes unseen."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hashed import hashed
from support.settling import settle

from mllock.core.digest import sha256_of
from mllock.core.tree import Entry
from mllock.data import hashing, remembered
from mllock.data.remembered import Remembered
from mllock.data.scan import scan
from mllock.data.statcache import Row, StatCache, look_of, row_of, rows_of
from mllock.errors import DataError
from mllock.spec.types import DataSource

__all__ = ["hashed"]

FOLDER = DataSource(source="data")
FIELDS = ("mode", "size", "mtime", "ctime", "inode", "device")

WORD = st.text("ab./\0é", max_size=3)
NUMBER = st.integers(-(2**63), 2**64 - 1)
ROW = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)
SEEN = st.lists(st.tuples(WORD, ROW), max_size=3)


def facts(project: Path) -> str:
    found = Remembered(project, project / ".mllock").facts(project / "data", FOLDER)
    assert (found.files, found.size) == counted(project)
    return found.digest


def counted(project: Path) -> tuple[int, int]:
    found = (project / "data").rglob("*")
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    return len(files), sum(path.stat().st_size for path in files)


def changed_meanwhile(project: Path) -> None:
    with pytest.raises(DataError) as caught:
        facts(project)
    assert str(caught.value) == (
        "data/sub: changed while it was hashed\n"
        "hint: wait until nothing writes to it, then run the same command again"
    )


def read(project: Path) -> str:
    return scan(project / "data", name="data").digest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for name in ("a.csv", "b.csv", "sub/c.csv", "sub/d.csv", "sub/deep/e.csv"):
        path = project / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    settle(project)
    return project


def status(*visible: int, mtime: int = 7, ctime: int = 8) -> os.stat_result:
    times = {"st_atime_ns": 1, "st_mtime_ns": mtime, "st_ctime_ns": ctime}
    return os.stat_result((*visible, 0, 0, 0), times)


def test_a_row_is_these_six_and_nothing_else() -> None:
    # mode, inode, device, links, user, group, size
    first = row_of(status(1, 2, 3, 4, 5, 6, 9))
    assert first == (1, 9, 7, 8, 2, 3)
    assert row_of(status(1, 2, 3, 40, 50, 60, 9)) == first
    others = [
        status(10, 2, 3, 4, 5, 6, 9),
        status(1, 2, 3, 4, 5, 6, 90),
        status(1, 2, 3, 4, 5, 6, 9, mtime=70),
        status(1, 2, 3, 4, 5, 6, 9, ctime=80),
        status(1, 20, 3, 4, 5, 6, 9),
        status(1, 2, 30, 4, 5, 6, 9),
    ]
    changed = [
        [index for index in range(6) if row_of(other)[index] != first[index]] for other in others
    ]
    assert changed == [[0], [1], [2], [3], [4], [5]]


@given(WORD, SEEN, WORD, SEEN)
def test_two_looks_are_equal_if_what_was_seen_is(
    folder: str, seen: list[tuple[str, Row]], other: str, others: list[tuple[str, Row]]
) -> None:
    def look(folder: str, seen: list[tuple[str, Row]]) -> bytes:
        return look_of(folder, [name for name, _ in seen], [row for _, row in seen])

    one = look(folder, seen)
    names, rows = rows_of(one)
    assert list(zip(names, rows, strict=True)) == seen
    assert (one == look(other, others)) == ((folder, seen) == (other, others))


@settings(max_examples=60)
@given(st.lists(st.tuples(WORD, SEEN), max_size=3), st.lists(st.tuples(WORD, SEEN), max_size=3))
def test_nor_can_a_row_of_looks_be_taken_for_another(
    one: list[tuple[str, list[tuple[str, Row]]]], other: list[tuple[str, list[tuple[str, Row]]]]
) -> None:
    """The digest of a source is over looks without anything between them."""

    def together(folders: list[tuple[str, list[tuple[str, Row]]]]) -> bytes:
        return b"".join(
            look_of(folder, [name for name, _ in seen], [row for _, row in seen])
            for folder, seen in folders
        )

    assert (together(one) == together(other)) == (one == other)


@pytest.mark.parametrize("way", ["by the line of the source", "by the list of files"])
@pytest.mark.parametrize("field", range(6), ids=FIELDS)
def test_each_part_of_a_look_that_changes_alone_is_seen(
    field: int, way: str, project: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the one file is read, nothing else."""
    first = facts(project)
    hashed.clear()
    assert facts(project) == first
    assert hashed == []
    if way == "by the list of files":
        (project / ".mllock/trees.json").unlink()
    inode = (project / "data/sub/c.csv").stat().st_ino

    def other(status: os.stat_result) -> Row:
        row = list(row_of(status))
        row[field] -= status.st_ino == inode
        return tuple(row)  # type: ignore[return-value] # six, as it was

    monkeypatch.setattr(remembered, "row_of", other)
    found = Remembered(project, project / ".mllock").facts(project / "data", FOLDER)
    assert found.digest == first
    assert hashed == ["c.csv"]


def test_a_cache_of_an_older_form_is_an_empty_one(project: Path, hashed: list[str]) -> None:
    first = facts(project)
    state = project / ".mllock"
    for name, now, before in (
        ("stat-cache", b"mllock-stat-cache\t3\n", b"mllock-stat-cache\t2\n"),
        ("trees.json", b'"version": 2', b'"version": 1'),
    ):
        content = (state / name).read_bytes()
        assert now in content
        (state / name).write_bytes(content.replace(now, before))
    hashed.clear()
    assert facts(project) == first
    assert len(hashed) == 5


NAMES = ("a", "b", "sub/a", "sub/c", "sub/deep/d", "other/e")
Step = tuple[str, str, str]


def write(root: Path, one: str, other: str) -> None:
    (root / one).parent.mkdir(parents=True, exist_ok=True)
    (root / one).write_text(other)


def same_times(root: Path, one: str, other: str) -> None:
    """Other bytes of the same number, and the time that it had."""
    if (root / one).is_file():
        before = (root / one).stat()
        (root / one).write_text("".join(chr(ord(char) ^ 1) for char in (root / one).read_text()))
        os.utime(root / one, ns=(before.st_atime_ns, before.st_mtime_ns))


def old(root: Path, one: str, other: str) -> None:
    """A time of its own, as programs that unpack set it."""
    if (root / one).is_file():
        os.utime(root / one, ns=(10**9, 10**9))


def future(root: Path, one: str, other: str) -> None:
    if (root / one).is_file():
        os.utime(root / one, (time.time() + 3600, time.time() + 3600))


def swap(root: Path, one: str, other: str) -> None:
    if (root / one).is_file() and (root / other).is_file() and one != other:
        (root / one).rename(root / "t")
        (root / other).rename(root / one)
        (root / "t").rename(root / other)


def rename(root: Path, one: str, other: str) -> None:
    if (root / one).is_file():
        (root / other).parent.mkdir(parents=True, exist_ok=True)
        (root / one).rename(root / other)


def move(root: Path, one: str, other: str) -> None:
    """A whole folder."""
    place, to = (root / one).parent, root / f"moved-{other.replace('/', '-')}"
    if place != root and place.is_dir() and not to.exists():
        place.rename(to)


def remove(root: Path, one: str, other: str) -> None:
    (root / one).unlink(missing_ok=True)


def mode(root: Path, one: str, other: str) -> None:
    if (root / one).is_file():
        (root / one).chmod((root / one).stat().st_mode ^ 0o100)


def link(root: Path, one: str, other: str) -> None:
    (root / "link").unlink(missing_ok=True)
    if (root / one).is_file():
        (root / "link").symlink_to(one)


STEPS: dict[str, Callable[[Path, str, str], None]] = {
    step.__name__: step
    for step in (write, same_times, old, future, swap, rename, move, remove, mode, link)
}


def outcome(look: Callable[[Path], str], project: Path) -> str:
    """The digest, or what is said of a link that leads nowhere."""
    try:
        return look(project)
    except DataError as error:
        return str(error)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(list(STEPS)), st.sampled_from(NAMES), st.sampled_from(NAMES)),
            min_size=1,
            max_size=3,
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_whatever_is_done_the_answer_is_that_of_reading(
    rounds: list[list[Step]], settled: bool
) -> None:
    """Also within one tick of the clock of the file system, which shows nowhere."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        for path in NAMES:
            write(project / "data", path, path)
        for steps in ([], *rounds):
            for step, one, other in steps:
                STEPS[step](project / "data", one, other)
            if settled:
                settle(project)
            assert outcome(facts, project) == outcome(read, project)
            assert outcome(facts, project) == outcome(read, project)


def test_a_copy_with_all_its_times_is_another_look(
    project: Path, tmp_path: Path, hashed: list[str]
) -> None:
    facts(project)
    shutil.copytree(project, tmp_path / "copy")
    hashed.clear()
    facts(tmp_path / "copy")
    assert sorted(hashed) == ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv"]


@pytest.mark.parametrize("moved", ["mtime", "ctime"])
def test_either_time_of_a_file_keeps_it_from_being_believed(moved: str, tmp_path: Path) -> None:
    """A program may set the time of modification back in the very tick in which it writes."""
    cache = StatCache(tmp_path)
    cache.begin()
    entry = Entry(kind="f", path="a", size=1, digest=sha256_of(b"a"))
    device = tmp_path.stat().st_dev
    future = time.time_ns() + 10**12
    assert cache.may_believe((0o100644, 1, 1, 1, 1, device), entry)
    row = (0o100644, 1, *((future, 1) if moved == "mtime" else (1, future)), 1, device)
    assert not cache.may_believe(row, entry)


def test_a_file_that_grows_between_its_look_and_its_hash(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what was read, in all that is said of it, and is not believed later."""
    real = hashing.hash_file

    def grown(path: bytes, *rest: object) -> object:
        if path.endswith(b"/c.csv"):
            with open(path, "ab") as file:
                file.write(b"more")
        return real(path, *rest)  # type: ignore[arg-type] # passed through

    with monkeypatch.context() as patched:
        patched.setattr(hashing, "hash_file", grown)
        first = facts(project)
    assert first == read(project)
    assert not (project / ".mllock/trees.json").exists()
    assert facts(project) == first


@pytest.mark.parametrize("known", [True, False])
def test_a_folder_that_changes_while_it_is_looked_at(
    known: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if known:
        facts(project)
    inode = (project / "data/sub/c.csv").stat().st_ino

    def meanwhile(status: os.stat_result) -> Row:
        if status.st_ino == inode:
            (project / "data/sub/new.csv").touch()
        return row_of(status)

    monkeypatch.setattr(remembered, "row_of", meanwhile)
    changed_meanwhile(project)


def test_a_file_that_goes_while_its_folder_is_looked_at(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [entry.name for entry in os.scandir(project / "data/sub") if entry.is_file()]
    first = (project / "data/sub" / names[0]).stat().st_ino

    def meanwhile(status: os.stat_result) -> Row:
        if status.st_ino == first:
            (project / "data/sub" / names[1]).unlink()
        return row_of(status)

    monkeypatch.setattr(remembered, "row_of", meanwhile)
    changed_meanwhile(project)
