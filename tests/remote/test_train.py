"""Training on remote data: put at its path, from the cache where it can, verified by content."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.data_server import DataServer
from support.training import SPEC, locked, no_layers, relock

from mllock.core.digest import sha256_of
from mllock.core.tree import Entry
from mllock.data.pin import Pinner
from mllock.data.statcache import Kept, StatCache, look_of, row_of
from mllock.errors import DataError, StaleLockError, VoidRunError
from mllock.lock.format import read_lock
from mllock.spec.reader import load_spec
from mllock.workflows.context import Context
from mllock.workflows.train import TrainResult, train

BODY = b"a\n1\n2\n"


@pytest.fixture
def ctx(tmp_path: Path, server: DataServer) -> Context:
    """Locked, and nothing of the data is on this machine."""
    server.put("/train.csv", BODY, '"1"')
    lines = f'source = "{server.url}/train.csv"\npath = "data/train.csv"'
    made = locked(tmp_path, spec=SPEC.replace('source = "data/train.csv"', lines))
    (made.project / "data/train.csv").unlink()
    return made


def go(ctx: Context) -> TrainResult:
    return train(ctx, environment_of=no_layers)


def test_it_is_fetched_once(ctx: Context, server: DataServer) -> None:
    result = go(ctx)
    assert (result.run.path / "log.txt").read_text() == "trained on 3 rows\n"
    assert (ctx.project / "data/train.csv").read_bytes() == BODY
    pin = read_lock(ctx.project / "mlproject.lock").data["train"]
    assert result.run.record().data == {"train": pin.tree}
    server.files.clear()
    go(ctx)
    # What is at the path may go: the cache has it.
    (ctx.project / "data/train.csv").unlink()
    go(ctx)
    assert server.asked == ["GET /train.csv", "GET /train.csv"]


def test_other_bytes_at_the_source(ctx: Context, server: DataServer) -> None:
    server.put("/train.csv", b"a\n1\n3\n", '"1"')
    with pytest.raises(StaleLockError) as caught:
        go(ctx)
    assert caught.value.message == (
        f"{server.url}/train.csv is not what is locked: other names or bytes"
    )
    assert not ctx.runs.exists()
    assert not (ctx.project / "data/train.csv").exists()


def test_data_of_an_older_lock_makes_room(ctx: Context, server: DataServer) -> None:
    go(ctx)
    path = ctx.project / "data/train.csv"
    path.unlink()
    path.write_bytes(b"a\n1\n2\n3\n")
    relock(ctx)  # pins what is there
    server.put("/train.csv", b"a\n1\n2\n3\n", '"2"')
    path.unlink()
    path.write_bytes(BODY)  # as the older lock had it
    result = go(ctx)
    assert (result.run.path / "log.txt").read_text() == "trained on 4 rows\n"


def test_what_somebody_wrote_there_stays(ctx: Context) -> None:
    path = ctx.project / "data/train.csv"
    path.write_bytes(b"mine\n")
    with pytest.raises(DataError) as caught:
        go(ctx)
    assert str(caught.value) == (
        "mlproject.toml: data.train.path: 'data/train.csv' is not what is locked, and is nowhere "
        'else\nhint: move it away, or give it up: "mllock data fetch --force train"'
    )
    assert path.read_bytes() == b"mine\n"


def test_a_change_that_stat_does_not_show(ctx: Context) -> None:
    """A run verifies by content, whatever the stat cache says."""
    go(ctx)
    path = ctx.project / "data/train.csv"
    path.chmod(0o644)
    path.write_bytes(b"a\n1\n9\n")
    looks = look_of("", ["."], [row_of(os.stat(path))])
    line = Entry(kind="f", path=".", size=len(BODY), digest=sha256_of(BODY)).line()
    source = load_spec(ctx.project / "mlproject.toml").spec.data["train"]
    cache = StatCache(ctx.state)
    cache.begin()
    key = json.dumps(["data/train.csv", source.include, source.exclude])
    cache.save(key, {"": Kept(look=looks, lines=line, size=len(BODY))}, ctx.project)
    (ctx.state / "trees.json").unlink(missing_ok=True)
    pin = read_lock(ctx.project / "mlproject.lock").data["train"]
    assert Pinner(ctx.project, ctx.state).pin("train", source).tree == pin.tree  # it is believed
    with pytest.raises(StaleLockError) as caught:
        go(ctx)
    assert caught.value.message == (
        "'data/train.csv' has the size that is locked, but other names or bytes"
    )
    assert caught.value.hint == 'put back what is locked: "mllock data fetch --force train"'


def test_data_that_is_touched_while_it_is_read(ctx: Context, server: DataServer) -> None:
    program = ctx.project / "train.py"
    program.write_text(
        "import os, pathlib\nos.utime(pathlib.Path('data/train.csv').resolve())\n"
        "pathlib.Path('model').mkdir()\npathlib.Path('model/x').write_text('x')\n"
        "pathlib.Path('metrics.json').write_text('{}')\n"
    )
    with pytest.raises(VoidRunError) as caught:
        go(ctx)
    assert caught.value.message == "data was changed and put back while the program ran"
    assert caught.value.file == "data/train.csv"
