"""Remote data in the lock: asked when it is new or asked for, pinned by content, never secret."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.data_server import DataServer
from support.lock_project import LockProject

from mllock.cli.main import run
from mllock.errors import LockError, OfflineError
from mllock.lock.format import content_digest, dump_lock, parse_lock, read_lock
from mllock.lock.ports import Upgrade
from mllock.workflows.lock import check_lock

BODY = b"a,b\n1,2\n"


@pytest.fixture
def project(tmp_path: Path, server: DataServer, monkeypatch: pytest.MonkeyPatch) -> LockProject:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = LockProject(tmp_path)
    server.put("/test.csv", BODY, '"1"')
    made.write(
        (made.folder / "mlproject.toml").read_text()
        + f'\n[data.test]\nsource = "{server.url}/test.csv"\npath = "data/test.csv"\n'
    )
    monkeypatch.chdir(made.folder)
    return made


def pinned(project: LockProject) -> tuple[str, str | None]:
    pin = read_lock(project.path).data["test"]
    return pin.tree, pin.etag


def test_what_is_written(project: LockProject, server: DataServer) -> None:
    assert project.changes()[-2:] == [
        "Added data.test (8 bytes, sha256:bbbcfef606ce, at data/test.csv)",
        "Added data.train (8 bytes, sha256:bbbcfef606ce)",
    ]
    text = project.path.read_text()
    start = text.index("[data.test]")
    tree = read_lock(project.path).data["train"].tree
    assert text[start : text.index("[data.train]")] == (
        f'[data.test]\nsource = "{server.url}/test.csv"\npath = "data/test.csv"\nkind = "file"\n'
        f'files = 1\nsize = 8\ntree = "{tree}"\netag = "\\"1\\""\n\n'
    )
    lock = read_lock(project.path)
    assert dump_lock(lock) == project.path.read_bytes()
    assert check_lock(project.ctx) == check_lock(project.ctx, by_content=True) == ()


def test_a_pin_stays_and_nobody_is_asked(project: LockProject, server: DataServer) -> None:
    project.lock()
    before = project.path.read_bytes()
    server.files.clear()
    server.asked.clear()
    assert not project.lock().written
    assert check_lock(project.ctx) == check_lock(project.ctx, by_content=True) == ()
    project.change('"beta"', '"beta", "gamma"')
    project.lock()
    assert server.asked == []
    assert pinned(project)[1] == '"1"'
    assert project.path.read_bytes() != before


@pytest.mark.parametrize(
    "options",
    [
        {"upgrade": Upgrade(all=True)},
        {"upgrade": Upgrade(names=frozenset({"data.test"}))},
        {"fresh": True},
        {"by_content": True},
    ],
    ids=["upgrade", "upgrade-name", "fresh", "data"],
)
def test_a_source_that_moved_on(options, project: LockProject, server: DataServer) -> None:
    project.lock()
    before = pinned(project)
    server.put("/test.csv", b"a,b\n3,4\n5,6\n", '"2"')
    assert not project.lock().written
    result = project.lock(**options)
    assert [str(change).split(" (")[0] for change in result.changes] == ["Updated data.test"]
    assert pinned(project)[0] != before[0]
    assert pinned(project)[1] == '"2"'


def test_new_marks_of_the_same_bytes_are_no_change(
    project: LockProject, server: DataServer
) -> None:
    project.lock()
    before = pinned(project)
    server.put("/test.csv", BODY, '"2"')
    result = project.lock(upgrade=Upgrade(all=True))
    assert (result.written, result.changes) == (True, ())
    assert pinned(project) == (before[0], '"2"')


def test_old_marks_of_other_bytes(project: LockProject, server: DataServer) -> None:
    project.lock()
    before = pinned(project)
    server.put("/test.csv", b"a,b\n9,9\n", '"1"')
    project.lock(upgrade=Upgrade(all=True))
    assert pinned(project) == before
    project.lock(by_content=True)
    assert pinned(project)[0] != before[0]


def test_a_source_that_is_gone_leaves_the_lock(project: LockProject, server: DataServer) -> None:
    project.lock()
    before = project.path.read_bytes()
    server.files["/test.csv"].statuses = [403]
    with pytest.raises(OfflineError) as caught:
        project.lock(by_content=True)
    assert caught.value.message == (
        f"cannot fetch data.test from {server.url}/test.csv: answered 403: access is denied"
    )
    assert project.path.read_bytes() == before


def test_another_url_is_another_source(project: LockProject, server: DataServer) -> None:
    project.lock()
    server.put("/other.csv", b"1\n", '"1"')
    project.change(f"{server.url}/test.csv", f"{server.url}/other.csv")
    assert check_lock(project.ctx) == (
        f"data.test.source: {server.url}/test.csv -> {server.url}/other.csv",
    )
    assert project.lock().changes[0].name == "data.test"
    assert read_lock(project.path).data["test"].size == 2


def test_an_upgrade_by_a_wrong_name(project: LockProject, server: DataServer, capsys) -> None:
    project.lock()
    assert run(["lock", "--upgrade", "data.tets"]) == 2
    assert capsys.readouterr().err == (
        "error: mlproject.lock: no locked package is named 'data.tets'\n"
        'hint: did you mean "data.test"?\n'
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "http://127",
            "http://ada:word@127",
            "mlproject.lock: data.test.source: a URL with a user name or password in it",
        ),
        (
            "/test.csv",
            "/test.csv?X-Amz-Signature=abc",
            "mlproject.lock: data.test.source: a signature or password in the query of a URL "
            "(X-Amz-Signature)\nfound: URL/test.csv?...",
        ),
    ],
)
def test_secrets_are_refused_in_a_lock(
    old: str, new: str, message: str, project: LockProject, server: DataServer
) -> None:
    project.lock()
    text = project.path.read_text()
    at = text.index("[data.test]")
    forged = parse_lock(
        (text[:at] + text[at:].replace(old, new, 1)).encode(), "mlproject.lock", verify=False
    )
    import msgspec

    forged = msgspec.structs.replace(forged, content_digest=content_digest(forged))
    with pytest.raises(LockError) as caught:
        parse_lock(dump_lock(forged), "mlproject.lock")
    assert str(caught.value).replace(server.url, "URL") == message


def test_hints_about_a_local_source_are_refused(project: LockProject) -> None:
    import msgspec

    lock = project.lock().lock
    data = {**lock.data, "train": msgspec.structs.replace(lock.data["train"], etag="x")}
    forged = msgspec.structs.replace(lock, data=data)
    forged = msgspec.structs.replace(forged, content_digest=content_digest(forged))
    with pytest.raises(LockError) as caught:
        parse_lock(dump_lock(forged), "mlproject.lock")
    assert str(caught.value) == (
        "mlproject.lock: data.train.source: hints of a server about a local source"
    )


def test_no_secret_is_written_or_printed(
    project: LockProject, server: DataServer, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("WHO", "ada-lovelace")
    monkeypatch.setenv("WORD", "correct-horse")
    project.change("http://127", "http://${WHO}:${WORD}@127")
    project.ctx = replace(project.ctx, environ=dict(os.environ))
    project.lock()
    assert run(["data", "fetch"]) == 0
    assert run(["data", "verify", "-v"]) == 0
    assert run(["data", "status", "--remote"]) == 0
    server.files["/test.csv"].statuses = [403] * 4
    assert run(["lock", "--data"]) == 4
    assert {entry.get("Authorization") for entry in server.headers} == {
        "Basic YWRhLWxvdmVsYWNlOmNvcnJlY3QtaG9yc2U="
    }
    said = "".join(capsys.readouterr()) + "".join(project.reporter.lines)
    written = [path.read_bytes() for path in project.folder.parent.rglob("*") if path.is_file()]
    assert len(written) > 5
    for secret in ("ada-lovelace", "correct-horse", "YWRhLWxv"):
        assert secret not in said
        assert not any(secret.encode() in content for content in written)
    assert "http://${WHO}:${WORD}@127" in project.path.read_text()


def test_json(project: LockProject, server: DataServer, capsys) -> None:
    project.lock()
    server.put("/test.csv", b"1\n", '"2"')
    assert run(["lock", "--data", "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [(c["kind"], c["action"], c["name"]) for c in changes] == [
        ("data", "updated", "data.test")
    ]
