"""Who listens on which TCP port of this machine: so that no other program answers for ours.

Read from /proc (proc(5), `net/tcp`: address, state 0A is LISTEN, inode), where the kernel says it.
A program is known by its session: what it starts is in it, unless it leaves it on purpose.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from mllock.errors import SurroundingsError

__all__ = ["free_port", "listens_alone", "ports_of", "refuse_used_port"]

_LISTEN = "0A"


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def refuse_used_port(port: int, hint: str) -> None:
    """Raises SurroundingsError if a program listens on `port`, or if this user may not."""
    if any(number == port for number, _ in _listeners()):
        raise SurroundingsError(f"port {port} is in use", hint=hint)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: what is left of closed connections is in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))  # to see whether it can be; nobody listens
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SurroundingsError(f"port {port} cannot be used: {reason}", hint=hint) from error


def listens_alone(port: int, session: int) -> bool:
    """Whether somebody of `session` listens on `port`, and nobody else does."""
    inodes = {inode for number, inode in _listeners() if number == port}
    return bool(inodes) and inodes <= _sockets(session)


def ports_of(session: int) -> tuple[int, ...]:
    """The ports that `session` listens on, sorted."""
    sockets = _sockets(session)
    return tuple(sorted({number for number, inode in _listeners() if inode in sockets}))


def _listeners() -> Iterator[tuple[int, str]]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    yield int(fields[1].rpartition(":")[2], 16), fields[9]


def _sockets(session: int) -> set[str]:
    """The inodes of all sockets that are open in processes of `session`."""
    found: set[str] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # proc(5): pid (name) state ppid pgrp session ...; a name may hold blanks.
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                found |= set(_inodes(folder / "fd"))
    return found


def _inodes(folder: Path) -> Iterator[str]:
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            target = os.readlink(folder / name)
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]
