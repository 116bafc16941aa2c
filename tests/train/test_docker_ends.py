"""Runs in an engine that do not end by themselves: interrupts, a killed mllock, a killed engine.

Whatever happens, nothing of the run is left in the engine, or the next run removes it; and nothing
of anybody else's is touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.containers import clean, docker_project, leftovers, own_engine

from mllock.engine.docker import DockerEngine
from mllock.engine.types import ContainerPlan
from mllock.errors import ProgramError
from mllock.processes import INTERRUPTS
from mllock.train.leftovers import Claim
from mllock.train.runs import list_runs
from mllock.workflows.context import Context
from mllock.workflows.train import train

# Without `exec`, so that the shell is there to be asked; a program that is never done.
PATIENT = """
trap 'echo stopping; exit 0' INT TERM HUP
mkdir -p out/model; echo half > out/model/half
echo ready
while :; do sleep 0.1; done
"""
STUBBORN = """
trap 'echo no' INT TERM
echo ready
while :; do sleep 0.1; done
"""


@pytest.fixture
def project(
    tmp_path: Path, engine_host: str, engine: DockerEngine, unique: str
) -> Iterator[Callable[[str], Context]]:
    yield lambda program: docker_project(tmp_path, engine_host, unique, program)
    clean(engine, unique)


def start(ctx: Context) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mllock", "--project", str(ctx.project), "train"],
        env={**ctx.environ, "MLLOCK_CACHE": str(ctx.project.parent / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What it printed; killed if it does not end, so that a test fails and does not hang."""
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def wait_for(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    assert process.stderr is not None
    seen = b""
    while text not in seen:
        data = os.read(process.stderr.fileno(), 4096)
        assert data, seen
        seen += data
    return seen


def images(engine: DockerEngine, name: str) -> list[str]:
    return [
        tag
        for image in engine.images()
        if (image.config.get("Labels") or {}).get("org.opencontainers.image.title") == name
        for tag in image.tags or ("without a tag",)
    ]


@pytest.mark.parametrize("number", INTERRUPTS)
def test_an_interrupt_is_passed_on_and_leaves_nothing(
    project: Callable[[str], Context], engine: DockerEngine, unique: str, number: int
) -> None:
    ctx = project(PATIENT)
    with start(ctx) as process:
        wait_for(process, b"ready\n")
        os.kill(process.pid, number)
        out, err = ended(process)
    assert (process.returncode, out) == (130, b"")
    assert err.decode() == "stopping\n\ninterrupted: nothing was half-written\n"
    (run,) = list_runs(ctx.runs)
    assert sorted(path.name for path in run.path.iterdir()) == ["failed.json", "log.txt"]
    failure = run.failure()
    assert failure is not None
    assert (failure.kind, failure.exit_code) == ("interrupted", 0)
    assert leftovers(engine, ctx) == ([], [])
    assert images(engine, unique) == []
    assert list((ctx.state / "tmp").iterdir()) == []


def test_a_second_interrupt_ends_a_stubborn_program(
    project: Callable[[str], Context], engine: DockerEngine, unique: str
) -> None:
    ctx = project(STUBBORN)
    with start(ctx) as process:
        wait_for(process, b"ready\n")
        os.kill(process.pid, signal.SIGINT)
        wait_for(process, b"no\n")
        os.kill(process.pid, signal.SIGINT)
        ended(process)
    assert process.returncode == 130
    failure = list_runs(ctx.runs)[0].failure()
    assert failure is not None
    assert (failure.kind, failure.exit_code) == ("interrupted", -9)
    assert leftovers(engine, ctx) == ([], [])


def test_an_interrupt_while_everything_is_made_leaves_nothing(
    project: Callable[[str], Context], engine: DockerEngine, unique: str
) -> None:
    """At many moments: whatever the engine was asked for then is gone again."""
    ctx = project(PATIENT)
    for moment in range(8):
        with start(ctx) as process:
            wait_for(process, b"loading" if moment < 4 else b"running")
            time.sleep(0.05 * (moment % 4))
            os.kill(process.pid, signal.SIGINT)
            ended(process)
        assert process.returncode == 130
        assert leftovers(engine, ctx) == ([], [])
        assert images(engine, unique) == []


def test_an_image_that_was_there_stays(
    project: Callable[[str], Context], engine: DockerEngine, unique: str
) -> None:
    ctx = project("echo ready; exit 3\n")
    with pytest.raises(ProgramError):
        train(ctx, runtime="docker")
    assert images(engine, unique) == [f"{unique}:train"]
    before = engine.image(f"{unique}:train")
    (ctx.project / "train.sh").write_text(PATIENT)
    with start(ctx) as process:
        wait_for(process, b"ready\n")
        os.kill(process.pid, signal.SIGINT)
        ended(process)
    assert images(engine, unique) == [f"{unique}:train"]
    assert engine.image(f"{unique}:train") == before


def test_what_a_killed_mllock_left_is_removed_by_the_next_run(
    project: Callable[[str], Context], engine: DockerEngine
) -> None:
    ctx = project(PATIENT)
    with start(ctx) as process:
        wait_for(process, b"ready\n")
        os.killpg(process.pid, signal.SIGKILL)
        ended(process)
    ((container,), (volume,)) = leftovers(engine, ctx)
    assert container == f"mllock-{volume}"
    assert list_runs(ctx.runs) == ()
    (ctx.project / "train.sh").write_text("echo again; exit 3\n")
    with start(ctx) as process:
        _, err = ended(process)
    assert process.returncode == 1
    assert f"removed the container of run {volume}, which was killed\n" in err.decode()
    assert leftovers(engine, ctx) == ([], [])


def test_a_run_that_lives_is_left_alone(
    project: Callable[[str], Context], engine: DockerEngine, unique: str
) -> None:
    """Another run of the project; and the same labels on what is not this project's."""
    ctx = project(PATIENT)
    stranger = engine.create(
        ContainerPlan(
            image=next(iter(engine.images())).id,
            command=("x",),
            labels={"mllock.run": "20200101-000000-aaaa", "mllock.owner": "0" * 32},
        )
    )
    try:
        with start(ctx) as process:
            wait_for(process, b"ready\n")
            (ctx.project / "train.sh").write_text("exit 3\n")
            with pytest.raises(ProgramError):
                train(ctx, runtime="docker")
            assert len(leftovers(engine, ctx)[0]) == 1
            os.kill(process.pid, signal.SIGINT)
            ended(process)
        assert process.returncode == 130
        assert engine.container(stranger) is not None
    finally:
        engine.remove(stranger)


def test_a_label_is_no_path(
    project: Callable[[str], Context], engine: DockerEngine, tmp_path: Path
) -> None:
    """Whoever may use the engine may write any label."""
    ctx = project("exit 3\n")
    victim = tmp_path / "victim.lock"
    victim.write_text("mine")
    (ctx.state / "tmp").mkdir(parents=True, exist_ok=True)
    with Claim(ctx.state, "20200101-000000-bbbb") as claim:
        labels = {"mllock.run": "/../../../../victim", "mllock.owner": claim.owner}
    made = engine.create(
        ContainerPlan(image=next(iter(engine.images())).id, command=("x",), labels=labels)
    )
    try:
        with pytest.raises(ProgramError):
            train(ctx, runtime="docker")
        assert victim.read_text() == "mine"
        assert engine.container(made) is not None
    finally:
        engine.remove(made)


def test_an_engine_that_dies_during_training(tmp_path: Path, unique: str) -> None:
    (tmp_path / "engine").mkdir()
    with own_engine(tmp_path / "engine") as (host, daemon):
        ctx = docker_project(tmp_path, host, unique, PATIENT)
        with start(ctx) as process:
            wait_for(process, b"ready\n")
            os.killpg(daemon.pid, signal.SIGKILL)
            out, err = ended(process)
    assert (process.returncode, out) == (4, b"")
    assert err.decode() == (
        "error: the container engine went away while it was to wait for a container\n"
        "hint: start it again, then run the same command again\n"
    )
    assert list_runs(ctx.runs) == ()
    assert list((ctx.state / "tmp").iterdir()) == []


def test_the_output_of_a_chatty_program_waits_for_a_slow_terminal(
    project: Callable[[str], Context],
) -> None:
    """All of it is in the log, and the terminal got the same bytes."""
    ctx = project("for i in $(seq 1 20000); do echo line $i of a program that says much; done\n")
    seen: list[bytes] = []
    slow = threading.Event()

    def take(chunk: bytes) -> None:
        if not seen:
            slow.wait(0.5)
        seen.append(chunk)

    result = train(ctx, runtime="docker", output=take)
    log = result.run.log.read_bytes()
    assert log.count(b"\n") == 20000
    assert b"".join(seen) == log
