"""Ctrl-C and SIGTERM: passed on, waited for, and nothing that looks good is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from support.training import PROGRAM, locked

from mllock.errors import ProgramError
from mllock.train.process import run_program
from mllock.train.runs import list_runs
from mllock.workflows.context import Context

TESTS = Path(__file__).parents[1]

# The command line, with an environment without layers: the rest is as users run it.
DRIVER = """
import sys
import mllock.workflows.environment as environment
from support.training import no_layers
environment.environment_of = no_layers
from mllock.cli.main import main
main(sys.argv[1:])
"""


def start(ctx: Context) -> subprocess.Popen[bytes]:
    home = ctx.project.parent
    environ = {**ctx.environ, "PYTHONPATH": str(TESTS), "MLLOCK_CACHE": str(home / "cache")}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, "--project", str(ctx.project), "train"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """Read standard error until `text` has come: the program is running."""
    assert process.stderr is not None
    seen = b""
    while text not in seen:
        data = os.read(process.stderr.fileno(), 4096)
        assert data, seen
        seen += data
    return seen


PATIENT = """
import os, pathlib, signal, sys, time
def stop(number, frame):
    os.write(1, b"stopping %d\\n" % number)
    sys.exit(0)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, stop)
pathlib.Path("model").write_text("half")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_is_passed_on_and_leaves_no_good_run(tmp_path: Path, number: int) -> None:
    ctx = locked(tmp_path, program=PATIENT)
    with start(ctx) as process:
        wait_for(process, b"ready\n")
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == b""
    assert err.decode() == (
        # The empty line is where a terminal shows ^C.
        f"stopping {number}\n\ninterrupted: nothing was half-written\n"
    )
    (run,) = list_runs(ctx.runs)
    assert sorted(path.name for path in run.path.iterdir()) == ["failed.json", "log.txt"]
    failure = run.failure()
    assert failure is not None
    # It ended well, and wrote a model: it is an interrupted run all the same.
    assert (failure.kind, failure.exit_code) == ("interrupted", 0)
    assert list((ctx.state / "tmp").iterdir()) == []


CHATTY = (
    """
import time
print("ready", flush=True)
for number in range(50):
    print(number, flush=True)
    time.sleep(0.01)
"""
    + PROGRAM
)


def test_who_reads_the_output_may_leave(tmp_path: Path) -> None:
    ctx = locked(tmp_path, program=CHATTY)
    with start(ctx) as process:
        wait_for(process, b"ready\n")
        assert process.stderr is not None and process.stdout is not None
        process.stderr.close()
        out = process.stdout.read()
    assert process.returncode == 0
    assert out.startswith(b"run      ")
    (run,) = list_runs(ctx.runs)
    assert run.is_good
    assert b"\n49\n" in run.log.read_bytes()


def test_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    ctx = locked(tmp_path, program=CHATTY)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(ctx)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        wait_for(process, b"ready\n")
        os.kill(process.pid, signal.SIGHUP)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [run.is_good for run in list_runs(ctx.runs)] == [True]


def test_kill_9_leaves_no_run_and_the_next_one_works(tmp_path: Path) -> None:
    ctx = locked(tmp_path, program=PATIENT)
    with start(ctx) as process:
        wait_for(process, b"ready\n")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
    assert list_runs(ctx.runs) == ()
    (ctx.project / "train.py").write_text(PROGRAM)
    with start(ctx) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith(b"run      ")
    assert [run.is_good for run in list_runs(ctx.runs)] == [True]


STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def interrupt_when_ready(log: Path, times: int) -> threading.Thread:
    def send() -> None:
        while not log.exists() or b"ready" not in log.read_bytes():
            time.sleep(0.01)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize(("grace", "times"), [(0.3, 1), (60.0, 2)], ids=["grace", "twice"])
def test_a_program_that_does_not_stop_is_killed(tmp_path: Path, grace: float, times: int) -> None:
    log = tmp_path / "log"
    thread = interrupt_when_ready(log, times)
    began = time.monotonic()
    ended = run_program(
        [sys.executable, "-c", STUBBORN],
        folder=tmp_path,
        variables={},
        log=log,
        output=None,
        grace=grace,
    )
    thread.join()
    assert (ended.exit_code, ended.interrupted) == (-signal.SIGKILL, True)
    assert time.monotonic() - began < 20
    # Outside of a program Ctrl-C is what it was.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_output_is_live_and_whole(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys
        sys.stdout.write("out")
        sys.stdout.flush()
        sys.stderr.write("err")
        sys.stderr.flush()
        sys.stdout.buffer.write(b"x" * 300_000 + bytes(range(256)))
    """)
    got: list[bytes] = []
    ended = run_program(
        [sys.executable, "-c", code],
        folder=tmp_path,
        variables={},
        log=tmp_path / "log",
        output=got.append,
    )
    assert ended.exit_code == 0
    expected = b"outerr" + b"x" * 300_000 + bytes(range(256))
    assert (tmp_path / "log").read_bytes() == b"".join(got) == expected
    assert got[0].startswith(b"out")


def test_a_daemon_does_not_hold_us(tmp_path: Path) -> None:
    """A process in a session of its own keeps our pipe open: it is not waited for."""
    code = "import subprocess; subprocess.Popen(['sleep', '10'], start_new_session=True)"
    began = time.monotonic()
    ended = run_program(
        [sys.executable, "-c", code],
        folder=tmp_path,
        variables={"PATH": "/usr/bin:/bin"},
        log=tmp_path / "log",
        output=None,
    )
    assert ended.exit_code == 0
    assert time.monotonic() - began < 8


def test_a_command_is_looked_up_in_its_own_path(tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        run_program(
            ["sh"],
            folder=tmp_path,
            variables={"PATH": str(tmp_path)},
            log=tmp_path / "log",
            output=None,
        )
    assert caught.value.message == "cannot run sh: no such file or directory"


def test_in_a_thread_the_program_runs_as_well(tmp_path: Path) -> None:
    codes = []

    def go() -> None:
        ended = run_program(
            ["/bin/sh", "-c", "exit 7"],
            folder=tmp_path,
            variables={},
            log=tmp_path / "log",
            output=None,
        )
        codes.append(ended.exit_code)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    assert codes == [7]
