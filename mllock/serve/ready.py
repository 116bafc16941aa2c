"""Waiting until a server is ready: bounded, and with the reason if it never is.

Ready is: the program that was started listens, and answers GET of its health path, if it declares
one, with 200 to 299. Raises ProgramError with the end of its log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

from mllock.errors import ProgramError
from mllock.probes.ask import NoAnswerError, ask
from mllock.serve.health import SAFE
from mllock.serve.types import Server
from mllock.train.logs import how_it_failed

__all__ = ["PATIENCE", "ended_early", "wait_ready"]

# Large models take minutes to load; a program that hangs must not hold a machine for ever.
PATIENCE = 300.0
_PAUSE = 0.02
_ASK_SECONDS = 5.0
_ASK_BYTES = 64 * 1024


def wait_ready(
    server: Server,
    health: str | None,
    patience: float = PATIENCE,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when `server` is ready; `health` is `[serve] health`."""
    until = clock() + patience
    last = ""
    while True:
        code = server.exit_code()
        if code is not None:
            raise ended_early(server, code, "before it was ready")
        listens = server.listens()
        if listens and health is None:
            return
        if listens and health is not None:
            last = _health(server, health)
            if not last:
                return
        if clock() > until:
            raise _never(server, health, patience, last or server.elsewhere())
        sleep(_PAUSE)


def ended_early(server: Server, code: int, when: str) -> ProgramError:
    how = "ended by itself" if code == 0 else how_it_failed(code)
    return ProgramError(
        f"the serving program {how} {when}",
        file="mlproject.toml",
        key="serve.command",
        found=server.tail() or "no output",
    )


def _health(server: Server, path: str) -> str:
    """Why it is not ready, in words; empty if it is."""
    try:
        answer = ask(
            server.address,
            "GET",
            quote(path, safe=SAFE),
            {},
            None,
            most=_ASK_BYTES,
            seconds=_ASK_SECONDS,
        )
    except NoAnswerError as error:
        return str(error)
    return "" if 200 <= answer.status <= 299 else f"it answers with status {answer.status}"


def _never(server: Server, health: str | None, patience: float, why: str) -> ProgramError:
    what = f"port {server.address.port}" if health is None else f"GET {health}"
    return ProgramError(
        f"the serving program did not answer {what} within {patience:g} s: {why}",
        file="mlproject.toml",
        key="serve.command" if health is None else "serve.health",
        expected=f"a program that listens on port {server.address.port}"
        + ("" if health is None else f" and answers {health} with 200 to 299"),
        found=server.tail() or "no output",
    )
