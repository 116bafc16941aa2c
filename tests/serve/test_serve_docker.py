"""`mllock serve --runtime docker` on a real engine: a container as it would be deployed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.containers import Project, clean, docker_project, go, leftovers

from mllock.engine.docker import DockerEngine
from mllock.engine.types import Container
from mllock.errors import EngineError, MllockError, ProgramError, SurroundingsError
from mllock.serve.docker import DockerServer
from mllock.serve.listening import free_port
from mllock.workflows.check import check_target
from mllock.workflows.context import Context
from mllock.workflows.serve import serving

SERVER = """\
echo serving as $(id -u) key $API_KEY other $OTHER
exec httpd -f -v -p 8080 -h out/model
"""
SETTINGS = """
health = "/weights"
runtime-variables = ["API_KEY"]
"""


@pytest.fixture
def project(
    tmp_path: Path, engine_host: str, engine: DockerEngine, unique: str
) -> Iterator[Project]:
    """A trained project; afterwards nothing of it is in the engine."""
    made: list[Context] = []

    def make(server: str = SERVER, serve: str = SETTINGS) -> Context:
        ctx = docker_project(tmp_path, engine_host, unique, serve=serve, files={"serve.sh": server})
        made.append(ctx)
        go(ctx)
        return ctx

    yield make
    assert [leftovers(engine, ctx) for ctx in made] == [([], [])] * len(made)
    clean(engine, unique)
    for ctx in made:
        assert list((ctx.state / "tmp").iterdir()) == []


def ask(url: str, path: str = "/weights") -> str:
    with urllib.request.urlopen(url + path, timeout=20) as response:
        body: bytes = response.read()
    return body.decode()


def container_of(engine: DockerEngine, server: object) -> Container:
    assert isinstance(server, DockerServer)
    found = engine.container(server.name)
    assert found is not None
    return found


def test_a_container_as_it_would_be_deployed(
    project: Project, engine: DockerEngine, unique: str
) -> None:
    ctx = project()
    ctx = replace(ctx, environ={**ctx.environ, "API_KEY": "k", "OTHER": "o"})
    port = free_port()
    output: list[bytes] = []
    with serving(ctx, port=port, output=output.append) as served:
        url = str(served.server.address)
        assert url == f"http://127.0.0.1:{port}"
        assert ask(url) == "a\n1\n2\n"
        container = container_of(engine, served.server)
        report = check_target(ctx, f"container:{container.name}", base=ctx.project)
    image = engine.image(f"{unique}:serve")
    assert image is not None
    assert container.image == image.id
    config = container.raw["Config"]
    assert (config["Cmd"], config["User"], config["WorkingDir"], config["Entrypoint"]) == (
        image.config["Cmd"],
        image.config["User"],
        image.config["WorkingDir"],
        image.config.get("Entrypoint"),
    )
    assert sorted(config["Env"]) == sorted([*image.config["Env"], "API_KEY=k"])
    assert container.raw["HostConfig"]["ReadonlyRootfs"] is True
    assert list(container.raw["HostConfig"]["Tmpfs"]) == ["/tmp"]
    assert container.raw["Mounts"] == []
    assert container.ports == {8080: ("127.0.0.1", port)}
    assert engine.container(container.id) is None
    assert b"".join(output).splitlines()[0] == b"serving as 10001 key k other"
    # Nothing was built by hand: serving left the statement that check holds a container against.
    verdicts = {f.claim: f.verdict for f in report.findings if f.verdict != "not asked"}
    assert verdicts == dict.fromkeys(
        ("signature", "lineage", "model", "environment", "code", "configuration"), "proven"
    )


def test_a_program_that_ends_is_never_ready(project: Project) -> None:
    ctx = project("echo no model here; exit 3\n")
    with pytest.raises(ProgramError) as caught, serving(ctx, port=free_port()):
        pass
    assert str(caught.value) == (
        "mlproject.toml: serve.command: the serving program failed with exit code 3 before it was "
        "ready\nfound: \n    no model here"
    )


def test_a_program_that_nobody_can_reach_is_never_ready(project: Project) -> None:
    ctx = project("exec httpd -f -p 127.0.0.1:8080 -h out/model\n")
    port = free_port()
    with pytest.raises(ProgramError) as caught, serving(ctx, port=port, patience=1.5):
        pass
    assert caught.value.message == (
        "the serving program did not answer GET /weights within 1.5 s: "
        "nothing in the container listens on port 8080 of 0.0.0.0"
    )


def test_a_port_that_is_in_use(project: Project) -> None:
    ctx = project()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SurroundingsError) as caught, serving(ctx, port=port):
            pass
    assert str(caught.value) == (
        f"port {port} is in use\nhint: stop what uses it, or choose another with --port"
    )


def test_an_engine_elsewhere_has_no_port_here(project: Project, engine: DockerEngine) -> None:
    from mllock.serve.docker import DockerServeRuntime

    class Elsewhere:
        info = replace(engine.info, remote=True, endpoint="tcp://build.example.org:2376")

    ctx = project()
    runtime = DockerServeRuntime(
        engine=Elsewhere(),  # type: ignore[arg-type]
        image_of=None,  # type: ignore[arg-type]
        state=ctx.state,
        session="20260101-000000-aaaa",
        reporter=ctx.reporter,
    )
    with pytest.raises(EngineError) as caught:
        runtime.check(None, 8080)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "the engine at tcp://build.example.org:2376 is on another machine: its ports are not here\n"
        'hint: run the image there: see "mllock build serve --output docker"'
    )


def start(ctx: Context, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mllock", "--project", str(ctx.project), "serve", *arguments],
        env={**ctx.environ, "MLLOCK_CACHE": str(ctx.project.parent / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_stops_and_removes_it(project: Project, engine: DockerEngine) -> None:
    ctx = project("trap 'exit 0' TERM\nhttpd -f -p 8080 -h out/model & wait\n")
    port = free_port()
    with start(ctx, "--port", str(port)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        assert ask(f"http://127.0.0.1:{port}") == "a\n1\n2\n"
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[-2:] == ["ready; Ctrl-C stops it", "stopping"]


def test_detached(project: Project, engine: DockerEngine) -> None:
    """It goes on, is no leftover of anybody's, and says how to be stopped."""
    ctx = project()
    port = free_port()
    with start(ctx, "--port", str(port), "--detach") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    url, name = out.splitlines()
    try:
        assert err.splitlines()[-3:] == [
            "ready; what it prints, and how to stop and remove it:",
            f"  docker logs --follow {name}",
            f"  docker rm --force {name}",
        ]
        assert ask(url) == "a\n1\n2\n"
        go(ctx)  # which removes leftovers
        assert ask(url) == "a\n1\n2\n"
    finally:
        engine.remove(name)


