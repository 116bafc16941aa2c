"""Reading a repository of a registry: manifests, blobs, tags, every byte against its digest.

Implements what `mllock.store.layout_reader` does for a folder. Order: a tag is resolved once, from
then on digests are asked for. What is longer, shorter or other than asked, a digest in a header
that is not that of the bytes, a media type that is not that of the document: each is an
IntegrityError. A body that breaks off is gone on with where it ended. Nothing is written to disk.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mllock.core import canonical
from mllock.core.digest import Digest, hex_of, is_digest, sha256_of
from mllock.core.offline import is_offline, not_asked
from mllock.errors import NotAvailableError, SurroundingsError
from mllock.store.oci_json import MEDIA_INDEX, MEDIA_MANIFEST, Descriptor
from mllock.store.registry import problems
from mllock.store.registry.limits import MAX_DOCUMENT, MAX_ERROR, Deadline, Limits
from mllock.store.registry.reference import Reference, is_tag
from mllock.store.registry.wire import Reply, TransientAnswerError, Wire, read_some
from mllock.store.transport import TRANSIENT, Body, PermanentError, TransientError, wait_of

if TYPE_CHECKING:
    import requests

__all__ = ["Document", "Registry"]

MAX_PAGES = 100
_CHUNK = 256 * 1024
_DOCKER = "application/vnd.docker."
# Schema 1, with and without its signature.
_FIRST = f"{_DOCKER}distribution.manifest.v1+"
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A manifest or index: `digest` is of `data`, `media_type` what both sides say it is."""

    media_type: str
    digest: Digest
    data: bytes

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(
            media_type=self.media_type, digest=self.digest, size=len(self.data), annotations={}
        )


