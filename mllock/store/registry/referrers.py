"""Artifacts about a manifest: statements beside an image, written and found.

OCI distribution-spec 1.1, "listing referrers": the API where the registry has it; where it has not,
an index under the tag `sha256-HEX` of the subject, which is read, added to and written again, never
replaced by ours alone. What is there and is no index is left alone. A list proves nothing, it
only says where to look: artifacts are read by digest and count only if they name the subject.
"""

from __future__ import annotations

import urllib.parse
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, hex_of, parse_digest, sha256_of
from mllock.errors import ArchiveError, SurroundingsError
from mllock.store.oci_json import MEDIA_INDEX, MEDIA_MANIFEST, Manifest, read_manifest
from mllock.store.registry import problems
from mllock.store.registry.client import MAX_PAGES, Registry
from mllock.store.registry.limits import MAX_DOCUMENT
from mllock.store.registry.upload import push_manifest

__all__ = ["Artifact", "find_referrers", "push_referrer", "referrer_digests"]

MAX_REFERRERS = 200
# Two who add at the same time: the index is read again, and what got lost is added again.
_TRIES = 5

Artifact = tuple[Digest, Manifest]


def push_referrer(registry: Registry, data: bytes, subject: Digest) -> Digest:
    """Put the artifact manifest `data` (whose `subject` is the manifest `subject`) so that whoever
    asks for artifacts about it finds it. Its blobs have to be there. Answers its digest."""
    digest = sha256_of(data)
    reply = push_manifest(registry, data, MEDIA_MANIFEST, digest)
    # distribution-spec: a registry that has the API says so with the subject's digest.
    if (
        reply.headers.get("OCI-Subject") == subject
        or _from_api(registry, subject, None) is not None
    ):
        return digest
    manifest = read_manifest(data, digest)
    entry: dict[str, Any] = {"mediaType": MEDIA_MANIFEST, "digest": digest, "size": len(data)}
    if manifest.artifact_type is not None:
        entry["artifactType"] = manifest.artifact_type
    for _ in range(_TRIES):
        entries = _from_tag(registry, subject)
        if any(other.get("digest") == digest for other in entries):
            return digest
        index = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [*entries, entry]}
        push_manifest(registry, canonical.dumps(index), MEDIA_INDEX, _tag(subject))
    raise SurroundingsError(
        f"cannot list an artifact at the registry {registry.reference.host}: "
        "somebody else writes the list all the time",
        file=f"{registry.reference.name}:{_tag(subject)}",
        hint="run the same command again",
    )


def find_referrers(registry: Registry, subject: Digest, artifact_type: str) -> tuple[Artifact, ...]:
    """The artifacts of this type about `subject`, in the order of the list. One that cannot be
    read, or that is about something else, is as good as none. Raises SurroundingsError."""
    found = []
    for digest in referrer_digests(registry, subject, artifact_type):
        document = registry.find_document(digest, (MEDIA_MANIFEST,))
        if document is None:
            continue
        try:
            manifest = read_manifest(document.data, digest)
        except ArchiveError:
            continue
        about = manifest.subject is not None and manifest.subject.digest == subject
        if about and manifest.artifact_type == artifact_type:
            found.append((digest, manifest))
    return tuple(found)


def referrer_digests(registry: Registry, subject: Digest, artifact_type: str) -> tuple[Digest, ...]:
    """What the list names, without having looked at it."""
    entries = _from_api(registry, subject, artifact_type)
    if entries is None:
        entries = _from_tag(registry, subject)
    digests = [
        Digest(entry["digest"])
        for entry in entries
        if entry.get("artifactType", artifact_type) == artifact_type
    ]
    return tuple(dict.fromkeys(digests))[:MAX_REFERRERS]


def _from_api(
    registry: Registry, subject: Digest, artifact_type: str | None
) -> list[dict[str, Any]] | None:
    """The entries that the API lists; None if the registry does not have it."""
    query = (
        ""
        if artifact_type is None
        else f"?{urllib.parse.urlencode({'artifactType': artifact_type})}"
    )
    target: str | None = registry.path(f"referrers/{subject}{query}")
    entries: list[dict[str, Any]] = []
    for _ in range(MAX_PAGES):
        assert target is not None
        reply = registry.wire.call(
            f"list what is about {subject}",
            "GET",
            target,
            ok=(200, 400, 404, 405, 501),
            headers={"Accept": MEDIA_INDEX},
            max_bytes=MAX_DOCUMENT,
        )
        if reply.status != 200:
            return None
        if reply.headers.get("Content-Type", "").partition(";")[0].strip() != MEDIA_INDEX:
            return None  # a page for everything that is not known
        entries += _entries(registry, reply.body, subject)
        target = registry.next_page(reply)
        if target is None:
            break
    return entries


def _from_tag(registry: Registry, subject: Digest) -> list[dict[str, Any]]:
    document = registry.find_document(_tag(subject))
    if document is None:
        return []
    if document.media_type != MEDIA_INDEX:
        raise SurroundingsError(
            "this tag is where statements about an image are listed, and it is something else",
            file=f"{registry.reference.name}:{_tag(subject)}",
            expected=MEDIA_INDEX,
            found=document.media_type,
            hint="remove the tag",
        )
    return _entries(registry, document.data, subject)


def _entries(registry: Registry, data: bytes, subject: Digest) -> list[dict[str, Any]]:
    """The descriptors of an index, as they are: what others listed is kept as they wrote it."""
    try:
        entries = canonical.loads(data, max_bytes=MAX_DOCUMENT)["manifests"]
        for entry in entries:
            parse_digest(entry["digest"])
    except (ValueError, KeyError, TypeError):
        what = "gives a list of statements that cannot be read"
        raise problems.lies(registry.reference.host, what, subject) from None
    return list(entries)


def _tag(subject: Digest) -> str:
    # distribution-spec, "referrers tag schema": the digest with a hyphen for the colon.
    return f"sha256-{hex_of(subject)}"
