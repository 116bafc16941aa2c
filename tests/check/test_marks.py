"""What a verifier remembers: laws of a maximum, files that do not read, many at once."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllock.attest.policy import Trust
from mllock.attest.release import Release, Revocations, Revoked
from mllock.attest.release_files import Stated
from mllock.check.marks import Marks, marks_file, read_marks, remember
from mllock.core.digest import sha256_of
from mllock.errors import RunError

NOW = dt.datetime(2026, 11, 25, 22, 0, 0, tzinfo=dt.UTC)
D = sha256_of(b"")


def trust(status: str = "trusted") -> Trust:
    return Trust(status=status, fingerprint="SHA256:x", reason="", payload=b"")


def release(number: int, stage: str = "production", lists: int = 0, **more: object) -> Stated:
    value = Release(
        project="tiny",
        stage=stage,
        number=number,
        run="20261123-081501-k3f9",
        issued=NOW,
        expires=NOW + dt.timedelta(days=1),
        revocations=lists,
        record=D,
        model=D,
        lock=D,
        environment=D,
    )
    digest = sha256_of(f"{stage} {number} {lists}".encode())
    return Stated(**{"name": "x", "digest": digest, "trust": trust(), "release": value} | more)


def revocations(number: int, *runs: str) -> Stated:
    revoked = tuple(
        Revoked(run=run, record=sha256_of(run.encode()), reason="", at=NOW) for run in runs
    )
    value = Revocations(project="tiny", number=number, issued=NOW, revoked=revoked)
    return Stated(name="x", digest=D, trust=trust(), revocations=value)


statements = st.lists(
    st.one_of(
        st.builds(release, st.integers(1, 9), st.sampled_from(["a", "b"]), st.integers(0, 3)),
        st.builds(revocations, st.integers(1, 9), st.sampled_from(["r1", "r2"])),
    )
)
clocks = st.integers(0, 9).map(lambda hours: NOW + dt.timedelta(hours=hours))


@settings(deadline=None)
@given(statements, statements, clocks, clocks)
def test_laws_of_a_maximum(left: list[Stated], right: list[Stated], one: dt.datetime, two) -> None:
    start = Marks(project="tiny")
    there = start.raised(left, one).raised(right, two)
    assert there == start.raised(right, two).raised(left, one)
    assert there == there.raised([*left, *right], one)
    assert there.clock == max(one, two)
    for stated in [*left, *right]:
        if stated.release is not None:
            assert there.stages[stated.release.stage].number >= stated.release.number
            assert there.revocations >= stated.release.revocations
        else:
            assert there.revocations >= stated.revocations.number
            assert all(one.run in there.revoked for one in stated.revocations.revoked)


@pytest.mark.parametrize(
    "stated",
    [
        release(5, trust=trust("expired")),
        release(5, trust=None),
        release(5, problem="the signature does not fit"),
        Stated(name="x", problem="not a signed bundle"),
    ],
)
def test_what_is_not_believed_raises_nothing(stated: Stated) -> None:
    assert Marks(project="tiny").raised([stated], NOW) == Marks(project="tiny", clock=NOW)


def test_another_project_raises_nothing() -> None:
    assert Marks(project="other").raised([release(5)], NOW) == Marks(project="other", clock=NOW)


def test_kept_and_never_lowered(tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    assert read_marks(folder, "tiny") == Marks(project="tiny")
    assert not folder.exists()
    marks = remember(folder, "tiny", [release(5, lists=2), revocations(3, "r1")], NOW)
    path = marks_file(folder, "tiny")
    assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    before = path.read_bytes()
    earlier = NOW - dt.timedelta(days=9)
    assert remember(folder, "tiny", [release(4), revocations(1, "r1")], earlier) == marks
    assert remember(folder, "tiny", [], earlier) == marks
    assert path.read_bytes() == before
    assert read_marks(folder, "tiny") == marks
    assert before == (
        b'{"clock":"2026-11-25T22:00:00Z","project":"tiny","revocations":3,"revoked":{"r1":'
        b'{"reason":"","record":"' + sha256_of(b"r1").encode() + b'"}},"stages":{"production":'
        b'{"number":5,"statement":"' + sha256_of(b"production 5 2").encode() + b'"}},"version":1}\n'
    )
    assert [path.name for path in folder.iterdir()] == ["tiny.json"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"{}", "Object missing required field `version`"),
        (b'{"version":1,"version":1}', "duplicate key 'version'"),
        (b'{"version":2}', "Invalid enum value 2 - at `$.version`"),
        (
            b'{"version":1,"project":"other","clock":"2026-11-25T22:00:00Z","stages":{},'
            b'"revocations":0,"revoked":{}}',
            "it is about project other",
        ),
    ],
)
def test_a_damaged_memory_is_not_an_empty_one(tmp_path: Path, data: bytes, reason: str) -> None:
    path = marks_file(tmp_path, "tiny")
    path.write_bytes(data)
    for look in (
        lambda: read_marks(tmp_path, "tiny"),
        lambda: remember(tmp_path, "tiny", [], NOW),
    ):
        with pytest.raises(RunError) as caught:
            look()
        assert str(caught.value) == (
            f"{path}: what this machine has seen of releases does not read: {reason}\n"
            "hint: bring the file back, or remove it to forget what was seen"
        )
    assert path.read_bytes() == data


def _remember(arguments: tuple[str, int]) -> None:
    folder, number = arguments
    remember(Path(folder), "tiny", [release(number), revocations(number, f"r{number}")], NOW)


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    work = [(str(tmp_path), number) for number in range(1, 13)]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(_remember, work)
    marks = read_marks(tmp_path, "tiny")
    assert marks.stages["production"].number == marks.revocations == 12
    assert sorted(marks.revoked) == sorted(f"r{number}" for number in range(1, 13))
