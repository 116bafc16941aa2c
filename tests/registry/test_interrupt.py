"""Ctrl-C while a registry does not go on: the command ends at once, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import pytest
from support.e2e import MLLOCK, mllock
from support.sharing import RICH, push


@pytest.fixture
def stalls(server):
    """The registry stops in the middle of the requests that match; an event says that it did."""
    reached, go_on = threading.Event(), threading.Event()

    def install(matches):
        def fault(request):
            if not matches(request):
                return False
            if request.command == "GET":  # the answer has begun
                request.send_response(200)
                request.end_headers()
            reached.set()
            go_on.wait(60)
            request.hang_up()
            return True

        server.faults.append(fault)
        return reached

    yield install
    go_on.set()


def interrupted(folder, *arguments, environ, reached):
    """Type a command, press Ctrl-C once the registry has stopped; exit code and what was said."""
    with subprocess.Popen(
        [str(MLLOCK), *arguments],
        cwd=folder,
        env={**os.environ, **environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert reached.wait(60)
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        # Waiting for the registry would be 30 seconds.
        assert time.monotonic() - started < 15
    return process.returncode, said.splitlines()[-1]


ENDED = (130, "interrupted: nothing was half-written")


def test_push(rich, server, stalls):
    reached = stalls(lambda r: r.command == "PUT" and len(server.blobs) > 4)
    target = f"registry:{server.host}/wine:v1"
    environ = dict(rich.context().environ)
    before = sorted(path.name for path in (rich.project / ".mllock").rglob("*"))
    assert interrupted(rich.project, "push", target, "--run", RICH, environ=environ,
                       reached=reached) == ENDED  # fmt: skip
    assert server.tags == {}
    assert sorted(path.name for path in (rich.project / ".mllock").rglob("*")) == before
    server.faults.clear()
    done = mllock(rich.project, "push", target, "--run", RICH, environ=environ)
    assert done.returncode == 0, done.stderr
    assert {name for _, name in server.tags} == {"v1", "v1-serve", "v1-train"}


@pytest.mark.parametrize("what", ["manifests/sha256", "blobs/"])
def test_pull(rich, server, stalls, elsewhere, what):
    push(rich, server.host, run=RICH)
    server.asked.clear()
    reached = stalls(lambda r: what in r.path and len(server.asked) > 3)
    ctx = elsewhere(rich)
    target = f"registry:{server.host}/wine:v1"
    assert interrupted(ctx.project, "pull", target, environ=ctx.environ, reached=reached) == ENDED
    assert list(ctx.project.iterdir()) == []
    server.faults.clear()
    done = mllock(ctx.project, "pull", target, environ=ctx.environ)
    assert done.returncode == 0, done.stderr


def test_check(rich, server, stalls):
    push(rich, server.host, run=RICH)
    server.asked.clear()
    reached = stalls(lambda r: "blobs/" in r.path and len(server.asked) > 4)
    target = f"registry:{server.host}/wine:v1"
    environ = dict(rich.context().environ)
    assert interrupted(rich.project, "check", target, environ=environ, reached=reached) == ENDED