class Registry:
    """One repository of a registry. Close it, or use it in a `with`. Threads may share it."""

    def __init__(
        self, reference: Reference, environ: Mapping[str, str], limits: Limits | None = None
    ) -> None:
        self.reference = reference
        self.limits = limits or Limits()
        self._environ = environ
        repository = reference.repository
        if reference.host == "docker.io" and "/" not in repository:
            repository = f"library/{repository}"
        self.repository = repository
        self.wire = Wire(reference.host, repository, environ, self.limits)

    def __enter__(self) -> Self:
        if is_offline(self._environ):
            raise not_asked(f"the registry {self.reference.host}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wire.__exit__(kind, error, trace)

    def path(self, rest: str) -> str:
        return f"/v2/{self.repository}/{rest}"

    def greet(self) -> None:
        """Whether the registry answers and accepts who we are. Raises SurroundingsError."""
        self.wire.call("log in", "GET", "/v2/", ok=(200,))

    def document(
        self, name: str, media_types: tuple[str, ...] = (MEDIA_MANIFEST, MEDIA_INDEX)
    ) -> Document:
        """The manifest or index of a tag or digest. Raises IntegrityError, SurroundingsError."""
        found = self.find_document(name, media_types)
        if found is None:
            raise self._missing(name)
        return found

    def find_document(
        self, name: str, media_types: tuple[str, ...] = (MEDIA_MANIFEST, MEDIA_INDEX)
    ) -> Document | None:
        """The same, or None if there is none."""
        reply = self.wire.call(
            f"read {name}",
            "GET",
            self.path(f"manifests/{name}"),
            ok=(200, 404),
            headers={"Accept": ", ".join(media_types)},
            max_bytes=MAX_DOCUMENT,
        )
        if reply.status == 404:
            return None
        return self._verified(name, reply, media_types)

    def _verified(self, name: str, reply: Reply, media_types: tuple[str, ...]) -> Document:
        data, host = reply.body, self.reference.host
        if len(data) > MAX_DOCUMENT:
            what = f"has a manifest of more than {MAX_DOCUMENT} bytes"
            raise problems.lies(host, what, name)
        digest = sha256_of(data)
        if is_digest(name) and digest != name:
            what = "sent other bytes than the digest names"
            raise problems.lies(host, what, name, expected=name, found=digest)
        said = reply.headers.get("Docker-Content-Digest", "")
        if said and said != digest:
            what = "says another digest than that of the bytes it sent"
            raise problems.lies(host, what, name, expected=digest, found=said)
        sent_as = reply.headers.get("Content-Type", "").partition(";")[0].strip()
        if sent_as.startswith(_FIRST):
            raise NotAvailableError(
                "a manifest in Docker's first format, which is not read",
                file=f"{self.reference.name}{'@' if is_digest(name) else ':'}{name}",
                found=sent_as,
                hint="push the image again with a tool of today, e.g. skopeo copy --format oci",
            )
        if sent_as.startswith(_DOCKER) and sent_as not in media_types:
            raise NotAvailableError(
                "manifests of Docker's own type are not read in this version",
                file=f"{self.reference.name}{'@' if is_digest(name) else ':'}{name}",
                found=sent_as,
                hint="an engine made it from the image: push the image itself, with mllock",
            )
        if sent_as not in media_types:
            what = "sent another media type than was asked for"
            raise problems.lies(
                host, what, name, expected=" or ".join(media_types), found=sent_as or "none"
            )
        try:
            value = canonical.loads(data)
            inside = value.get("mediaType", sent_as)
        except (ValueError, AttributeError):
            raise problems.lies(host, "sent a manifest that is not strict JSON", name) from None
        if inside != sent_as:
            what = "sent a document as another media type than it says itself"
            raise problems.lies(host, what, name, expected=sent_as, found=str(inside)[:200])
        return Document(media_type=sent_as, digest=digest, data=data)

    def read(self, descriptor: Descriptor, *, max_bytes: int) -> bytes:
        """The whole of a small blob. Raises IntegrityError, SurroundingsError."""
        if descriptor.size > max_bytes:
            raise problems.lies(
                self.reference.host,
                f"has a blob of {descriptor.size} bytes where at most {max_bytes} are read",
                descriptor.digest,
            )
        return b"".join(self.stream(descriptor))

    def stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob in chunks. Size and digest are verified before the iterator ends:
        whoever reads to the end has read the blob that the descriptor names, or an IntegrityError.
        """
        hasher = hashlib.sha256()
        deadline = self.limits.deadline(descriptor.size)
        done, tries = 0, 0
        while True:
            try:
                for chunk in self._part(descriptor, done, deadline):
                    done += len(chunk)
                    hasher.update(chunk)
                    yield chunk
                break
            except TransientError as error:
                tries += 1
                if tries > self.limits.retries or deadline.left <= error.wait:
                    raise self.wire.gave_up(f"read {descriptor.digest}", error) from error
                pause = max(self.limits.backoff * 3 ** (tries - 1), error.wait)
                self.wire.pause(min(pause, self.limits.max_wait))
            except PermanentError as error:
                raise self.wire.gave_up(f"read {descriptor.digest}", error) from error
        if hasher.hexdigest() != hex_of(descriptor.digest):
            raise problems.lies(
                self.reference.host,
                "sent other bytes than the digest names",
                descriptor.digest,
                expected=descriptor.digest,
                found=f"sha256:{hasher.hexdigest()}",
            )

    def _part(self, descriptor: Descriptor, start: int, deadline: Deadline) -> Iterator[bytes]:
        """The blob from byte `start` on, to its end; its size is what the descriptor says."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        target = self.path(f"blobs/{descriptor.digest}")
        with self.wire.open("GET", target, headers=headers, deadline=deadline) as response:
            skip = self._check_start(descriptor, start, response)
            body = Body(response)
            there = start - skip
            while chunk := body.read(min(_CHUNK, descriptor.size - there + 1)):
                if deadline.left <= 0:
                    raise TransientError("took too long")
                there += len(chunk)
                if there > descriptor.size:
                    raise self._size(descriptor, f"more than {descriptor.size} bytes")
                new = chunk[skip:]
                skip -= len(chunk) - len(new)
                if new:
                    yield new
            if there != descriptor.size:
                raise self._size(descriptor, f"{there} bytes")

    def _check_start(self, descriptor: Descriptor, start: int, response: requests.Response) -> int:
        """How many bytes of the answer are known already."""
        status = response.status_code
        if status == 206 and start:
            span = response.headers.get("Content-Range", "")
            if span.replace(" ", "") != (f"bytes{start}-{descriptor.size - 1}/{descriptor.size}"):
                raise self._size(descriptor, span or "a part that has no place")
            return 0
        if status != 200:
            body = read_some(response, MAX_ERROR, self.limits.deadline())
            if status in TRANSIENT:
                reply = Reply(
                    status=status, headers=response.headers, body=body, url=str(response.url)
                )
                raise TransientAnswerError(reply, wait_of(response))
            raise problems.refused(self.reference.host, f"read {descriptor.digest}", status, body)
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) != descriptor.size:
            raise self._size(descriptor, f"{length} bytes")
        return start

    def _size(self, descriptor: Descriptor, found: str) -> SurroundingsError:
        return problems.lies(
            self.reference.host,
            "has a blob of another size than its descriptor says",
            descriptor.digest,
            expected=f"{descriptor.size} bytes",
            found=found,
        )

    def tags(self) -> tuple[str, ...] | None:
        """All tags, sorted; None if the registry does not know the repository."""
        found: set[str] = set()
        target: str | None = self.path("tags/list")
        for _ in range(MAX_PAGES):
            assert target is not None
            reply = self.wire.call(
                "list tags", "GET", target, ok=(200, 404), max_bytes=MAX_DOCUMENT
            )
            if reply.status == 404:
                return None
            try:
                names = canonical.loads(reply.body)["tags"] or []
                found |= {name for name in names if isinstance(name, str) and is_tag(name)}
            except (ValueError, KeyError, TypeError):
                what = "gives a list of tags that cannot be read"
                raise problems.lies(self.reference.host, what, self.reference.name) from None
            target = self.next_page(reply)
            if target is None:
                break
        return tuple(sorted(found))

    def next_page(self, reply: Reply) -> str | None:
        """Where a list goes on (RFC 8288), at the same registry and path, or None."""
        match = _NEXT.search(reply.headers.get("Link", ""))
        if match is None:
            return None
        here = urllib.parse.urlsplit(reply.url)
        try:
            there = urllib.parse.urlsplit(urllib.parse.urljoin(reply.url, match[1]))
        except ValueError:  # http://[::1
            there = None
        if there is None or (there.scheme, there.netloc, there.path) != (
            here.scheme,
            here.netloc,
            here.path,
        ):
            what = "goes on with a list elsewhere"
            raise problems.lies(self.reference.host, what, self.reference.name)
        return f"{there.path}?{there.query}"

    def _missing(self, name: str) -> SurroundingsError:
        """Why there is no such manifest: what is there instead."""
        reference = self.reference
        tags = self.tags()
        if tags is None:
            return SurroundingsError(
                f'the registry {reference.host} has no repository "{reference.repository}"',
                file=str(reference),
                hint="check its name, and that you may read it",
            )
        near = difflib.get_close_matches(name, tags, n=1)
        shown = ", ".join(tags[:10]) + (f" and {len(tags) - 10} more" if len(tags) > 10 else "")
        return SurroundingsError(
            f'no {"manifest" if is_digest(name) else "tag"} "{name}" in this repository',
            file=reference.name,
            found=f"the tags {shown}" if tags else "no tags",
            hint=f'did you mean "{near[0]}"?' if near else None,
        )
