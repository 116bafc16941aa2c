"""One remote file: into the cache, or only hashed.

Bytes are never believed: a file whose digest is locked has to have it, one whose digest is not
known gets the digest of what came, if it is as long as the server said. What may pass is tried
again with growing pauses, and goes on where it stopped if the server promises the same bytes (a
strong mark) or if the digest will tell. Raises the errors of `mllock.data.remote`, WrongBytesError,
SurroundingsError.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mllock.core.digest import Digest, from_hex
from mllock.core.tree import Entry
from mllock.data.remote import Mark, RefusedError, RemoteFile, RemoteSource, Stream, TransientError
from mllock.errors import IntegrityError, SurroundingsError
from mllock.store.cache import Cache
from mllock.store.remote.partial import Partial, partial
from mllock.store.retry import StoppedError, again

__all__ = ["Download", "Got", "WrongBytesError"]

_CHUNK = 1024 * 1024
# At most so many bytes of a file whose size nobody says.
MAX_UNANNOUNCED = 64 * 1024**3
# Smaller files are not worth a file of their own on the way.
_SMALL = _CHUNK


class WrongBytesError(Exception):
    """A file has other bytes than those that are locked."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(path)
        self.path = path
        self.expected = expected
        self.found = found


@dataclass(frozen=True, kw_only=True, slots=True)
class Got:
    """A file that came. `mark` is what the server said of these very bytes."""

    entry: Entry
    mark: Mark


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """`expected` is what is locked of the file, None if nothing is. With `keep` False the bytes are
    hashed and forgotten."""

    cache: Cache
    remote: RemoteSource
    url: str
    file: RemoteFile
    backoff: float
    expected: Entry | None = None
    keep: bool = True

    def run(self, stop: threading.Event, done: Callable[[int], None]) -> Got:
        small = self.file.mark.size is not None and self.file.mark.size <= _SMALL
        if not self.keep or small:
            return again(lambda: self._at_once(stop, done), stop, self.backoff)
        return self._resumed(stop, done)

    def _at_once(self, stop: threading.Event, done: Callable[[int], None]) -> Got:
        """In memory, or nowhere."""
        whole, chunks, size = hashlib.sha256(), list[bytes](), 0
        with self.remote.open(self.file, 0) as stream:
            try:
                for chunk in self._chunks(stream, 0, stop, _SMALL if self.keep else None):
                    done(len(chunk))
                    size += len(chunk)
                    whole.update(chunk)
                    if self.keep:
                        chunks.append(chunk)
                self._complete(stream, size)
            except TransientError:
                done(-size)
                raise
            digest = from_hex(whole.hexdigest())
            self._right(digest, size)
            if self.keep:
                self.cache.put_bytes(b"".join(chunks), expected=digest)
            return self._got(digest, size, stream.mark)

    def _resumed(self, stop: threading.Event, done: Callable[[int], None]) -> Got:
        with partial(self.cache, self._key()) as place:
            began = place.size
            done(began)
            try:
                return self._into(place, stop, done)
            except WrongBytesError:
                if not began:
                    raise
            # What was there may have been of other bytes: once more, from the start.
            done(-place.size)
            place.begin_at(0)
            return self._into(place, stop, done)

    def _into(self, place: Partial, stop: threading.Event, done: Callable[[int], None]) -> Got:
        mark = self.file.mark
        if (
            place.size == 0 or place.size != mark.size
        ):  # else it was interrupted just before the end
            mark = again(
                lambda: self._fill(place, stop, done), stop, self.backoff, lambda: place.size
            )
        size = place.size
        try:
            expected = None if self.expected is None else self.expected.digest
            if expected is not None and self.expected is not None and size != self.expected.size:
                raise WrongBytesError(self.file.path, _bytes(self.expected.size), _bytes(size))
            digest = self.cache.put_file(place.path, expected=expected, move=True)
        except IntegrityError as error:
            raise WrongBytesError(
                self.file.path, error.expected or "", error.found or ""
            ) from error
        return self._got(digest, size, mark)

    def _fill(self, place: Partial, stop: threading.Event, done: Callable[[int], None]) -> Mark:
        with self.remote.open(self.file, place.size) as stream:
            if stream.offset != place.size:
                done(stream.offset - place.size)
            place.begin_at(stream.offset)
            self._room(stream.mark, place.size)
            for chunk in self._chunks(stream, place.size, stop):
                place.write(chunk)
                done(len(chunk))
            self._complete(stream, place.size)
            return stream.mark

    def _chunks(
        self, stream: Stream, size: int, stop: threading.Event, most: int | None = None
    ) -> Iterator[bytes]:
        """The rest of a file of which `size` bytes are there. `most` is what memory is for."""
        limit = stream.mark.size if self.expected is None else self.expected.size
        while chunk := stream.read(_CHUNK):
            if stop.is_set():
                raise StoppedError
            size += len(chunk)
            if limit is not None and size > limit:
                if self.expected is not None:
                    raise WrongBytesError(
                        self.file.path, _bytes(self.expected.size), f"more than {_bytes(limit)}"
                    )
                raise RefusedError(f"sends more than the {limit} bytes that it announced")
            if most is not None and size > most:
                raise TransientError("became larger while it was asked")
            if size > MAX_UNANNOUNCED:
                raise RefusedError(f"sends more than {MAX_UNANNOUNCED} bytes, and not how many")
            yield chunk

    def _complete(self, stream: Stream, size: int) -> None:
        if stream.mark.size is not None and size < stream.mark.size:
            raise TransientError(f"ended after {size} of {stream.mark.size} bytes")

    def _right(self, digest: Digest, size: int) -> None:
        if self.expected is None:
            return
        if size != self.expected.size:
            raise WrongBytesError(self.file.path, _bytes(self.expected.size), _bytes(size))
        if digest != self.expected.digest:
            raise WrongBytesError(self.file.path, str(self.expected.digest), digest)

    def _room(self, mark: Mark, there: int) -> None:
        """Better now than after hours."""
        if mark.size is None:
            return
        free = shutil.disk_usage(self.cache.root).free
        if mark.size - there > free:
            raise SurroundingsError(
                "there is no room for the data in the cache",
                file=str(self.cache.root),
                expected=f"{mark.size - there} bytes",
                found=f"{free} bytes are free",
                hint="free some space, or set MLLOCK_CACHE to a folder on another disk",
            )

    def _key(self) -> str | None:
        """What the bytes on the way are of; None if nobody could tell that they are the same."""
        if self.expected is not None:
            return str(self.expected.digest)
        mark = self.file.mark
        if not mark.is_strong:
            return None
        return "\0".join(
            (self.url, self.file.path, str(mark.size), str(mark.etag), str(mark.version))
        )

    def _got(self, digest: Digest, size: int, mark: Mark) -> Got:
        entry = Entry(kind="f", path=self.file.path, size=size, digest=digest)
        return Got(entry=entry, mark=mark)


def _bytes(count: int) -> str:
    return f"{count} bytes"
