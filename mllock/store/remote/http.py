"""A data source over https or http: one file. Implements `mllock.data.remote.RemoteSource`.

Redirects are followed hop by hop, at most ten, never from https to http (`mllock.store.transport`).
User and password, which the spec names as ${NAME}, go to the host that it names and to no other;
netrc is asked for each host by itself. A download goes on with Range and If-Range under a strong
ETag (RFC 9110 13.1.5). An answer that does not say where it ends is refused: cut short, it would
look whole. No message holds user names, passwords or queries.
"""

from __future__ import annotations

import contextlib
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Self

from mllock.core.ports import Reporter
from mllock.core.tree import SINGLE
from mllock.data.remote import (
    Listing,
    Mark,
    NotFoundError,
    RefusedError,
    RemoteFile,
    TransientError,
)
from mllock.errors import InputError
from mllock.spec.sources import shown, split
from mllock.store import transport
from mllock.store.transport import REDIRECTS, TRANSIENT, Body, translated, wait_of

if TYPE_CHECKING:
    import requests

__all__ = ["HttpSource"]

_TIMEOUT = (10, 60)
_MAX_REDIRECTS = 10
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
MAX_ETAG = 1024


class HttpSource:
    """`url` as the spec has it. Raises InputError if a variable that it names is not set."""

    def __init__(self, url: str, environ: Mapping[str, str], reporter: Reporter) -> None:
        parts = split(url)
        query = f"?{parts.query}" if parts.query else ""
        self._start = f"{parts.scheme}://{parts.place}/{parts.key}{query}"
        self._auth = _credentials(parts.user, url, environ)
        self._reporter = reporter
        self._name = shown(url)
        self._session: requests.Session | None = None
        self._lock = threading.Lock()
        self._warned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._session is not None:
            self._session.close()

    def look(self) -> Listing:
        with self._answer({}) as response:
            mark = _mark(response, _length(response))
        return Listing(kind="file", files=(RemoteFile(path=SINGLE, mark=mark),))

    @contextlib.contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[_HttpStream]:
        headers = {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if file.mark.is_strong and file.mark.etag is not None:
                headers["If-Range"] = file.mark.etag
        with contextlib.ExitStack() as stack:
            response = stack.enter_context(self._answer(headers))
            if response.status_code == 416:  # shorter by now than what is there of it
                response = stack.enter_context(self._answer({}))
            if response.status_code == 206:
                size = _total(response, offset)
                yield _HttpStream(response, offset, _mark(response, size), size - offset)
                return
            size_or_none = _length(response)
            chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
            if size_or_none is None and not chunked:
                raise RefusedError(
                    "does not say where the file ends: a part of it would look whole"
                )
            yield _HttpStream(response, 0, _mark(response, size_or_none), size_or_none)

    @contextlib.contextmanager
    def _answer(self, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """The answer, status 200; where a range was asked for, 206 or 416 as well. Errors are those
        of the port."""
        url = self._start
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                response = self._get(url, headers)
                with contextlib.closing(response):
                    if response.status_code not in REDIRECTS:
                        _check_status(response, asked_for_range="Range" in headers)
                        self._doubt(response)
                        yield response
                        return
                    url = transport.next_url(url, response.headers.get("Location", ""))
        except transport.PermanentError as error:
            raise RefusedError(str(error)) from error
        raise RefusedError(f"more than {_MAX_REDIRECTS} redirects")

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        with self._lock:
            if self._session is None:
                self._session = transport.new_session()
        with translated():
            return self._session.get(
                url,
                stream=True,
                allow_redirects=False,
                timeout=_TIMEOUT,
                headers=headers,
                auth=self._auth if _origin(url) == _origin(self._start) else None,
            )

    def _doubt(self, response: requests.Response) -> None:
        """A page to log in at is the usual answer of a server that wants to know who asks."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        path = urllib.parse.urlsplit(self._start).path.lower()
        if kind == "text/html" and not path.endswith((".html", ".htm")) and not self._warned:
            self._warned = True
            self._reporter.warn(f"{self._name} answered with a web page: is it the data?")


class _HttpStream:
    """`left` is how many bytes are to come, None if the encoding of the transfer says it."""

    def __init__(
        self, response: requests.Response, offset: int, mark: Mark, left: int | None
    ) -> None:
        self.offset = offset
        self.mark = mark
        self._body = Body(response)
        self._left = left

    def read(self, amount: int, /) -> bytes:
        data = self._body.read(amount)
        if self._left is not None:
            self._left -= len(data)
            if not data and self._left:
                raise TransientError("the connection broke")
        return data


def _credentials(user: str, url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    if not user:
        return None
    values = []
    for name in _REFERENCE.findall(user):
        if not environ.get(name):
            raise InputError(
                f"{name} is not set in the environment",
                found=f"a data source needs it: {shown(url)}",
                hint="set it, or leave user and password to netrc",
            )
        values.append(environ[name])
    return values[0], values[1] if len(values) > 1 else ""


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _check_status(response: requests.Response, *, asked_for_range: bool) -> None:
    code = response.status_code
    if code in (404, 410):
        raise NotFoundError
    if code in (401, 403):
        raise RefusedError(f"answered {code}: access is denied")
    if code in TRANSIENT:
        raise TransientError(f"answered {code}", wait_of(response))
    if code != 200 and not (code in (206, 416) and asked_for_range):
        raise RefusedError(f"answered {code}")


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None


def _total(response: requests.Response, offset: int) -> int:
    """The size of the whole file of which a part was sent."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None:
        raise RefusedError("answered with a part of the file, and does not say which")
    first, last, total = (int(text) for text in found.groups())
    if first != offset or last != total - 1 or _length(response) not in (None, total - offset):
        raise RefusedError("answered with another part of the file than was asked for")
    return total


def _mark(response: requests.Response, size: int | None) -> Mark:
    etag = response.headers.get("ETag", "")
    if not etag or len(etag) > MAX_ETAG or not etag.isprintable():
        return Mark(size=size)
    # Weak validators say that two files mean the same, not that they are the same.
    return Mark(size=size, etag=etag, is_strong=_STRONG.fullmatch(etag) is not None)
