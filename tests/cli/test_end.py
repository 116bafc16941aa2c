"""The end of the process: nothing of what Python does in the end is missed but taking itself apart.

Each program is a whole process whose command line is replaced (`run`), so that what it leaves to be
done in the end is known; `TRACE` tells whether the interpreter took itself apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What a module holds is dropped when the interpreter takes itself apart, after everything else.
TRACE = """\
import os
class Trace:
    def __del__(self, write=os.write):
        write(2, b"taken apart\\n")
kept = Trace()
"""
PROGRAM = """\
import atexit, sys, threading, time
import mllock.cli.main as line
from mllock.__main__ import main
def run(argv):
{body}
line.run = run
main()
"""
# With that variable, nothing is left to be written in the end.
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


def ended(
    body: str, folder: Path, *, site: str = "", **streams: object
) -> subprocess.CompletedProcess[str]:
    """How a process ends whose command line is `body`; `site` is done before all else."""
    (folder / "sitecustomize.py").write_text(TRACE + site)
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=lines)],
        env=BUFFERED | {"PYTHONPATH": str(folder)},
        text=True,
        check=False,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams),
    )


@pytest.mark.parametrize("code", [0, 1, 7, 141])
def test_the_code_is_the_command_s(tmp_path: Path, code: int) -> None:
    done = ended(f"sys.stdout.write('all of it'); return {code}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "all of it", "")


def test_threads_and_exit_functions_come_first(tmp_path: Path) -> None:
    body = """\
atexit.register(sys.stdout.write, 'exit function, ')
atexit.register(sys.stdout.write, 'last one first, ')
threading.Thread(target=lambda: (time.sleep(0.1), sys.stdout.write('thread, '))).start()
sys.stdout.write('command, ')
return 3"""
    done = ended(body, tmp_path)
    said = "command, thread, last one first, exit function, "
    assert (done.returncode, done.stdout, done.stderr) == (3, said, "")


def test_exit_functions_that_were_there_before_run(tmp_path: Path) -> None:
    """Those of a coverage tool, say: they would come after ours."""
    site = "import atexit\natexit.register(os.write, 2, b'theirs\\n')\n"
    done = ended("return 3", tmp_path, site=site)
    assert (done.returncode, done.stderr) == (3, "theirs\ntaken apart\n")


def test_an_exception_that_nobody_caught(tmp_path: Path) -> None:
    done = ended("raise LookupError('a bug')", tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("LookupError: a bug\ntaken apart\n")
    assert "Traceback (most recent call last):\n" in done.stderr


def test_what_cannot_be_written_in_the_end_is_told_by_python(tmp_path: Path) -> None:
    """Nothing that a command says, which is written at once: what something else left behind."""
    with open("/dev/full", "w") as full:
        done = ended("sys.stdout.write('all of it'); return 0", tmp_path, stdout=full)
    assert done.returncode == 120
    assert done.stderr.endswith("OSError: [Errno 28] No space left on device\ntaken apart\n")


def test_a_reader_that_left_before_the_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = ended("sys.stdout.write('all of it'); return 0", tmp_path, stdout=pipe)
    assert done.returncode == 120
    assert done.stderr.endswith("BrokenPipeError: [Errno 32] Broken pipe\ntaken apart\n")


def test_errors_that_cannot_be_written(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = ended("sys.stderr.write('a line'); return 5", tmp_path, stderr=full)
    assert (done.returncode, done.stdout) == (120, "")


@pytest.mark.parametrize("arguments", ["--version", "lock --help", "runs --json"])
def test_a_full_disk_under_the_output_is_told_once(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "mlproject.toml").write_text(
        '[project]\nname = "p"\n[environment]\npython = "3.11"\n'
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mllock", *arguments.split()],
            cwd=tmp_path,
            env=BUFFERED,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        4,
        "error: cannot write: no space left on device\n"
        "hint: free some space, then run the same command again\n",
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_somebody_closed(tmp_path: Path, stream: str) -> None:
    done = ended(f"sys.{stream}.close(); return 5", tmp_path)
    assert (done.returncode, done.stdout) == (5, "")


def test_a_child_that_was_forked_ends_with_its_own_code(tmp_path: Path) -> None:
    body = """\
import os
child = os.fork()
if not child:
    sys.exit(9)
sys.stdout.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
return 3"""
    done = ended(body, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "9", "")