def test_what_a_killed_mllock_left_is_removed_by_the_next(
    project: Project, engine: DockerEngine
) -> None:
    ctx = project()
    port = free_port()
    with start(ctx, "--port", str(port)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert len(leftovers(engine, ctx)[0]) == 1
    # Of a killed process the staging folder is left as well; the next day's run removes it.
    for path in (ctx.state / "tmp").glob(".mllock-tmp-*"):
        subprocess.run(["rm", "-r", str(path)], check=True)
    with pytest.raises(MllockError), serving(ctx, port=port):
        # The port is looked at first, and the killed one's container still has it.
        pass
    with serving(ctx, port=free_port()) as served:
        assert len(leftovers(engine, ctx)[0]) == 1
        assert served.server.exit_code() is None


PROBES = '{"method": "GET", "path": "/weights"}\n'


def test_probes_are_answered_in_the_image(
    tmp_path: Path, engine_host: str, engine: DockerEngine, unique: str
) -> None:
    ctx = docker_project(
        tmp_path,
        engine_host,
        unique,
        serve=SETTINGS + 'probes = "probes.jsonl"\n',
        files={"serve.sh": SERVER, "probes.jsonl": PROBES},
    )
    try:
        result = go(ctx)
        assert result.probes == 1
        # Who reads it knows what is in it; here it is that the model answered.
        assert json.loads((result.run.path / "probes.json").read_text())["probes"]
        assert leftovers(engine, ctx) == ([], [])
        # The image without a record is gone again.
        tags = [
            image.tags
            for image in engine.images()
            if (image.config.get("Labels") or {}).get("org.opencontainers.image.title") == unique
        ]
        assert tags == [(f"{unique}:train",)]
    finally:
        clean(engine, unique)
