"""Remote data in the cache: every file a blob, the tree manifest a blob under the tree digest.

Order of trust: a locked tree digest decides; its manifest, found by that digest, decides about each
file; where nothing is locked yet, the bytes that come are hashed and are what will be locked. Marks
of servers only leave out what need not be asked for again (`mllock.store.remote.memory`). A source
that changes while it is fetched is an error, and so is one that has other bytes than are locked.
Raises DataError, StaleLockError, OfflineError, SurroundingsError.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from mllock.core import tree
from mllock.core.digest import Digest
from mllock.core.ports import Reporter
from mllock.core.tree import Entry, TreeManifest
from mllock.data.remote import (
    Listing,
    Mark,
    NotFoundError,
    RefusedError,
    RemoteFile,
    RemoteSource,
    TransientError,
)
from mllock.errors import DataError, OfflineError, StaleLockError
from mllock.lock.types import DataPin
from mllock.spec.sources import shown
from mllock.spec.types import DataSource
from mllock.store.cache import Cache
from mllock.store.remote.download import Download, Got, WrongBytesError
from mllock.store.remote.listing import place_of, selected, tree_of, unchanged
from mllock.store.remote.memory import recall, remember
from mllock.store.remote.partial import remove_old
from mllock.store.retry import again, all_or_first

__all__ = ["Fetched", "OpenSource", "RemoteData"]

_THREADS = 8

OpenSource = Callable[[str], AbstractContextManager[RemoteSource]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What a source holds, and what its server says of the whole."""

    manifest: TreeManifest
    mark: Mark


