"""What a program in a container may leave as model and metrics: the rules of the host, and no way
out of the folder that they are written to."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

import pytest
from support.containers import GOOD, Project, failure, go, said

from mllock.engine.ports import Engine
from mllock.errors import MllockError, ProgramError
from mllock.train.fetched import fetch


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "mkdir out; ln -s /etc out/model; exit",
            "out/model: the model is neither a file nor a folder",
        ),
        (
            "mkdir -p out/model; mkfifo out/model/x; exit",
            "out/model: the model cannot be taken out of the container: member 'model/x' "
            "is of type b'6': not a file, folder or link",
        ),
        (
            "mkdir -p out/model; ln -s /etc/passwd out/model/x; exit",
            "model/x: the model cannot be shipped: a link that does not stay in the folder",
        ),
        (
            "mkdir -p out/model; echo > out/model/x; ln -s ../../.. out/model/y; exit",
            "model/y: the model cannot be shipped: a link that does not stay in the folder",
        ),
        ("mkdir -p out/model; exit", "out/model: the program ended well and wrote an empty model"),
        ("exit", "mlproject.toml: train.model: the program ended well and wrote no model"),
        (
            GOOD + "rm metrics.json; ln -s /etc/passwd metrics.json; exit",
            "metrics.json: the metrics are not a regular file",
        ),
        (
            GOOD + "head -c 2m /dev/zero > metrics.json; exit",
            "metrics.json: the metrics cannot be taken out of the container: "
            "more than 1048576 bytes",
        ),
    ],
)
def test_outputs_that_are_refused(project: Project, program: str, message: str) -> None:
    ctx = project(program + " 0\n")
    assert said(ctx, ProgramError).startswith(message)
    assert failure(ctx)[0] == "output"


def test_a_model_with_links_is_as_on_the_host(project: Project) -> None:
    ctx = project(
        "mkdir -p out/model/sub; echo w > out/model/w; ln out/model/w out/model/sub/hard; "
        "ln -s w out/model/soft; mkdir out/model/empty; chmod 700 out/model/w; "
        f"touch out/model/{'n' * 150} 'out/model/ü'\n"
    )
    model = go(ctx).run.model_manifest()
    assert [(e.kind, e.path, e.target) for e in model.entries] == [
        ("d", "empty", None),
        ("f", "n" * 150, None),
        ("f", "params", None),
        ("l", "soft", "w"),
        ("x", "sub/hard", None),
        ("x", "w", None),
        ("f", "weights", None),
        ("f", "ü", None),
    ]


def test_a_file_as_model(project: Project) -> None:
    ctx = project("mkdir out; echo w > out/model; echo '{}' > metrics.json; exit 0\n")
    result = go(ctx)
    assert result.run.model_path().name == posixpath.basename("out/model")
    assert result.run.model_path().read_text() == "w\n"


class Liar:
    """An engine whose archives are what a test says: ours would not write them."""

    def __init__(self, *members: tuple[str, bytes, str]) -> None:
        self._data = b""
        for name, kind, value in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            body = b""
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname = value
            elif kind == tarfile.REGTYPE:
                body = value.encode()
                member.size = len(body)
            self._data += member.tobuf(tarfile.PAX_FORMAT) + body + bytes(-len(body) % 512)
        self._data += bytes(1024)

    def archive(self, container: str, path: str) -> AbstractContextManager[Iterator[bytes]]:
        return nullcontext(iter([self._data]))


DIR, REG, SYM, LNK = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [("model", SYM, "/etc"), ("model/passwd", REG, "x")],
            "member 'model/passwd' is not in a folder",
        ),
        (
            [("model", DIR, ""), ("model/l", SYM, "../.."), ("model/l/x", REG, "x")],
            "member 'model/l/x' is not in a folder",
        ),
        ([("model", DIR, ""), ("model/../x", REG, "x")], "a path that is not plain and relative"),
        ([("../model", REG, "x")], "a path that is not plain and relative"),
        ([("/model", REG, "x")], "a path that is not plain and relative"),
        ([("other", REG, "x")], "member 'other' was not asked for"),
        ([("model", DIR, ""), ("modelx", REG, "x")], "member 'modelx' was not asked for"),
        (
            [("model", DIR, ""), ("model/x", REG, "a"), ("model/x", REG, "b")],
            "member 'model/x' comes twice",
        ),
        (
            [("model", DIR, ""), ("model/x", LNK, "/etc/passwd")],
            "member 'model/x' links to no file of the archive",
        ),
        (
            [("model", DIR, ""), ("model/s", SYM, "/etc/passwd"), ("model/x", LNK, "model/s")],
            "member 'model/x' links to no file of the archive",
        ),
        ([("model", tarfile.BLKTYPE, "")], "member 'model' is of type b'4'"),
        ([("model", DIR, ""), ("model/x", REG, "12345")], "more than 4 bytes"),
    ],
)
def test_an_archive_that_leads_out(
    tmp_path: Path, members: list[tuple[str, bytes, str]], message: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(ProgramError) as caught:
        fetch(cast(Engine, Liar(*members)), "c", "model", work, what="model", limit=4)
    assert caught.value.message.startswith(
        f"the model cannot be taken out of the container: {message}"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["work"]
    assert {p.name for p in work.iterdir()} <= {"model"}


def test_what_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("mine")
    with pytest.raises(MllockError):
        fetch(cast(Engine, Liar(("model", REG, "x"))), "c", "model", tmp_path, what="model")
    assert (tmp_path / "model").read_text() == "mine"
