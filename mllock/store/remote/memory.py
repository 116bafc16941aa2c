"""Which digest a remote file had when it was last fetched, by what its server said of it then.

So that a source is not fetched again for one file that changed. Only strong marks are remembered,
and only for this user (`mllock.store.own`): no digest stands behind an entry. A server that changes
bytes and keeps its marks is believed until somebody asks by content; what comes of that is an older
pin, never bytes that are not what their digest says. A memory that cannot be read is empty.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mllock.core.digest import Digest, hex_of, is_digest, sha256_of
from mllock.data.remote import Mark
from mllock.store import atomic
from mllock.store.cache import Cache
from mllock.store.own import read_own

__all__ = ["recall", "remember"]

MAX_BYTES = 512 * 1024 * 1024
_VERSION = 1

Known = Mapping[str, tuple[Mark, Digest]]


def recall(cache: Cache, url: str) -> Known:
    """Path -> what it was, for the files of a source that were fetched before."""
    data = read_own(_path(cache, url), MAX_BYTES)
    try:
        value = json.loads(data or b"{}")
        if value.get("version") != _VERSION or value.get("url") != url:
            return {}
        return {
            str(path): (_mark(size, etag, version), _digest(digest))
            for path, (size, etag, version, digest) in value["files"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def remember(cache: Cache, url: str, files: Known) -> None:
    """Keep what is strong of `files`, beside what was known of others."""
    known = {**recall(cache, url), **files}
    rows = {
        path: [mark.size, mark.etag, mark.version, digest]
        for path, (mark, digest) in sorted(known.items())
        if mark.is_strong
    }
    text = json.dumps({"version": _VERSION, "url": url, "files": rows}, separators=(",", ":"))
    atomic.write_bytes(_path(cache, url), text.encode("ascii"), 0o600)


def _path(cache: Cache, url: str) -> Path:
    name = hex_of(sha256_of(url.encode("utf-8", "surrogatepass")))
    return cache.folder("remote") / f"{name}-{os.geteuid()}.json"


def _mark(size: object, etag: object, version: object) -> Mark:
    if not isinstance(size, int | None) or not isinstance(etag, str):
        raise TypeError
    if not isinstance(version, str | None):
        raise TypeError
    return Mark(size=size, etag=etag, version=version, is_strong=True)


def _digest(text: object) -> Digest:
    if not isinstance(text, str) or not is_digest(text):
        raise TypeError
    return Digest(text)
