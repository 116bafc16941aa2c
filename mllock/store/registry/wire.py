"""Requests to one registry: connections, credentials, redirects, retries, time.

Rules that hold for every request: credentials go to the registry's own origin and nowhere else;
plain http only where `trust` allows it, and never after https; redirects are followed for reading
alone, at most five; an answer that may change (5xx, 429, a broken connection) is asked for again
with growing pauses until the operation's deadline. Nothing that was read is verified here.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mllock.errors import SurroundingsError
from mllock.store.registry import problems
from mllock.store.registry.auth import Auth
from mllock.store.registry.limits import MAX_ERROR, Deadline, Limits
from mllock.store.registry.session import (
    Connections,
    close_session,
    new_session,
    no_proxy,
    trust,
)
from mllock.store.registry.trust import is_loopback, may_be_plain, named_plain
from mllock.store.transport import (
    REDIRECTS,
    TRANSIENT,
    Body,
    PermanentError,
    TransientError,
    next_url,
    translated,
    wait_of,
)

if TYPE_CHECKING:
    import requests

__all__ = ["Reply", "StoppedError", "TransientAnswerError", "Wire", "read_some"]

_MAX_REDIRECTS = 5
_MAX_LOGINS = 2
_CHUNK = 256 * 1024
# Stand-ins of hosts, as docker has them.
_ALIAS = {"docker.io": "registry-1.docker.io"}

T = TypeVar("T")


class StoppedError(Exception):
    """Another transfer of the same operation failed: this one ends early."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer that was read: `url` is what was asked in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Wire:
    """Connections to the registry `host` about `repository`. Close it, or use it in a `with`."""

    def __init__(
        self, host: str, repository: str, environ: Mapping[str, str], limits: Limits
    ) -> None:
        self.host = host
        self.limits = limits
        self.stop = threading.Event()
        self._environ = environ
        self._netloc = _ALIAS.get(host, host)
        self._auth = Auth(host, repository, environ, self._token_request)
        self._lock = threading.RLock()
        self._sessions: list[requests.Session] = []
        self._origin: str | None = None
        self._connections = Connections()
        self._reading: set[requests.Response] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for response in tuple(self._reading):
            response.close()  # of whoever stopped reading in the middle
        for session in self._sessions:
            close_session(session)

    def abort(self) -> None:
        """End what other threads are doing: nobody waits for it any more."""
        self.stop.set()
        self._connections.end()

    def call(
        self,
        what: str,
        method: str,
        target: str,
        *,
        ok: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        max_bytes: int = MAX_ERROR,
        deadline: Deadline | None = None,
    ) -> Reply:
        """Ask, again if need be, and read the whole answer. `target` is a path or a URL; `body`
        gives the body anew for each try; `what` is for messages.

        Raises SurroundingsError if the status is not one of `ok`; OfflineError.
        """
        until = deadline or self.limits.deadline()

        def attempt() -> Reply:
            return self.once(
                what,
                method,
                target,
                ok=ok,
                headers=headers,
                body=body,
                max_bytes=max_bytes,
                deadline=until,
            )

        try:
            return self.again(attempt, until)
        except (TransientError, PermanentError) as error:
            raise self.gave_up(what, error) from error

    def once(
        self,
        what: str,
        method: str,
        target: str,
        *,
        ok: tuple[int, ...],
        headers: Mapping[str, str] | None,
        body: Callable[[], Any] | None,
        max_bytes: int = MAX_ERROR,
        deadline: Deadline,
    ) -> Reply:
        """The same without another try. Raises TransientError, PermanentError as well."""
        with self.open(method, target, headers=headers, body=body, deadline=deadline) as response:
            limit = max_bytes + 1 if response.status_code in ok else MAX_ERROR
            # Also where there is none: a connection is used again once its answer was read.
            data = read_some(response, limit, deadline)
            reply = Reply(
                status=response.status_code,
                headers=response.headers,
                body=data,
                url=str(response.url),
            )
            if reply.status in ok:
                return reply
            if reply.status in TRANSIENT:
                raise TransientAnswerError(reply, wait_of(response))
        raise problems.refused(self.host, what, reply.status, reply.body)

    def gave_up(self, what: str, error: Exception) -> SurroundingsError:
        """What to say when `error` stays."""
        if isinstance(error, TransientAnswerError):
            return problems.refused(self.host, what, error.reply.status, error.reply.body)
        return problems.unreachable(self.host, what, str(error))

    def again(self, attempt: Callable[[], T], deadline: Deadline) -> T:
        """Call `attempt` until it does not raise TransientError, or was tried enough."""
        pause = self.limits.backoff
        for _ in range(self.limits.retries):
            try:
                return attempt()
            except TransientError as error:
                wait = min(max(pause, error.wait), self.limits.max_wait)
                if deadline.left <= wait:
                    raise
                self.pause(wait)
                pause *= 3
        return attempt()

    def pause(self, seconds: float) -> None:
        """Raises StoppedError if the operation ends meanwhile."""
        if self.stop.wait(seconds):
            raise StoppedError

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        deadline: Deadline,
    ) -> Iterator[requests.Response]:
        """One answer, its body still to be read. Raises TransientError, PermanentError."""
        url = urllib.parse.urljoin(self.origin(deadline) + "/", target)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._authorized(method, url, headers or {}, body, deadline)
            self._reading.add(response)
            try:
                if response.status_code not in REDIRECTS or method not in ("GET", "HEAD"):
                    yield response
                    return
                url = self._next(url, response.headers.get("Location", ""))
            finally:
                self._reading.discard(response)
                response.close()
        raise PermanentError(f"more than {_MAX_REDIRECTS} redirects")

    def location(self, reply: Reply) -> str:
        """Where an upload goes on. Raises PermanentError for what is not followed."""
        return self._next(reply.url, reply.headers.get("Location", ""))

    def origin(self, deadline: Deadline) -> str:
        """`https://HOST`, or `http://HOST` where that is allowed; found out once."""
        with self._lock:
            if self._origin is None:
                plain = named_plain(self._netloc, self._environ)
                if is_loopback(self._netloc) and not plain:
                    plain = self._speaks_http(deadline)
                self._origin = f"{'http' if plain else 'https'}://{self._netloc}"
            return self._origin

    def _speaks_http(self, deadline: Deadline) -> bool:
        try:
            response = self._once("GET", f"http://{self._netloc}/v2/", {}, None, deadline)
        except TransientError as error:
            # What speaks TLS breaks off; what does not listen, or stalls, does so for https too.
            if str(error) != "the connection broke":
                raise
            return False
        with contextlib.closing(response):
            # Servers of Go and nginx explain in plain http that they speak TLS, with 400.
            return response.status_code != 400

    def _authorized(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], Any] | None,
        deadline: Deadline,
    ) -> requests.Response:
        for logins in range(_MAX_LOGINS + 1):
            ours = _origin_of(url) == self._origin
            sent = self._auth.header if ours else None
            extra = {} if sent is None else {"Authorization": sent}
            data = None if body is None else body()
            response = self._once(method, url, {**headers, **extra}, data, deadline)
            if response.status_code != 401 or not ours or logins == _MAX_LOGINS:
                return response
            challenge = response.headers.get("WWW-Authenticate", "")
            try:
                retry = self._auth.answer(challenge, sent, deadline)
            except BaseException:
                response.close()
                raise
            if not retry:
                return response
            response.close()
        raise AssertionError("unreachable")

    def _token_request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        deadline: Deadline,
    ) -> requests.Response:
        response = self._once(method, url, headers, form, deadline)
        if response.status_code in TRANSIENT:
            response.close()
            raise TransientError(f"gives no token: status {response.status_code}")
        return response

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Any,
        deadline: Deadline,
    ) -> requests.Response:
        if deadline.left <= 0:
            raise TransientError("took too long")
        if self.stop.is_set() and method != "DELETE":
            raise StoppedError
        session = self._open_session(url, last=method == "DELETE")
        with translated():
            return session.request(
                method,
                url,
                headers=dict(headers),
                proxies=no_proxy(url),
                data=data,
                stream=True,
                allow_redirects=False,
                timeout=(
                    min(self.limits.connect, deadline.left),
                    min(self.limits.read, deadline.left),
                ),
            )

    def _next(self, url: str, location: str) -> str:
        target = next_url(url, location)
        parts = urllib.parse.urlsplit(target)
        if parts.scheme == "http" and not may_be_plain(parts.netloc, self._environ):
            raise PermanentError("redirects to plain http")
        if "@" in parts.netloc:
            raise PermanentError("redirects to an address with credentials")
        return target

    def _open_session(self, url: str, *, last: bool) -> requests.Session:
        """The session; for what has to be asked when all else is ended, one of its own."""
        with self._lock:
            if last:
                connections = Connections()
                self._sessions.append(session := new_session(connections))
            else:
                connections = self._connections
                if not self._sessions:
                    self._sessions.append(new_session(connections))
                session = self._sessions[0]
            if url.startswith("https:"):
                trust(session, connections, self._environ, self._netloc)
            return session


class TransientAnswerError(TransientError):
    """An answer that may be another one later, and what to say if it is not."""

    def __init__(self, reply: Reply, wait: float) -> None:
        super().__init__(f"status {reply.status}", wait)
        self.reply = reply


def read_some(response: requests.Response, amount: int, deadline: Deadline) -> bytes:
    """At most `amount` bytes of the body. Raises TransientError."""
    body = Body(response)
    data = bytearray()
    while len(data) < amount and (chunk := body.read(min(_CHUNK, amount - len(data)))):
        data += chunk
        if deadline.left <= 0:
            raise TransientError("took too long")
    return bytes(data)


def _origin_of(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
