"""Progress: a bar on a terminal, a line elsewhere, nothing where it is not wanted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

PROGRAM = """\
import sys
from mllock.cli.app import TerminalReporter
reporter = TerminalReporter(verbosity={verbosity})
with reporter.progress("pushing to \\x1b[2Jexample.org", 2000) as move:
    move(1500)
    move(-500)
    move(1000)
print("rich" in sys.modules)
"""


def on_a_terminal(verbosity: int = 0, **environ: str) -> tuple[str, str]:
    """Standard output, and what the terminal that is standard error was sent."""
    outer, inner = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(verbosity=verbosity)],
            stdout=subprocess.PIPE,
            stderr=inner,
            text=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environ},
        ) as process:
            os.close(inner)
            sent = b""
            while True:
                try:
                    piece = os.read(outer, 65536)
                except OSError:  # Linux: nobody has the other end any more
                    break
                if not piece:
                    break
                sent += piece
            assert process.stdout is not None
            out = process.stdout.read()
        assert process.returncode == 0
    finally:
        os.close(outer)
    return out, sent.decode()


def test_a_bar_on_a_terminal() -> None:
    out, sent = on_a_terminal()
    assert out == "True\n"
    assert "pushing to \\x1b[2Jexample.org" in sent
    assert "2.0/2.0 kB" in sent
    # What comes from outside moves no cursor.
    assert "\x1b[2Jexample" not in sent


@pytest.mark.parametrize(
    ("verbosity", "environ", "sent"),
    [(-1, {}, ""), (0, {"TERM": "dumb"}, "pushing to \\x1b[2Jexample.org")],
)
def test_no_bar(verbosity: int, environ: dict[str, str], sent: str) -> None:
    out, found = on_a_terminal(verbosity, **environ)
    assert out == "False\n"
    assert found.strip().replace("\x1b[2m", "").replace("\x1b[0m", "") == sent


def test_a_line_in_a_file() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(verbosity=0)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
    assert done.stderr == "pushing to \\x1b[2Jexample.org\n"
