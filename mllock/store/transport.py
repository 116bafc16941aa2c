"""Opening one URL for reading: http and https through requests, file directly.

Used by `mllock.store.fetch`; the registry client takes its rules from here. Redirects are followed
here and not by requests, so that each hop is looked at: http(s) only, never from https to http, at
most ten. Bodies are read as they were sent (no content decoding: digests are of the file, not of
its transport form). Library exceptions become TransientError or PermanentError with a reason that
holds no URL.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import urllib.parse
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from mllock.data.remote import TransientError

if TYPE_CHECKING:
    import requests

__all__ = [
    "REDIRECTS",
    "TRANSIENT",
    "Body",
    "PermanentError",
    "Source",
    "TransientError",
    "Transport",
    "file_name",
    "host_of",
    "lone_session",
    "new_session",
    "next_url",
    "translated",
    "wait_of",
]

_NO_URL = "not a URL that can be asked"
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_MAX_REDIRECTS = 10
_MAX_WAIT = 10.0
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})


class PermanentError(Exception):
    """It is no use to ask this URL again."""


class Source(Protocol):
    def read(self, amount: int, /) -> bytes:
        """At most `amount` bytes, b"" at the end. Raises TransientError."""


def host_of(url: str) -> str:
    """The part of `url` that a message may show: host and port, or "file"."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:  # http://[::1
        return "?"
    if parts.scheme == "file":
        return "file"
    return parts.netloc.rpartition("@")[2] or "?"


def file_name(url: str) -> str:
    """The last component of the path of `url`."""
    try:
        path = urllib.parse.urlsplit(url).path
    except ValueError:
        path = ""
    return path.rstrip("/").rpartition("/")[2] or host_of(url)


class Transport:
    """Connections of one call. The session is made when the first http(s) URL is opened."""

    def __init__(self) -> None:
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            self._session.close()

    @contextlib.contextmanager
    def open(self, url: str, max_bytes: int | None) -> Iterator[Source]:
        """The body at `url`. Raises FileNotFoundError for 404 and 410."""
        try:
            scheme = urllib.parse.urlsplit(url).scheme
        except ValueError as error:
            raise PermanentError(_NO_URL) from error
        if scheme == "file":
            with _open_file(url) as source:
                yield source
        elif scheme in ("http", "https"):
            with self._open_http(url, max_bytes) as source:
                yield source
        else:
            raise PermanentError("not an http, https or file URL")

    @contextlib.contextmanager
    def _open_http(self, url: str, max_bytes: int | None) -> Iterator[Source]:
        with self._follow(url) as response:
            length = response.headers.get("Content-Length", "")
            if max_bytes is not None and length.isdecimal() and int(length) > max_bytes:
                raise PermanentError(f"answered with more than {max_bytes} bytes")
            yield Body(response)

    @contextlib.contextmanager
    def _follow(self, url: str) -> Iterator[requests.Response]:
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._get(url)
            with contextlib.closing(response):
                if response.status_code not in REDIRECTS:
                    _check_status(response)
                    yield response
                    return
                url = next_url(url, response.headers.get("Location", ""))
        raise PermanentError(f"more than {_MAX_REDIRECTS} redirects")

    def _get(self, url: str) -> requests.Response:
        with self._lock:
            if self._session is None:
                self._session = new_session()
        with translated():
            return self._session.get(
                url,
                stream=True,
                allow_redirects=False,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            )


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What requests raises in the block, as TransientError or PermanentError with a reason that
    holds no URL."""
    import requests

    try:
        yield
    except requests.exceptions.Timeout as error:
        raise TransientError("timed out") from error
    except requests.exceptions.SSLError as error:
        raise PermanentError("no trusted TLS connection") from error
    except requests.exceptions.ProxyError as error:
        raise PermanentError("the proxy does not answer") from error
    except requests.exceptions.ConnectionError as error:
        raise _connection_problem(error) from error
    except (requests.exceptions.RequestException, UnicodeError) as error:
        raise PermanentError(_NO_URL) from error


class Body:
    """The bytes of a response as they were sent."""

    def __init__(self, response: requests.Response) -> None:
        self._raw = response.raw

    def read(self, amount: int, /) -> bytes:
        import urllib3

        try:
            data: bytes = self._raw.read(amount, decode_content=False)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TransientError("timed out") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientError("the connection broke") from error
        return data


def lone_session() -> requests.Session:
    """A session that looks at no redirect: requests reads the whole body of one, however long, and
    parses where it leads, also where it is told not to follow."""
    import requests

    class Lone(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            del resp

    return Lone()


def new_session() -> requests.Session:
    import http.cookiejar

    import requests

    session = lone_session()
    adapter = requests.adapters.HTTPAdapter(pool_connections=8, pool_maxsize=8)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers["Accept-Encoding"] = "identity"
    # Archives need no cookies, and without them threads can share the session.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    return session


def _check_status(response: requests.Response) -> None:
    code = response.status_code
    if code in _GONE:
        raise FileNotFoundError(code)
    if code in TRANSIENT:
        raise TransientError(f"answered {code}", wait_of(response))
    if code != 200:
        raise PermanentError(f"answered {code}")


def wait_of(response: requests.Response) -> float:
    """The seconds that the answer asks to be waited (RFC 9110, Retry-After), within reason."""
    after = response.headers.get("Retry-After", "")
    pause = float(after) if after.isdecimal() and len(after) < 6 else 0.0
    return min(pause, _MAX_WAIT)


def next_url(url: str, location: str) -> str:
    """Where a redirect leads. Raises PermanentError for what is not followed."""
    try:
        target = urllib.parse.urljoin(url, location)
        before, after = urllib.parse.urlsplit(url), urllib.parse.urlsplit(target)
    except ValueError as error:  # http://[::1
        raise PermanentError("redirects to something that is not a URL") from error
    if not location or after.scheme not in ("http", "https"):
        raise PermanentError("redirects to something that is not http or https")
    if before.scheme == "https" and after.scheme == "http":
        raise PermanentError("redirects from https to http")
    return target


def _connection_problem(error: requests.exceptions.ConnectionError) -> Exception:
    """Why there is no connection; a name that nobody knows is not asked for again."""
    import urllib3

    reason = error.args[0] if error.args else None
    if isinstance(reason, urllib3.exceptions.MaxRetryError):
        reason = reason.reason
    if isinstance(reason, urllib3.exceptions.NameResolutionError):
        return PermanentError("the name of the host cannot be resolved")
    text = str(reason)
    for phrase in ("connection refused", "network is unreachable", "no route to host"):
        if phrase in text.lower():
            return TransientError(phrase)
    return TransientError("the connection broke")


@contextlib.contextmanager
def _open_file(url: str) -> Iterator[Source]:
    parts = urllib.parse.urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise PermanentError("a file URL of another host")
    path = urllib.parse.unquote(parts.path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise PermanentError("cannot be read") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PermanentError("not a regular file")
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)
