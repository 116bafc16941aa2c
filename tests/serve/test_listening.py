"""Who listens on a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mllock.errors import SurroundingsError
from mllock.serve.listening import free_port, listens_alone, ports_of, refuse_used_port

PROGRAM = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[tuple[int, int]]:
    """A program in a session of its own that listens: its session and port."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "127.0.0.1", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate()


def test_a_program_and_its_port(listener: tuple[int, int]):
    session, port = listener
    assert ports_of(session) == (port,)
    assert listens_alone(port, session)
    assert not listens_alone(port, os.getsid(0))
    assert not listens_alone(free_port(), session)
    with pytest.raises(SurroundingsError) as caught:
        refuse_used_port(port, "the way out")
    assert str(caught.value) == f"port {port} is in use\nhint: the way out"


def test_another_one_on_the_same_port(listener: tuple[int, int]):
    """On another address of this machine: who asks could get the wrong one."""
    session, port = listener
    with socket.create_server(("127.0.0.2", port)):
        assert not listens_alone(port, session)
    assert listens_alone(port, session)


def test_a_free_port_is_not_refused():
    refuse_used_port(free_port(), "x")


def test_a_port_that_this_user_may_not_use():
    """Without the capability, ports below a limit are the administrator's."""
    code = (
        "import os, sys\n"
        "from mllock.errors import SurroundingsError\n"
        "from mllock.serve.listening import refuse_used_port\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: refuse_used_port(81, 'x')\n"
        "except SurroundingsError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        limit = int(file.read())
    expected = "port 81 cannot be used: permission denied\nhint: x\n" if limit > 81 else ""
    assert (done.stdout, done.stderr) == (expected, "")
