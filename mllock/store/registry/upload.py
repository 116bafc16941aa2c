"""Writing to a repository of a registry: blobs first, then manifests, tags last.

A blob that the registry has is not sent; one that another repository of it has is mounted; a small
one goes in one request, a large one in chunks, which go on after an interruption where the registry
says that it got to (distribution-spec, "pushing a blob in chunks"), or from the start where it has
forgotten. The registry compares digests when an upload ends; an answer that names another digest is
an IntegrityError. An upload that fails is cancelled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mllock.core.digest import Digest, hex_of, sha256_of
from mllock.errors import IntegrityError, OfflineError, SurroundingsError
from mllock.store.registry import problems
from mllock.store.registry.client import Registry
from mllock.store.registry.limits import Deadline
from mllock.store.registry.wire import Reply, StoppedError
from mllock.store.transport import PermanentError, TransientError

__all__ = ["Advance", "BlobSource", "Outcome", "has_blob", "push_blob", "push_manifest"]

Advance = Callable[[int], None]
Outcome = Literal["there", "mounted", "uploaded"]

SMALL = 1024 * 1024
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]+)")
_File = io.BufferedReader | io.BytesIO
_BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BlobSource:
    """A blob to be sent: bytes, or a file that holds exactly them."""

    digest: Digest
    size: int
    content: bytes | Path

    @classmethod
    def of_bytes(cls, data: bytes) -> BlobSource:
        return cls(digest=sha256_of(data), size=len(data), content=data)


class _Part:
    """Bytes `start` to `end` of a source, as the body of one request."""

    def __init__(
        self, file: _File, start: int, end: int, advance: Advance, stopped: Callable[[], bool]
    ) -> None:
        self._file = file
        self._left = end - start
        self._length = end - start
        self._advance = advance
        self._stopped = stopped
        file.seek(start)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(1 << 16):
            yield chunk

    def read(self, amount: int = -1) -> bytes:
        if self._stopped():
            raise StoppedError
        wanted = self._left if amount < 0 else min(amount, self._left)
        data = self._file.read(wanted)
        if len(data) != wanted:
            raise IntegrityError("a file that is being pushed became shorter")
        self._left -= wanted
        self._advance(wanted)
        return data


def has_blob(registry: Registry, digest: Digest, size: int) -> bool:
    """Whether the registry has the blob. Raises IntegrityError if it says another size."""
    reply = registry.wire.call(
        f"look for {digest}", "HEAD", registry.path(f"blobs/{digest}"), ok=(200, 404)
    )
    length = reply.headers.get("Content-Length", "")
    if reply.status == 200 and length.isdecimal() and int(length) != size:
        raise problems.lies(
            registry.reference.host,
            "has a blob of this digest with another size",
            digest,
            expected=f"{size} bytes",
            found=f"{length} bytes",
        )
    return reply.status == 200


def push_blob(
    registry: Registry,
    source: BlobSource,
    *,
    mount_from: str | None = None,
    advance: Advance = lambda _: None,
) -> Outcome:
    """Make the registry have the blob. `mount_from` is another repository of the registry."""
    if has_blob(registry, source.digest, source.size):
        advance(source.size)
        return "there"
    what = f"upload {source.digest}"
    query = ""
    if mount_from is not None:
        query = "?" + urllib.parse.urlencode({"mount": source.digest, "from": mount_from})
    with _opened(source.content) as file:
        reply = registry.wire.call(
            what, "POST", registry.path(f"blobs/uploads/{query}"), ok=(201, 202)
        )
        if reply.status == 201 and mount_from is not None:
            _same_digest(registry, reply, source.digest)
            advance(source.size)
            return "mounted"
        _Upload(registry, source, what, advance).run(file, reply)
    return "uploaded"


class _Upload:
    """One blob on its way."""

    def __init__(self, registry: Registry, source: BlobSource, what: str, advance: Advance) -> None:
        self._registry = registry
        self._wire = registry.wire
        self._source = source
        self._what = what
        self._advance = advance
        self._counted = 0
        self._again = False
        self._location = ""
        self._deadline = registry.limits.deadline(source.size)

    def run(self, file: _File, begun: Reply) -> None:
        """Upload all of it. Every failure that may pass is tried again, from where it got to."""
        reply: Reply | None = begun
        tries = 0
        try:
            while True:
                try:
                    self._send_all(file, reply)
                    return
                except TransientError as error:
                    tries += 1
                    self._again = True
                    limits = self._registry.limits
                    if tries > limits.retries or self._deadline.left <= error.wait:
                        raise self._gave_up(error) from error
                    pause = max(limits.backoff * 3 ** (tries - 1), error.wait)
                    self._wire.pause(min(pause, limits.max_wait))
                    reply = None
        except PermanentError as error:
            raise self._gave_up(error) from error
        except BaseException as error:
            if not isinstance(error, OfflineError):
                self._cancel()
            if isinstance(error, SurroundingsError):
                self._refuse_damaged(file)
            raise

    def _send_all(self, file: _File, begun: Reply | None) -> None:
        at = 0
        if begun is not None:
            self._location = self._wire.location(begun)
        else:
            if has_blob(self._registry, self._source.digest, self._source.size):
                self._count(self._source.size)
                return  # the answer to its last request was lost, not the request
            at = self._resume()
        chunk = self._registry.limits.chunk
        if self._source.size > SMALL:
            while at < self._source.size:
                at = self._patch(file, at, min(at + chunk, self._source.size))
        self._finish(file, at)

    def _resume(self) -> int:
        """Where the registry got to; if it does not know, an upload that begins again."""
        try:
            reply = self._ask("GET", ok=(200, 202, 204, 400, 404, 416))
            if reply.status in (200, 202, 204):
                return self._offset(reply)
        except SurroundingsError as error:
            if isinstance(error, OfflineError):
                raise
        reply = self._wire.call(
            self._what,
            "POST",
            self._registry.path("blobs/uploads/"),
            ok=(202,),
            deadline=self._deadline,
        )
        self._location = self._wire.location(reply)
        self._count(0)
        return 0

    def _offset(self, reply: Reply) -> int:
        """distribution-spec: Range is 0-LAST of what is there; `0-0` may also be nothing at all."""
        match = _RANGE.fullmatch(reply.headers.get("Range", ""))
        last = 0 if match is None else int(match[1])
        offset = last + 1 if last else 0
        if offset > self._source.size:
            raise self._problem("got more of a blob than was sent")
        if reply.headers.get("Location"):
            self._location = self._wire.location(reply)
        self._count(offset)
        return offset

    def _patch(self, file: _File, start: int, end: int) -> int:
        """Send a chunk; answer where the next one begins."""
        headers = _BINARY | {"Content-Range": f"{start}-{end - 1}"}
        reply = self._ask(
            "PATCH", ok=(201, 202, 204, 404, 416), headers=headers, part=(file, start, end)
        )
        if reply.status in (404, 416):
            # Forgotten, or another offset than ours: asked for by whoever tries again.
            raise TransientError("the upload was broken off")
        self._location = self._wire.location(reply)
        match = _RANGE.fullmatch(reply.headers.get("Range", ""))
        there = end if match is None else int(match[1]) + 1
        if not start < there <= end:
            raise TransientError("the upload got nowhere")
        self._count(there)
        return there

    def _finish(self, file: _File, at: int) -> None:
        separator = "&" if "?" in self._location else "?"
        digest = urllib.parse.urlencode({"digest": self._source.digest})
        # What a broken request still wrote while we asked where it got to is in the blob, too: of
        # an upload that was gone on with, "not that digest" (400) is a reason to begin again.
        broken = (400, 404, 416) if self._again else (404, 416)
        reply = self._ask(
            "PUT",
            ok=(201, 204, *broken),
            target=f"{self._location}{separator}{digest}",
            headers=_BINARY,
            part=(file, at, self._source.size),
        )
        if reply.status in broken:
            raise TransientError("the upload was broken off")
        _same_digest(self._registry, reply, self._source.digest)
        self._count(self._source.size)

    def _ask(
        self,
        method: str,
        *,
        ok: tuple[int, ...],
        target: str | None = None,
        headers: dict[str, str] | None = None,
        part: tuple[_File, int, int] | None = None,
    ) -> Reply:
        """One request to the upload, without another try: whoever tries again asks where it is."""

        def body() -> _Part | bytes:
            assert part is not None
            self._count(part[1])
            if part[1] == part[2]:
                return b""  # of nothing, requests would make a chunked body
            return _Part(*part, self._moved, self._wire.stop.is_set)

        return self._wire.once(
            self._what,
            method,
            target or self._location,
            ok=ok,
            headers=headers,
            body=None if part is None else body,
            deadline=self._deadline,
        )

    def _moved(self, amount: int) -> None:
        self._counted += amount
        self._advance(amount)

    def _count(self, there: int) -> None:
        """Let the progress be `there` bytes, whatever was sent before."""
        if there != self._counted:
            self._moved(there - self._counted)

    def _refuse_damaged(self, file: _File) -> None:
        """A registry that does not take a blob may be right."""
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != hex_of(self._source.digest):
            content = self._source.content
            raise IntegrityError(
                "not the bytes that its digest names",
                file=str(content) if isinstance(content, Path) else None,
                expected=self._source.digest,
                found=f"sha256:{found}",
            ) from None

    def _cancel(self) -> None:
        """Leave no half upload there. As well as can be: the reason to stop is another one."""
        if self._location:
            with contextlib.suppress(Exception):
                deadline = Deadline(min(2.0, self._registry.limits.read))
                with self._wire.open("DELETE", self._location, deadline=deadline):
                    pass

    def _gave_up(self, error: Exception) -> SurroundingsError:
        return self._wire.gave_up(self._what, error)

    def _problem(self, what: str) -> IntegrityError:
        return problems.lies(self._registry.reference.host, what, self._source.digest)


def _opened(content: bytes | Path) -> _File:
    """Bytes, or a regular file: no link is followed, and nobody is waited for."""
    if isinstance(content, bytes):
        return io.BytesIO(content)
    try:
        descriptor = os.open(content, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SurroundingsError(f"cannot read: {reason}", file=str(content)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SurroundingsError("cannot read: not a regular file", file=str(content))
    return open(descriptor, "rb")


def push_manifest(registry: Registry, data: bytes, media_type: str, name: str) -> Reply:
    """Put a manifest under a tag or its digest. All that it names has to be there before.

    Raises IntegrityError if the registry took it for something else.
    """
    reply = registry.wire.call(
        f"push the manifest {name}",
        "PUT",
        registry.path(f"manifests/{name}"),
        ok=(201,),
        headers={"Content-Type": media_type},
        body=lambda: data,
    )
    _same_digest(registry, reply, sha256_of(data))
    return reply


def _same_digest(registry: Registry, reply: Reply, digest: Digest) -> None:
    said = reply.headers.get("Docker-Content-Digest", "")
    if said and said != digest:
        raise problems.lies(
            registry.reference.host,
            "says that it got something else than was sent",
            digest,
            expected=digest,
            found=said,
        )