class RemoteData:
    """`open_source` connects to a URL; `backoff` is the first pause in seconds after a failure."""

    def __init__(
        self, cache: Cache, reporter: Reporter, open_source: OpenSource, *, backoff: float = 0.25
    ) -> None:
        self._cache = cache
        self._reporter = reporter
        self._open = open_source
        self._backoff = backoff

    def look(self, name: str, source: DataSource) -> Mark:
        """What the server says of the source now; no data is read."""
        with self._asking(name, source) as remote:
            return self._look(remote, name, source).mark

    def fetch(
        self,
        name: str,
        source: DataSource,
        *,
        by_content: bool = False,
        keep: bool = True,
        pin: DataPin | None = None,
    ) -> Fetched:
        """Everything that is at the source now, in the cache. `by_content`: also what its marks
        say was fetched before; without `keep` it is only hashed. With `pin`, what cannot be the
        locked tree by number and size is not fetched."""
        with self._asking(name, source) as remote:
            listing = self._look(remote, name, source)
            if pin is not None:
                _possible(name, source, pin, listing)
            before = {} if by_content else self._still_here(source, listing)
            again = [file for file in listing.files if file.path not in before]
            came = self._all(
                name, source, [self._download(remote, source, f, keep=keep) for f in again]
            )
            if listing.kind == "folder" and again:
                unchanged(listing, self._look(remote, name, source), source)
        got = before | {item.entry.path: item for item in came}
        manifest = tree_of((item.entry for item in got.values()), source)
        if keep:
            known = {path: (item.mark, _digest(item.entry)) for path, item in got.items()}
            remember(self._cache, source.source, known)
            self._cache.put_bytes(manifest.text())
        if listing.kind == "folder":
            return Fetched(manifest=manifest, mark=listing.mark)
        return Fetched(manifest=manifest, mark=next(iter(got.values())).mark)

    def manifest(self, pin: DataPin) -> TreeManifest | None:
        """What is locked, file by file, if this machine's cache knows it."""
        path = self._cache.get(Digest(pin.tree))
        if path is None:
            return None
        try:
            return tree.parse(path.read_bytes())
        except ValueError:
            return None

    def find(self, manifest: TreeManifest) -> bool:
        """Whether all files of a tree are in the cache; every byte is hashed."""
        there = self._cache.get_all(_digest(e) for e in manifest.entries if e.digest is not None)
        return None not in there.values()

    def bring(self, name: str, source: DataSource, pin: DataPin) -> TreeManifest:
        """The locked tree, whole in the cache. Fetches what is not there."""
        manifest = self.manifest(pin)
        if manifest is None:
            found = self.fetch(name, source, pin=pin)
            if found.manifest.digest != pin.tree:
                # Marks may have stayed while bytes changed: what was known by them is old.
                found = self.fetch(name, source, by_content=True, pin=pin)
            if found.manifest.digest != pin.tree:
                raise _moved_on(name, source, "other names or bytes", pin.tree, found.manifest)
            return found.manifest
        files = [entry for entry in manifest.entries if entry.digest is not None]
        there = self._cache.get_all(map(_digest, files))
        missing = [entry for entry in files if there[_digest(entry)] is None]
        if missing:
            self._missing(name, source, missing)
        return manifest

    def _missing(self, name: str, source: DataSource, entries: Sequence[Entry]) -> None:
        """Files whose digests are known: no list is needed, nor anything that a server says."""
        with self._asking(name, source) as remote:
            downloads = [
                replace(
                    self._download(
                        remote, source, RemoteFile(path=entry.path, mark=Mark(size=entry.size))
                    ),
                    expected=entry,
                )
                for entry in entries
            ]
            try:
                self._all(name, source, downloads)
            except WrongBytesError as error:
                raise StaleLockError(
                    f"{place_of(source, error.path)} has other bytes than those that are locked",
                    file="mlproject.lock",
                    key=f"data.{name}",
                    expected=error.expected,
                    found=error.found,
                    hint=_hint(),
                ) from error

    def _still_here(self, source: DataSource, listing: Listing) -> dict[str, Got]:
        """Files that were fetched before, by their marks, and are in the cache, by content."""
        known = recall(self._cache, source.source)
        same = {
            file.path: (file.mark, known[file.path][1])
            for file in listing.files
            if file.mark.is_strong and file.path in known and known[file.path][0].is_of(file.mark)
        }
        blobs = self._cache.get_all(digest for _, digest in same.values())
        found = {}
        for path, (mark, digest) in same.items():
            blob = blobs[digest]
            if blob is not None:
                entry = Entry(kind="f", path=path, size=blob.stat().st_size, digest=digest)
                found[path] = Got(entry=entry, mark=mark)
        return found

    def _look(self, remote: RemoteSource, name: str, source: DataSource) -> Listing:
        listing = again(remote.look, threading.Event(), self._backoff)
        return selected(listing, name, source)

    def _download(
        self, remote: RemoteSource, source: DataSource, file: RemoteFile, *, keep: bool = True
    ) -> Download:
        return Download(
            cache=self._cache,
            remote=remote,
            url=source.source,
            file=file,
            backoff=self._backoff,
            keep=keep,
        )

    def _all(self, name: str, source: DataSource, downloads: Sequence[Download]) -> list[Got]:
        if not downloads:
            return []
        remove_old(self._cache)
        stop = threading.Event()
        total = sum(download.file.mark.size or 0 for download in downloads)
        verb = "fetching" if downloads[0].keep else "reading"
        text = f"{verb} data.{name} from {shown(source.source)}"
        threads = min(_THREADS, len(downloads))
        with (
            self._reporter.progress(text, total) as done,
            ThreadPoolExecutor(threads, "mllock-data") as pool,
        ):
            futures = [pool.submit(download.run, stop, done) for download in downloads]
            all_or_first(futures, stop)
        return [future.result() for future in futures]

    @contextlib.contextmanager
    def _asking(self, name: str, source: DataSource) -> Iterator[RemoteSource]:
        try:
            with self._open(source.source) as remote:
                yield remote
        except NotFoundError as error:
            raise DataError(
                f"there is nothing at {shown(source.source)}",
                file="mlproject.toml",
                key=f"data.{name}.source",
                hint="correct the URL, or put the data there",
            ) from error
        except (TransientError, RefusedError) as error:
            raise OfflineError(
                f"cannot fetch data.{name} from {shown(source.source)}: {error}",
                hint="check the network and the source, then run the same command again: "
                "it goes on where it stopped",
            ) from error


def _possible(name: str, source: DataSource, pin: DataPin, listing: Listing) -> None:
    """Before hours are spent on bytes that cannot be the locked ones."""
    sizes = [file.mark.size for file in listing.files]
    if listing.kind != pin.kind:
        raise _moved_on(name, source, f"a {listing.kind} now, a {pin.kind} locked", pin.tree, None)
    if len(sizes) != pin.files:
        what = f"{len(sizes)} files now, {pin.files} locked"
        raise _moved_on(name, source, what, pin.tree, None)
    if None not in sizes and listing.size != pin.size:
        what = f"{listing.size} bytes now, {pin.size} locked"
        raise _moved_on(name, source, what, pin.tree, None)


def _moved_on(
    name: str, source: DataSource, what: str, expected: str, found: TreeManifest | None
) -> StaleLockError:
    return StaleLockError(
        f"{shown(source.source)} is not what is locked: {what}",
        file="mlproject.lock",
        key=f"data.{name}",
        expected=expected,
        found=None if found is None else found.digest,
        hint=_hint(),
    )


def _hint() -> str:
    return 'bring the data back, or pin what is there now: "mllock lock --data"'


def _digest(entry: Entry) -> Digest:
    assert entry.digest is not None
    return entry.digest
