"""A program in the background: live output, and nothing left."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mllock.errors import ProgramError
from mllock.serve.background import Background, in_background


def program(tmp_path: Path, code: str, *, grace: float = 20, output: list[bytes] | None = None):
    return in_background(
        [sys.executable, "-c", code],
        folder=tmp_path,
        variables={"A": "b"},
        log=tmp_path / "log",
        output=None if output is None else output.append,
        grace=grace,
    )


def until(ready: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def printed(tmp_path: Path, text: bytes) -> Callable[[], bool]:
    return lambda: text in (tmp_path / "log").read_bytes()


SERVER = """
import os, signal, sys, time
def stop(number, frame):
    os.write(1, b"bye\\n")
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""


def gone(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_is_told_to_stop_and_what_it_says_is_in_the_log(tmp_path: Path):
    output: list[bytes] = []
    with program(tmp_path, SERVER, output=output) as running:
        until(printed(tmp_path, b"ready"))
        assert running.exit_code() is None
        assert running.stop()
        assert running.exit_code() == 3
        assert running.stop()
    assert (tmp_path / "log").read_bytes() == b"".join(output) == b"ready\nbye\n"
    assert gone(running.session)


def test_the_end_of_the_block_is_enough(tmp_path: Path):
    with program(tmp_path, SERVER) as running:
        until(printed(tmp_path, b"ready"))
    assert running.exit_code() == 3
    assert (tmp_path / "log").read_bytes() == b"ready\nbye\n"


def test_an_error_in_the_block_as_well(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), program(tmp_path, SERVER) as running:
        until(printed(tmp_path, b"ready"))
        raise KeyboardInterrupt
    assert gone(running.session)


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def test_what_does_not_stop_is_killed(tmp_path: Path):
    with program(tmp_path, STUBBORN, grace=0.2) as running:
        until(printed(tmp_path, b"ready"))
        assert not running.stop()
        assert running.exit_code() == -signal.SIGKILL
    assert gone(running.session)


def test_a_second_interrupt_while_it_stops_kills_it(tmp_path: Path):
    def interrupt() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    thread = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt), program(tmp_path, STUBBORN, grace=60) as running:
        until(printed(tmp_path, b"ready"))
        thread.start()
        running.stop()
    thread.join()
    assert gone(running.session)
    assert time.monotonic() - began < 30


def test_children_go_with_it(tmp_path: Path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
    )
    with program(tmp_path, code) as running:
        assert isinstance(running, Background)
        assert running.wait() == 0
        until(printed(tmp_path, b"\n"))
    child = int((tmp_path / "log").read_text())
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in _state(child))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_only_the_given_variables(tmp_path: Path):
    with program(tmp_path, "import os; print(sorted(os.environ))") as running:
        running.wait()
    assert "'A'" in (tmp_path / "log").read_text()
    assert "PATH" not in (tmp_path / "log").read_text()


def test_no_such_program(tmp_path: Path):
    with (
        pytest.raises(ProgramError) as caught,
        in_background(
            ["no-such-tool"],
            folder=tmp_path,
            variables={"PATH": "/bin"},
            log=tmp_path / "log",
            output=None,
            grace=1,
        ),
    ):
        pass
    assert str(caught.value) == (
        "mlproject.toml: serve.command: cannot run no-such-tool: no such file or directory\n"
        "expected: a program of the locked environment or in /bin\n"
        "hint: add the package that has it to [environment] dependencies"
    )
