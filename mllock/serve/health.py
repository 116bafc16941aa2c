"""The health check of a serving image: the question of `wait_ready`, asked by the engine.

The image has no curl, and needs none: its own Python asks, without site packages and deaf to
variables, so that the check is the same whatever the deployment sets. It is asked for ever, so it
has to cost nothing: built-in modules only, for `http.client` alone takes a second where there is no
bytecode.
"""

from __future__ import annotations

from urllib.parse import quote

from mllock.image.wheel import PREFIX
from mllock.spec.types import Serve

__all__ = ["SAFE", "health_command"]

# What a path and its query may hold as it is (RFC 3986).
SAFE = "/%?&=+:,;@!$'()*~"
_SECONDS = 5


def health_command(serve: Serve) -> tuple[str, ...]:
    """Ends with 0 if GET of `[serve] health` is answered with 200 to 299; empty without one."""
    if serve.health is None:
        return ()
    lines = (
        f"GET {quote(serve.health, safe=SAFE)} HTTP/1.1",
        f"Host: 127.0.0.1:{serve.port}",
        "Connection: close",
        "",
        "",
    )
    request = "\r\n".join(lines).encode("ascii")
    # The first 12 bytes are "HTTP/1.1 200".
    program = (
        f"import _signal,_socket;_signal.alarm({_SECONDS});c=_socket.socket();"
        f"c.connect(('127.0.0.1',{serve.port}));c.sendall({request!r});"
        "a=c.recv(12,_socket.MSG_WAITALL);"
        "raise SystemExit(not(a[:7]==b'HTTP/1.'and a[9:10]==b'2'))"
    )
    return (PREFIX.interpreter, "-I", "-S", "-c", program)
