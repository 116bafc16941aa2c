"""Fetching from archives over http, https and file, verified while the bytes come in.

Implements `mllock.core.ports.Fetcher`. Invariants: nothing longer than announced is read; bytes
are hashed before they get a name in the cache; a redirect leads to http(s) only and never from
https to http; no message holds credentials (user info and query strings are left out). Transient
failures are tried again three times, then the next URL. Not for package indexes: pip does those.
Every call has its own connections and closes them. Offline, only `file:` URLs are asked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mllock.core.offline import not_asked, not_here
from mllock.core.ports import Reporter, Want
from mllock.errors import GoneError, IntegrityError, OfflineError
from mllock.store.cache import Cache
from mllock.store.retry import StoppedError, again, all_or_first
from mllock.store.transport import (
    PermanentError,
    TransientError,
    Transport,
    file_name,
    host_of,
)

__all__ = ["HttpFetcher"]

_CHUNK = 256 * 1024
_THREADS = 8
_NOT_FOUND = "not found"


class HttpFetcher:
    """Reads small documents, and fetches files into `blobs`. `backoff` is the first pause in
    seconds; every further one is four times as long."""

    def __init__(
        self, blobs: Cache, reporter: Reporter, *, backoff: float = 0.25, offline: bool = False
    ) -> None:
        self._blobs = blobs
        self._reporter = reporter
        self._backoff = backoff
        self._offline = offline

    def read(self, url: str, *, max_bytes: int) -> bytes:
        if self._offline and not _is_local(url):
            raise not_asked(f"the archive {host_of(url)}")
        with Transport() as transport:

            def attempt() -> bytes:
                with transport.open(url, max_bytes) as source:
                    chunks = []
                    size = 0
                    while chunk := source.read(_CHUNK):
                        size += len(chunk)
                        if size > max_bytes:
                            raise PermanentError(f"answered with more than {max_bytes} bytes")
                        chunks.append(chunk)
                    return b"".join(chunks)

            try:
                return again(attempt, threading.Event(), self._backoff)
            except (TransientError, PermanentError) as error:
                raise _offline(file_name(url), [(url, str(error))]) from error

    def fetch(self, wants: Sequence[Want]) -> None:
        unique = {want.digest: want for want in wants}
        there = self._blobs.get_all(unique)
        missing = [want for digest, want in unique.items() if there[digest] is None]
        if not missing:
            return
        if self._offline:
            missing = [replace(want, urls=tuple(filter(_is_local, want.urls))) for want in missing]
            nowhere = [want.name for want in missing if not want.urls]
            if nowhere:
                raise not_here(nowhere)
        stop = threading.Event()
        with Transport() as transport, ThreadPoolExecutor(_THREADS, "mllock-fetch") as pool:
            futures = [pool.submit(self._fetch_one, transport, want, stop) for want in missing]
            all_or_first(futures, stop)

    def _fetch_one(self, transport: Transport, want: Want, stop: threading.Event) -> None:
        problems: list[tuple[str, str]] = []
        wrong: IntegrityError | None = None
        for url in want.urls:
            try:
                again(_Download(self._blobs, transport, want, url, stop).run, stop, self._backoff)
                return
            except FileNotFoundError:
                problems.append((url, _NOT_FOUND))
            except (TransientError, PermanentError) as error:
                problems.append((url, str(error)))
            except IntegrityError as error:
                wrong = wrong or error
                self._reporter.warn(f"{host_of(url)} has wrong bytes for {want.name}")
        if wrong is not None:
            raise wrong
        raise _offline(want.name, problems, want.gone)


class _Download:
    """One file from one URL into the cache."""

    def __init__(
        self, blobs: Cache, transport: Transport, want: Want, url: str, stop: threading.Event
    ) -> None:
        self._blobs = blobs
        self._transport = transport
        self._want = want
        self._url = url
        self._stop = stop

    def run(self) -> None:
        want = self._want
        with (
            self._transport.open(self._url, None) as source,
            self._blobs.writer() as writer,
        ):
            # One byte more than wanted is enough to know that it is wrong.
            while chunk := source.read(min(_CHUNK, want.size - writer.size + 1)):
                if self._stop.is_set():
                    raise StoppedError
                if writer.size + len(chunk) > want.size:
                    raise self._wrong(f"{want.size} bytes", f"more than {want.size} bytes")
                writer.write(chunk)
            if writer.size != want.size:
                raise self._wrong(f"{want.size} bytes", f"{writer.size} bytes")
            if writer.digest != want.digest:
                raise self._wrong(want.digest, writer.digest)
            writer.commit()

    def _wrong(self, expected: str, found: str) -> IntegrityError:
        return IntegrityError(
            f"{host_of(self._url)} has other bytes than expected",
            file=self._want.name,
            expected=expected,
            found=found,
            hint="ask another mirror, or lock again if the archive was changed on purpose",
        )


def _is_local(url: str) -> bool:
    return url.startswith("file:")


def _offline(
    name: str, problems: Sequence[tuple[str, str]], gone: str | None = None
) -> OfflineError:
    if not problems:
        return OfflineError(
            f"cannot fetch {name}: there is nowhere to ask for it",
            hint="configure a mirror or an index that has it",
        )
    reasons = dict.fromkeys(f"{host_of(url)}: {reason}" for url, reason in problems)
    message = f"cannot fetch {name}: {'; '.join(reasons)}"
    hint = "check the network, the proxy and the mirror, then run the same command again"
    if all(reason == _NOT_FOUND for _, reason in problems):
        return GoneError(message, hint=gone or hint)
    return OfflineError(message, hint=hint)
