"""The adapter against a real engine; and where there is none, why."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mllock.engine.docker import DockerEngine, connect
from mllock.engine.docker_values import info_of, plain_endpoint
from mllock.engine.types import ContainerPlan
from mllock.errors import EngineError


def said(environ: dict[str, str]) -> str:
    with pytest.raises(EngineError) as caught:
        connect(environ)
    return str(caught.value)


def test_no_engine(tmp_path: Path) -> None:
    assert said({"DOCKER_HOST": f"unix://{tmp_path}/none"}) == (
        f"no container engine answers at unix://{tmp_path}/none\n"
        "hint: start it, or name another one with DOCKER_HOST"
    )
    assert said({"DOCKER_HOST": "tcp://user:secret@127.0.0.1:9"}) == (
        "no container engine answers at tcp://127.0.0.1:9\n"
        "hint: start it, or name another one with DOCKER_HOST"
    )
    assert said({"DOCKER_CONTEXT": "nowhere"}) == (
        "DOCKER_CONTEXT: no docker context of this name\n"
        "found: nowhere\n"
        'hint: see "docker context ls"; DOCKER_HOST names an engine directly'
    )


def test_credentials_are_no_part_of_an_endpoint() -> None:
    assert plain_endpoint("tcp://user:secret@example.org:2376") == "tcp://example.org:2376"
    assert plain_endpoint("unix:///var/run/docker.sock") == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("raw", "rootless", "manifest"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, True, False),
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, False, True),
        ({"DriverStatus": None, "SecurityOptions": None}, False, False),
    ],
)
def test_what_kind_of_engine(raw: dict[str, object], rootless: bool, manifest: bool) -> None:
    info = info_of(raw, "unix:///x", remote=False)
    assert (info.rootless, info.image_is_manifest) == (rootless, manifest)


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


PROGRAM = """
trap 'echo got INT; exit 7' INT
echo ready
echo to stderr >&2
while :; do /busybox sleep 0.1; done
"""


@pytest.fixture
def busy(engine: DockerEngine, unique: str) -> Iterator[str]:
    """An image with a program that prints, waits for a signal, and ends."""
    binary = shutil.which("busybox")
    if binary is None:
        pytest.skip("no busybox: scripts/test installs it")
    layer = tar_of({"busybox": Path(binary).read_bytes(), "data/file": b"there"})
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = {
        "os": "linux",
        "architecture": engine.info.architecture,
        "config": {"Cmd": ["/busybox", "sh", "-c", PROGRAM]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = [{"Config": "c.json", "RepoTags": [f"{unique}:x"], "Layers": ["l.tar"]}]
    archive = {
        "manifest.json": json.dumps(manifest).encode(),
        "c.json": json.dumps(config).encode(),
        "l.tar": layer,
    }
    engine.load([tar_of(archive)])
    yield f"{unique}:x"
    for container in engine.containers(f"test={unique}"):
        engine.remove(container.id)
    engine.untag(f"{unique}:x")


def test_a_container_from_beginning_to_end(engine: DockerEngine, busy: str, unique: str) -> None:
    made = engine.create(ContainerPlan(image=busy, labels={"test": unique}))
    engine.put_archive(made, "/data", [tar_of({"more": b"put"})])
    engine.start(made)
    with engine.output(made) as output:
        seen = b""
        for chunk in output:
            seen += chunk
            if b"ready\n" in seen and b"to stderr\n" in seen and b"got" not in seen:
                engine.kill(made, signal.SIGINT)
    assert sorted(seen.splitlines()) == [b"got INT", b"ready", b"to stderr"]
    ended = engine.wait(made)
    assert (ended.state.status, ended.state.exit_code) == ("exited", 7)
    assert [c.path for c in engine.changes(made) if c.kind == "added"] == ["/data/more"]
    with engine.export(made) as chunks, tarfile.open(fileobj=Reader(chunks), mode="r|") as tar:
        assert {"busybox", "data/file", "data/more"} <= {member.name for member in tar}
    found = engine.archive(made, "/data/more")
    assert found is not None
    with found as chunks:
        assert b"put" in b"".join(chunks)
    assert engine.archive(made, "/none") is None
    engine.kill(made, signal.SIGKILL)
    engine.remove(made)
    engine.remove(made)
    assert engine.container(made) is None


def test_streams_that_are_not_read_to_their_end(
    engine: DockerEngine, busy: str, unique: str
) -> None:
    """Nothing stays open: an unclosed socket is a warning, and warnings are errors here."""
    made = engine.create(ContainerPlan(image=busy, labels={"test": unique}))
    engine.start(made)
    with engine.output(made) as chunks:
        assert next(chunks)
    with engine.export(made) as chunks:
        assert next(chunks)
    with engine.save(busy) as chunks:
        assert next(chunks)
    found = engine.archive(made, "/data")
    assert found is not None
    with found as chunks:
        pass
    engine.kill(made, signal.SIGKILL)
    with engine.output(made) as chunks:
        assert b"ready" in b"".join(chunks)
    gc.collect()


def test_what_is_not_there(engine: DockerEngine, unique: str) -> None:
    assert engine.image(f"{unique}:none") is None
    assert engine.container(unique) is None
    engine.untag(f"{unique}:none")
    engine.remove_volume(unique)
    with pytest.raises(EngineError) as caught:
        engine.start(unique)
    assert str(caught.value) == (
        f"the container engine cannot start a container: No such container: {unique}"
    )


def test_a_damaged_archive_is_refused(engine: DockerEngine) -> None:
    with pytest.raises(EngineError) as caught:
        engine.load([b"no tar at all" * 100])
    assert caught.value.message == (
        "docker refuses the image: Error processing tar file(exit status 1): "
        "archive/tar: invalid tar header"
    )


class Reader(io.RawIOBase):
    """A file of chunks, for tarfile's stream mode."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
