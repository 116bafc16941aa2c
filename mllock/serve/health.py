"""The health check of a serving image: the question of `wait_ready`, asked by the engine.

The image has no curl, and needs none: its own Python asks, without site packages and deaf to
variables, so that the check is quick and is the same whatever the deployment sets.
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
    path = quote(serve.health, safe=SAFE)
    program = (
        "import http.client as h;"
        f"c=h.HTTPConnection('127.0.0.1',{serve.port},timeout={_SECONDS});"
        f"c.request('GET',{path!r});"
        "raise SystemExit(not 200<=c.getresponse().status<300)"
    )
    return (PREFIX.interpreter, "-I", "-S", "-c", program)
