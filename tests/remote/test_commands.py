"""`mllock data` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.data_server import DataServer
from support.lock_project import LockProject

from mllock.cli.main import run

BODY = b"a,b\n1,2\n"
SHORT = "bbbcfef606ce"


@pytest.fixture
def project(tmp_path: Path, server: DataServer, monkeypatch: pytest.MonkeyPatch) -> LockProject:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    made = LockProject(tmp_path)
    server.put("/test.csv", BODY, '"1"')
    made.write(
        (made.folder / "mlproject.toml").read_text()
        + f'\n[data.test]\nsource = "{server.url}/test.csv"\npath = "data/test.csv"\n'
    )
    monkeypatch.chdir(made.folder)
    made.lock()
    return made


@pytest.fixture
def typed(capsys):
    """Exit code, standard output, standard error."""

    def type_(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["data", *words])
        return code, *capsys.readouterr()

    return type_


def test_status(project: LockProject, server: DataServer, typed) -> None:
    server.asked.clear()
    url = f"{server.url}/test.csv"
    train = f"train  train.csv  as locked; 8 bytes; {SHORT}\n"
    assert typed("status") == (0, f"test   {url}  not here; 8 bytes; {SHORT}\n{train}", "")
    assert server.asked == []
    typed("fetch")
    assert typed("status") == (0, f"test   {url}  as locked; 8 bytes; {SHORT}\n{train}", "")
    (project.folder / "data/test.csv").chmod(0o644)
    (project.folder / "data/test.csv").write_bytes(b"a,b\n1,2\n3,4\n")
    assert typed("status", "test") == (
        1,
        f"test  {url}  changed; 8 bytes; {SHORT}\n"
        "      'data/test.csv' has 12 bytes now, 8 locked\n",
        "",
    )
    (project.folder / "train.csv").unlink()
    assert typed("status", "train") == (1, f"train  train.csv  missing; 8 bytes; {SHORT}\n", "")
    project.change("test.csv", "other.csv")
    assert typed("status", "test") == (1, f"test  {server.url}/other.csv  not locked\n", "")


def test_status_asks_sources(project: LockProject, server: DataServer, typed) -> None:
    url = f"{server.url}/test.csv"
    line = f"test  {url}  not here; 8 bytes; {SHORT}; the source "
    assert typed("status", "test", "--remote")[:2] == (0, f"{line}says it is unchanged\n")
    server.put("/test.csv", BODY, '"2"')
    assert typed("status", "test", "--remote")[:2] == (1, f"{line}has changed\n")
    server.put("/test.csv", BODY, None)
    assert typed("status", "test", "--remote")[:2] == (
        0,
        f"{line}does not say whether it changed\n",
    )
    server.put("/test.csv", BODY + b"1,1\n", None)
    assert typed("status", "test", "--remote")[:2] == (1, f"{line}has changed\n")


def test_fetch(project: LockProject, server: DataServer, typed) -> None:
    server.files.clear()
    path = project.folder / "data/test.csv"
    assert typed("fetch") == (0, "fetched data.test data/test.csv (8 bytes)\n", "")
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o444
    assert [entry.name for entry in path.parent.iterdir()] == ["test.csv"]
    assert typed("fetch", "test") == (0, "current data.test data/test.csv (8 bytes)\n", "")
    assert typed("fetch", "train") == (
        2,
        "",
        "error: data.train is a local source: there is nothing to fetch\n"
        "hint: its files are 'train.csv'\n",
    )
    assert typed("fetch", "tset") == (
        2,
        "",
        "error: mlproject.toml: no data source is named 'tset'\nexpected: test, train\n"
        'hint: did you mean "test"?\n',
    )


def test_what_is_nowhere_else_is_not_replaced(project: LockProject, typed) -> None:
    path = project.folder / "data/test.csv"
    path.parent.mkdir()
    path.write_bytes(b"a month of work\n")
    assert typed("fetch") == (
        2,
        "",
        "error: mlproject.toml:15: data.test.path: 'data/test.csv' is not what is locked, and is "
        'nowhere else\nhint: move it away, or give it up: "mllock data fetch --force test"\n',
    )
    assert path.read_bytes() == b"a month of work\n"
    assert typed("fetch", "--force")[0] == 0
    assert path.read_bytes() == BODY


def test_what_the_cache_has_is_replaced(project: LockProject, server: DataServer, typed) -> None:
    typed("fetch")
    server.put("/test.csv", b"a,b\n3,4\n", '"2"')
    project.lock(by_content=True)
    assert typed("fetch") == (0, "fetched data.test data/test.csv (8 bytes)\n", "")
    assert (project.folder / "data/test.csv").read_bytes() == b"a,b\n3,4\n"


def test_a_path_that_leads_outside(project: LockProject, typed, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (project.folder / "data").symlink_to(tmp_path / "outside")
    assert typed("fetch") == (
        2,
        "",
        "error: mlproject.toml:15: data.test.path: 'data/test.csv' is outside of the project\n"
        "hint: remove the link that leads there, or name another path\n",
    )
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_damaged_cache_is_mended(project: LockProject, server: DataServer, typed) -> None:
    for blob in (project.folder.parent / "cache/blobs").rglob("*"):
        if blob.is_file():
            blob.chmod(0o644)
            blob.write_bytes(b"x" * blob.stat().st_size)
    code, out, err = typed("fetch")
    assert (code, out) == (0, "fetched data.test data/test.csv (8 bytes)\n")
    assert err.count("warning: removed a damaged entry of the cache") >= 1
    assert (project.folder / "data/test.csv").read_bytes() == BODY


def test_verify(project: LockProject, server: DataServer, typed) -> None:
    url = f"{server.url}/test.csv"
    same = f"test   {url}  not here; 8 bytes; {SHORT}; the source has the same bytes\n"
    train = f"train  train.csv  as locked; 8 bytes; {SHORT}\n"
    assert typed("verify")[:2] == (0, same + train)
    # By content, whatever the mark says.
    server.put("/test.csv", b"a,b\n9,9\n", '"1"')
    assert typed("status", "test", "--remote")[0] == 0
    assert typed("verify", "test")[:2] == (
        1,
        f"test  {url}  not here; 8 bytes; {SHORT}; the source has changed\n"
        "      the source has the size that is locked, but other names or bytes\n",
    )
    assert typed("verify", "--here")[0] == 0
    typed("fetch")
    path = project.folder / "data/test.csv"
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"a,b\n9,9\n")
    import os

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert typed("verify", "--here", "test")[:2] == (
        1,
        f"test  {url}  changed; 8 bytes; {SHORT}\n"
        "      'data/test.csv' has the size that is locked, but other names or bytes\n",
    )


def test_verify_keeps_nothing(project: LockProject, server: DataServer, typed) -> None:
    server.put("/test.csv", b"a,b\n9,9\n", '"1"')
    cache = project.folder.parent / "cache"
    before = sorted(path for path in cache.rglob("*") if path.is_file())
    typed("verify", "test")
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == before


def test_diff(project: LockProject, typed) -> None:
    assert typed("diff", "train") == (0, "", "nothing differs from the lock\n")
    (project.folder / "train.csv").write_text("a,b\n")
    assert typed("diff", "train") == (1, "changed  train (8 bytes -> 4 bytes)\n", "")
    (project.folder / "train.csv").write_text("a,b\n3,4\n")
    assert typed("diff", "train") == (1, "changed  train (8 bytes, other bytes)\n", "")
    assert typed("diff", "test") == (1, "", "data.test: 'data/test.csv' is not here\n")


def test_diff_of_a_folder(project: LockProject, typed) -> None:
    folder = project.folder / "images"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_text(name)
    project.change('source = "train.csv"', 'source = "images"')
    project.lock()
    (folder / "a").write_text("aa")
    (folder / "b").unlink()
    (folder / "c").chmod(0o755)
    (folder / "d").write_text("d")
    assert typed("diff", "train")[:2] == (
        1,
        "changed  train/a (1 bytes -> 2 bytes)\nremoved  train/b (1 bytes)\n"
        "changed  train/c (1 bytes -> 1 bytes, executable)\nadded    train/d (1 bytes)\n",
    )
    found = json.loads(typed("diff", "train", "--json")[1])
    assert [item["path"] for item in found[0]["differences"]] == ["a", "b", "c", "d"]
    assert found[0]["differences"][1]["found"] is None


def test_diff_on_another_machine(project: LockProject, typed) -> None:
    (project.folder / "train.csv").write_text("a,b\n")
    for blob in (project.folder.parent / "cache/blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    assert typed("diff", "train") == (
        1,
        "",
        "data.train: 'train.csv' has 4 bytes now, 8 locked; this machine does not know which "
        "files are locked\n",
    )


def test_json(project: LockProject, server: DataServer, typed) -> None:
    (test, train) = json.loads(typed("status", "--json")[1])
    assert test == {
        "name": "test",
        "source": f"{server.url}/test.csv",
        "path": "data/test.csv",
        "state": "not here",
        "source-state": None,
        "reasons": [],
        "locked": {"kind": "file", "files": 1, "size": 8, "tree": train["locked"]["tree"]},
    }
    assert train["state"] == "as locked"


def test_without_a_lock(project: LockProject, typed) -> None:
    project.path.unlink()
    message = 'error: mlproject.lock: no lock here\nhint: make it: "mllock lock"\n'
    for command in ("status", "diff", "fetch", "verify"):
        assert typed(command) == (2, "", message)


def test_what_is_not_locked_is_not_fetched(project: LockProject, server: DataServer, typed) -> None:
    project.change("test.csv", "other.csv")
    for command in ("fetch", "diff"):
        assert typed(command, "test") == (
            2,
            "",
            "error: mlproject.lock: data.test: this source is not locked as the spec has it\n"
            'hint: lock it: "mllock lock"\n',
        )


def test_offline(project: LockProject, server: DataServer, typed) -> None:
    """What the cache has is enough; nobody is asked."""
    server.asked.clear()
    assert typed("fetch", "--offline")[0] == 0
    assert typed("verify", "--here", "--offline")[0] == 0
    assert run(["lock", "--offline"]) == 0
    refused = (
        4,
        "",
        f"error: offline: the data source {server.url}/test.csv is not asked\n"
        "hint: leave out --offline, or unset MLLOCK_OFFLINE\n",
    )
    assert typed("status", "--remote", "--offline") == refused
    assert typed("verify", "test", "--offline")[0::2] == (4, f"reading data.test\n{refused[2]}")
    assert server.asked == []
