"""Remote data in a container: the same bytes at the same path as on the host."""

from __future__ import annotations

import msgspec
from support.containers import Project, go
from support.data_server import data_server
from support.training import lock_of

from mllock.lock.format import dump_lock, read_lock, seal


def test_remote_data(project: Project) -> None:
    ctx = project()
    with data_server() as server:
        server.put("/train.csv", b"a\n1\n2\n", '"1"')
        spec = ctx.project / "mlproject.toml"
        lines = f'source = "{server.url}/train.csv"\npath = "data/train.csv"'
        spec.write_text(spec.read_text().replace('source = "data/train.csv"', lines))
        path = ctx.project / "mlproject.lock"
        lock = read_lock(path)
        new = lock_of(ctx.project, lock.python.packages)
        lock = seal(msgspec.structs.replace(lock, inputs=new.inputs, data=new.data))
        path.write_bytes(dump_lock(lock))
        (ctx.project / "data/train.csv").unlink()
        result = go(ctx)
    assert (result.run.model_path() / "weights").read_text() == "a\n1\n2\n"
    assert result.run.record().runtime == "docker"
    assert result.run.record().data == {"train": lock.data["train"].tree}
