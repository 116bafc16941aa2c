"""Asking one thing of an HTTP server that may be hostile: bounded bytes, bounded time, no detours.

One connection for each question. No redirect is followed, no proxy, cookie or credential of the
environment is used, certificates are verified. A watch ends the connection when the time is up,
whatever the other side drips until then. Nothing that is sent says who asks: a server that knew
could answer mllock and others differently. Raises NoAnswerError with a reason.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol, Self

from mllock.probes.address import Address
from mllock.probes.types import Answer, Probe

__all__ = ["SECONDS", "Ask", "NoAnswerError", "ask", "ask_probe"]

# Large models take their time to answer.
SECONDS = 120.0
_CHUNK = 64 * 1024
_MAX_TYPE = 200


class NoAnswerError(Exception):
    """There is no whole answer. The text is a reason such as "connection refused"."""


class Ask(Protocol):
    """Ask one probe; at most `most` bytes of the body are read."""

    def __call__(self, probe: Probe, *, most: int) -> Answer: ...


def ask_probe(
    address: Address,
    probe: Probe,
    *,
    most: int,
    seconds: float = SECONDS,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """`headers` are sent besides those of the probe."""
    body = None if probe.body is None else probe.body.encode()
    return ask(
        address,
        probe.method,
        probe.path,
        {**probe.headers, **(headers or {})},
        body,
        most=most,
        seconds=seconds,
    )


def ask(
    address: Address,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    most: int,
    seconds: float,
) -> Answer:
    """One question. Of the body, `most` bytes are read."""
    with _translated(seconds), _connected(address, seconds) as (connection, watch):
        connection.request(
            method,
            address.prefix + path,
            body=body,
            headers={**headers, "connection": "close"},
        )
        with contextlib.closing(connection.getresponse()) as response:
            data = _read(response, most + 1)
            if watch.expired:
                raise TimeoutError
            if len(data) <= most and response.length:
                raise NoAnswerError("the answer ended early")
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            coding = response.headers.get("content-encoding", "").strip().lower()
            return Answer(
                status=response.status,
                type=kind[:_MAX_TYPE],
                body=data[:most],
                encoding="" if coding == "identity" else coding[:_MAX_TYPE],
                cut=len(data) > most,
                location=response.headers.get("location", "")[:_MAX_TYPE],
            )


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    data = bytearray()
    while len(data) < most:
        chunk = response.read(min(_CHUNK, most - len(data)))
        if not chunk:
            break
        data += chunk
    return bytes(data)


class _Watch:
    """Ends a connection, from outside, when its time is up."""

    def __init__(self, guard: socket.socket, seconds: float) -> None:
        self.expired = False
        self._guard = guard
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def _expire(self) -> None:
        self.expired = True
        with contextlib.suppress(OSError):
            self._guard.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _connected(
    address: Address, seconds: float
) -> Iterator[tuple[http.client.HTTPConnection, _Watch]]:
    plain = socket.create_connection((address.host, address.port), timeout=seconds)
    # A second name of the same socket: the first one is the TLS library's soon.
    with plain.dup() as guard, _Watch(guard, seconds) as watch:
        try:
            connection: http.client.HTTPConnection
            if address.scheme == "https":
                context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(
                    address.host, address.port, context=context
                )
                connection.sock = context.wrap_socket(plain, server_hostname=address.host)
            else:
                connection = http.client.HTTPConnection(address.host, address.port)
                connection.sock = plain
        except BaseException as error:
            plain.close()
            if watch.expired and isinstance(error, OSError):
                raise TimeoutError from error
            raise
        try:
            yield connection, watch
        except (OSError, http.client.HTTPException) as error:
            if watch.expired:
                raise TimeoutError from error
            raise
        finally:
            connection.close()


@contextlib.contextmanager
def _translated(seconds: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise NoAnswerError(f"no whole answer within {seconds:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError(
            f"its certificate is not to be trusted: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        reason = (error.reason or "no reason given").lower().replace("_", " ")
        raise NoAnswerError(f"no TLS connection: {reason}") from error
    except socket.gaierror as error:
        raise NoAnswerError("no such host") from error
    except http.client.RemoteDisconnected as error:
        raise NoAnswerError("it hung up without an answer") from error
    except http.client.IncompleteRead as error:
        raise NoAnswerError("the answer ended early") from error
    except http.client.HTTPException as error:
        raise NoAnswerError("what it answers is not HTTP") from error
    except OSError as error:
        raise NoAnswerError((error.strerror or str(error)).lower()) from error
