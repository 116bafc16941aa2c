"""Containers in all states; what is kept between two checks; what is not there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.attacked import RUNS, SERVED, SITE, Attacked, load
from support.containers import Proxy, own_engine
from support.e2e import mllock
from support.nodes import file
from support.releases import NOW, put_release
from support.world import OTHER, RUN, finding, make_world, paths, verdicts

from mllock.engine.docker import DockerEngine, connect
from mllock.engine.types import ContainerPlan
from mllock.errors import EngineError, InputError
from mllock.workflows.check_engine import read_container


@pytest.mark.parametrize("state", ["created", "running", "paused", "exited"])
def test_all_states(attacked: Attacked, state: str) -> None:
    made = attacked.create() if state == "created" else attacked.run()
    if state == "paused":
        attacked.docker("pause", made)
    if state == "exited":
        attacked.docker("kill", made)
    report = attacked.check(f"container:{made}")
    assert report.exit_code() == 0, report
    found = attacked.docker("inspect", "--format", "{{.Id}}, {{.State.Status}}", made)
    image = attacked.docker("inspect", "--format", "{{.Image}}", made)
    assert report.chosen == (
        f"the container {made} of the container engine at {attacked.host}: {found}, "
        f"of the image {image}"
    )
    levels = [finding(report, c).level for c in ("model", "environment", "code", "configuration")]
    assert levels == ["B"] * 4
    assert report.checked_bytes == report.expected_bytes > 1_000_000
    if state == "paused":
        attacked.docker("unpause", made)


def test_by_id(attacked: Attacked) -> None:
    made = attacked.docker("inspect", "--format", "{{.Id}}", attacked.create())
    for name in (made, made[:12]):
        assert attacked.check(f"container:{name}").exit_code() == 0


def test_another_run_is_not_it(attacked: Attacked) -> None:
    """An older good release put back: it is what it says, and not what it should be."""
    made = attacked.create(image=attacked.older)
    assert attacked.check(f"container:{made}").run == OTHER
    report = attacked.check(f"container:{made}", run=RUN)
    assert [verdicts(report)[c] for c in ("model", "lineage")] == ["refuted"] * 2
    assert verdicts(report)["environment"] == "proven"
    assert report.exit_code() == 1


def test_the_image_is_gone(attacked: Attacked) -> None:
    tag = attacked.new_tag()
    attacked.docker("tag", attacked.tag, tag)
    made = attacked.create(image=tag)
    attacked.docker("rmi", "--force", tag)
    assert attacked.check(f"container:{made}").exit_code() == 0


def test_a_container_of_our_own_plan(attacked: Attacked, engine: DockerEngine) -> None:
    """What mllock itself starts is what it proves."""
    made = engine.create(
        ContainerPlan(
            image=attacked.tag,
            variables={"API_KEY": "secret"},
            ports={8080: ("127.0.0.1", 0)},
            labels={"test": attacked.tag},
            tmpfs={"/tmp": "rw,size=1m"},
            read_only_root=True,
            memory=64 << 20,
            init=True,
        )
    )
    attacked.containers.append(made)
    engine.start(made)
    assert attacked.check(f"container:{made}").exit_code() == 0


def listings(attacked: Attacked) -> list[Path]:
    return sorted((attacked.world.root / "cache" / "listings").glob("*.json"))


def test_listings_are_made_once(own: Attacked) -> None:
    """From the layout, or from the engine; then only the export is read."""
    made = own.create()
    shutil.rmtree(own.world.root / "cache", ignore_errors=True)
    assert own.check(f"container:{made}").exit_code() == 0
    from_layout = [path.read_bytes() for path in listings(own)]
    assert len(from_layout) == 6
    shutil.rmtree(own.world.root / "cache")
    shutil.rmtree(own.world.oci)
    assert own.check(f"container:{made}").exit_code() == 0
    assert [path.read_bytes() for path in listings(own)] == from_layout
    before = [path.stat().st_mtime_ns for path in listings(own)]
    assert own.check(f"container:{made}").exit_code() == 0
    assert [path.stat().st_mtime_ns for path in listings(own)] == before


def test_listings_count_only_from_their_own_user(own: Attacked) -> None:
    """Who may write to the cache does not decide what should be in a container (ADR 0017)."""
    made = own.create()
    own.put(made, f"{SITE}/tiny_lib/__init__.py", b"VERSION = '2'\n")
    changed = own.check(f"container:{made}")
    assert verdicts(changed)["environment"] == "refuted"
    (there,) = finding(changed, "environment").differences
    for path in listings(own):
        text = path.read_text()
        digest, size = there.found.removesuffix(" bytes)").split(" (")
        old, old_size = there.expected.removesuffix(" bytes)").split(" (")
        path.write_text(text.replace(f'{old_size},"{old}"', f'{size},"{digest}"'))
        path.chmod(0o666)
    assert paths(own.check(f"container:{made}"), "environment") == [f"{SITE}/tiny_lib/__init__.py"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"v":2}'])
def test_listings_that_are_damaged_are_made_again(own: Attacked, damage: bytes) -> None:
    made = own.create()
    shutil.rmtree(own.world.root / "cache")
    assert own.check(f"container:{made}").exit_code() == 0
    good = [path.read_bytes() for path in listings(own)]
    for path in listings(own):
        path.write_bytes(damage)
    assert own.check(f"container:{made}").exit_code() == 0
    assert [path.read_bytes() for path in listings(own)] == good


def test_away_from_the_project(own: Attacked) -> None:
    """Only the container and the key: its own record, what the engine has of the image."""
    (own.world.root / "elsewhere").mkdir()
    made = own.create()
    report = own.check(f"container:{made}", folder="elsewhere")
    assert report.record == "/opt/mllock/record.sigstore.json (carried in the image)"
    assert verdicts(report) == {
        "signature": "unproven",
        "lineage": "proven",
        "model": "proven",
        "environment": "proven",
        "code": "unproven",
        "configuration": "unproven",
        "behaviour": "not asked",
        "release": "not asked",
    }
    assert report.exit_code() == 3


def test_with_a_run_folder_that_travelled_alone(own: Attacked) -> None:
    """On another machine: the record, and the statement beside it."""
    elsewhere = own.world.root / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(own.world.run, elsewhere / "run")
    made = own.create()
    for target in (f"container:{made}", f"image:{own.tag}"):
        report = own.check(
            target, folder="elsewhere", record=elsewhere / "run" / "record.sigstore.json"
        )
        assert report.exit_code() == 0, report


class CutShort:
    """An engine that stops in the middle of an export, as one does when a file shrinks."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @contextlib.contextmanager
    def export(self, container: str) -> Iterator[Iterator[bytes]]:
        with self._engine.export(container) as chunks:
            yield (chunk[: len(chunk) // 2] for chunk in chunks)


class Dying(CutShort):
    """An engine whose process is killed in the middle of an export."""

    def __init__(self, engine: DockerEngine, process: subprocess.Popen[bytes]) -> None:
        super().__init__(engine)
        self._process = process

    @contextlib.contextmanager
    def export(self, container: str) -> Iterator[Iterator[bytes]]:
        with self._engine.export(container) as chunks:
            yield self._killed_after(next(chunks), chunks)

    def _killed_after(self, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        yield first
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        yield from rest


def test_the_engine_dies(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    with own_engine(tmp_path / "engine") as (host, process):
        # More than sockets hold.
        base = (*RUNS, file("usr/lib/large", os.urandom(16 << 20)))
        world = make_world(tmp_path / "w", spec=SERVED, base=base, runtime="docker")
        own = Attacked(world=world, host=host, tag="t:serve", older="")
        load(own, own.tag, RUN)
        made = own.create()
        engine = connect({"DOCKER_HOST": host})
        container = engine.container(made)
        assert container is not None
        with pytest.raises(EngineError) as caught:
            read_container(world.context(), Dying(engine, process), container, None, None)
        engine.close()
    assert str(caught.value) == (
        "the container engine went away while it was to export a container\n"
        "hint: start it again, then run the same command again"
    )
    assert caught.value.exit_code == 4


def test_an_export_that_ends_early(attacked: Attacked, engine: DockerEngine) -> None:
    made = attacked.create()
    container = engine.container(made)
    assert container is not None
    with pytest.raises(EngineError) as caught:
        read_container(attacked.world.context(), CutShort(engine), container, None, None)
    assert caught.value.message.startswith("the files of the container cannot be read: ")
    assert caught.value.hint == f'if it writes much, "docker pause {made}" while it is checked'


def test_where_the_kernel_cannot_be_asked(attacked: Attacked) -> None:
    """An engine that is reached over the network may be on another machine: its processes are
    somebody else's here. It is said that something was not seen."""
    made = attacked.run()
    with Proxy(attacked.host) as host:
        environ = {**attacked.environ, "DOCKER_HOST": host}
        report = attacked.world.check(f"container:{made}", environ=environ)
    assert report.exit_code() == 0
    assert finding(report, "configuration").reason.endswith(
        "; outside of the proof: mounts made later in its own namespace, which only its machine's "
        "root sees"
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "container:no-such-container",
            "container:no-such-container: no container of this name in the container engine\n"
            'hint: see "docker ps --all"',
        ),
        (
            "image:no-such-image:v1",
            "image:no-such-image:v1: no image of this name in the container engine\n"
            'hint: see "docker images"',
        ),
        (
            "no-such-image:v1",
            "no-such-image:v1: no such file or folder, and no image of this name in the container "
            "engine\nhint: path:DIR for a model folder, oci:DIR for an image layout",
        ),
    ],
)
def test_what_is_not_there(attacked: Attacked, target: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        attacked.check(target)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_no_engine(world, tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": f"unix://{tmp_path}/none", "MLLOCK_ENGINE": ""}
    for target in ("image:x", "container:x", "wine:serve"):
        with pytest.raises(EngineError) as caught:
            world.check(target, environ=environ)
        assert str(caught.value) == (
            f"no container engine answers at unix://{tmp_path}/none\n"
            "hint: start it, or name another one with DOCKER_HOST"
        )
        assert caught.value.exit_code == 4
    with pytest.raises(InputError) as missing:
        world.check("wine:serve")
    assert str(missing.value) == (
        "wine:serve: no such file or folder, and no container engine that could have an image of "
        "this name\nhint: path:DIR for a model folder, oci:DIR for an image layout"
    )


AS_NOBODY = """
import os, sys
from mllock.cli.main import run
import mllock.cli.check, mllock.workflows.check, mllock.workflows.check_engine
import mllock.engine.docker, mllock.check.report
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(run(["--project", "/", "check", "container:x"]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission(attacked: Attacked, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY],
        env={"DOCKER_HOST": attacked.host, "HOME": "/nonexistent", "MLLOCK_CACHE": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == (
        f"error: no permission to use the container engine at {attacked.host}\n"
        "hint: join the group that owns its socket (usually docker), or name another engine with "
        "DOCKER_HOST\n"
    )
    assert done.returncode == 4


def test_the_command(attacked: Attacked) -> None:
    environ = {
        **attacked.environ,
        "XDG_CONFIG_HOME": str(attacked.world.root / "config"),
        "MLLOCK_CACHE": str(attacked.world.root / "cache"),
    }
    made = attacked.run("--env", "LD_PRELOAD=/tmp/x.so")
    done = mllock(attacked.world.project, "check", f"container:{made}", environ=environ)
    assert done.returncode == 1, done.stderr
    assert "configuration  refuted    B  not as the image statement has it\n" in done.stdout
    assert "               variable LD_PRELOAD\n" in done.stdout
    done = mllock(attacked.world.project, "check", attacked.tag, "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["exit-code"] == 0


def test_the_released_one(own: Attacked) -> None:
    """`--stage` binds the image that a container was made of, not only its model."""
    put_release(own.world)
    made = own.create()
    report = own.check(f"container:{made}", stage="production", now=NOW)
    assert verdicts(report)["release"] == "proven", finding(report, "release")
    assert report.exit_code() == 0
    tag = own.new_tag()
    own.docker("commit", "--change", "LABEL a=b", made, tag)
    other = own.create(image=tag)
    report = own.check(f"container:{other}", stage="production", now=NOW, run=RUN)
    assert verdicts(report)["model"] == "proven"
    assert paths(report, "release") == ["config"]
    assert paths(report, "configuration") == ["the image of the container"]
    older = own.create(image=own.older)
    report = own.check(f"container:{older}", stage="production", now=NOW)
    assert verdicts(report)["release"] == "refuted"
    assert report.exit_code() == 1
