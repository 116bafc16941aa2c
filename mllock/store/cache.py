"""The content-addressed cache: `blobs/sha256/ab/HEX`, and folders for other kinds of entries.

Layout and rules are in docs/reference/cache.md. Invariants: an entry appears under its name by
one rename, whole; `get` hashes what it returns, every time, so that neither a name nor a size is
ever believed (`unchanged` says when it does not); entries are mode 0444. That is why blobs are not
fsynced: what a power cut tears is found by both, removed, and made again. Any number of processes
may share one cache, no locks. What is missing is looked for in vendored folders, and copied from
there like anything fetched. Raises SurroundingsError where the disk refuses, IntegrityError where
bytes are not as expected.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from mllock.core.digest import Digest, from_hex, hex_of, parse_digest
from mllock.core.ports import Reporter
from mllock.errors import InputError, IntegrityError, SurroundingsError
from mllock.store import atomic
from mllock.store.own import make_folder
from mllock.store.regular import open_regular
from mllock.store.unchanged import Unchanged
from mllock.store.vendored import Vendored

__all__ = ["BlobWriter", "Cache"]

_CHUNK = 1024 * 1024
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES)
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class BlobWriter:
    """Bytes on their way into the cache, hashed as they come. Made by `Cache.writer`."""

    def __init__(
        self,
        file: BinaryIO,
        publish: Callable[[IO[bytes], Path, Digest], None],
        expected: Digest | None,
        max_bytes: int | None,
    ) -> None:
        self._file = file
        self._publish = publish
        self._hash = hashlib.sha256()
        self._expected = expected
        self._max_bytes = max_bytes
        self.size = 0
        self.committed: Digest | None = None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Raises IntegrityError beyond the expected size, SurroundingsError on a full disk."""
        length = memoryview(data).nbytes
        if self._max_bytes is not None and self.size + length > self._max_bytes:
            raise IntegrityError(
                "more bytes than expected",
                expected=f"{self._max_bytes} bytes",
                found=f"at least {self.size + length} bytes",
            )
        self._hash.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise atomic.cannot_write(Path(self._file.name), error) from error
        self.size += length
        return length

    @property
    def digest(self) -> Digest:
        """Of the bytes so far."""
        return from_hex(self._hash.hexdigest())

    def commit(self) -> Digest:
        """Publish. Raises IntegrityError if the bytes are not the expected ones."""
        digest = self.digest
        _expect(digest, self._expected)
        self._publish(self._file, Path(self._file.name), digest)
        self.committed = digest
        return digest


class Cache:
    """Implements `mllock.core.ports.Blobs`. Making one touches nothing on disk."""

    def __init__(
        self,
        root: Path,
        reporter: Reporter,
        aside: Path | None = None,
        vendored: Sequence[Vendored] = (),
    ) -> None:
        """`aside` is for what is not finished: a folder on the same file system, `tmp` else."""
        self.root = root
        self.vendored = vendored
        self._reporter = reporter
        self._aside = aside

    def blob_path(self, digest: Digest) -> Path:
        """Where a blob is, if it is there. Only `get` says that it is, and that it is right."""
        hex_digest = hex_of(parse_digest(digest))
        return Path(f"{self.root}/blobs/sha256/{hex_digest[:2]}/{hex_digest}")

    def folder(self, name: str) -> Path:
        """The folder for another kind of entries (`layers`, `venvs`), made if missing.

        Its users publish by rename (`mllock.store.atomic`) and verify what they find in it.
        """
        path = self.root / name
        self._make(path)
        return path

    def get(self, digest: Digest) -> Path | None:
        return self._own(digest) or self._from_vendored(digest)

    def _from_vendored(self, digest: Digest) -> Path | None:
        """Copied from the first vendored folder that has it, if its bytes are right."""
        for folder in self.vendored:
            source = folder.find(digest)
            if source is None:
                if folder.lists(digest):
                    self._reporter.warn(
                        f"a file of a vendored folder is led out of it by a link: {folder.root}"
                    )
                continue
            try:
                with open_regular(source) as file, self.writer() as writer:
                    while chunk := file.read(_CHUNK):
                        writer.write(chunk)
                    if writer.digest == digest:
                        writer.commit()
                        return self.blob_path(digest)
                problem = "has other bytes than its SHA256SUMS says"
            except OSError:
                problem = "is gone"
            except InputError as error:
                problem = f"is {error.message}"
            self._reporter.warn(f"a file of a vendored folder {problem}: {source}")
        return None

    def _own(self, digest: Digest) -> Path | None:
        path = self.blob_path(digest)
        try:
            descriptor = os.open(path, _READ_FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            # ELOOP: a link where a blob should be is damage, not an entry.
            if not path.is_symlink():
                raise _cannot_read(path, error) from error
            self._remove_damaged(path, None)
            return None
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                with open(descriptor, "rb", buffering=0, closefd=False) as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() == hex_of(digest):
                        return path
        except OSError as error:
            raise _cannot_read(path, error) from error
        finally:
            os.close(descriptor)
        self._remove_damaged(path, status.st_ino)
        return None

    def get_all(self, digests: Iterable[Digest]) -> dict[Digest, Path | None]:
        """`get` for many, hashed with all cores."""
        wanted = tuple(dict.fromkeys(digests))
        workers = min(len(wanted), os.cpu_count() or 1)
        if workers < 2:
            return {digest: self.get(digest) for digest in wanted}
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(workers, thread_name_prefix="mllock-cache") as pool:
            return dict(zip(wanted, pool.map(self.get, wanted), strict=True))

    def unchanged(self, digests: Iterable[Digest]) -> dict[Digest, Path | None]:
        """`get_all`, but files that were hashed before and are as they were are not hashed again
        (`mllock.store.unchanged` says when that is as good). For layers of a build."""
        wanted = tuple(dict.fromkeys(digests))
        known = Unchanged(self.root / "unchanged")
        before = {digest: _look_at(self.blob_path(digest)) for digest in wanted}
        hashed = [d for d, status in before.items() if not status or not known.is_known(d, status)]
        began = known.now() if hashed else None
        found = {digest: self.blob_path(digest) for digest in wanted} | self.get_all(hashed)
        for digest in hashed:
            path, status = found[digest], before[digest]
            after = None if path is None else _look_at(path)
            if status is not None and after is not None:
                known.remember(digest, status, after, began)
        known.save()
        return found

    def made(self, digests: Iterable[Digest]) -> None:
        """These blobs were just now written and hashed, by this process or one that it started,
        and nobody else knew them before: they count as hashed."""
        known = Unchanged(self.root / "unchanged")
        for digest in digests:
            known.add(digest, _look_at(self.blob_path(digest)))
        known.save()

    def link(self, places: Mapping[Digest, Path]) -> None:
        """Put blobs that `unchanged` just found at these paths: whole, or not at all. Hard links,
        copies on other file systems."""
        known = Unchanged(self.root / "unchanged")
        for digest, path in places.items():
            source = self.blob_path(digest)
            before = _look_at(source)
            _link(source, path)
            # One more name is a change of the file, and no other one.
            known.renew(digest, before, _look_at(source))
        known.save()

    def put_bytes(self, data: bytes, *, expected: Digest | None = None) -> Digest:
        digest = from_hex(hashlib.sha256(data).hexdigest())
        _expect(digest, expected)
        if self._has(digest):
            return digest
        with self.writer(expected=digest) as writer:
            writer.write(data)
            return writer.commit()

    def put_file(self, path: Path, *, expected: Digest | None = None, move: bool = False) -> Digest:
        """Copies, so that the caller's file keeps its own life; `move` takes it away instead.

        A copy's digest is of the bytes that were copied, not of what `path` may hold later.
        """
        try:
            with open(path, "rb", buffering=0) as source:
                if move and self._can_adopt(os.fstat(source.fileno())):
                    digest = from_hex(hashlib.file_digest(source, "sha256").hexdigest())
                    _expect(digest, expected, path)
                    self._publish(source, path, digest)
                else:
                    with self.writer() as writer:
                        while chunk := source.read(_CHUNK):
                            writer.write(chunk)
                        _expect(writer.digest, expected, path)
                        digest = writer.commit()
        except OSError as error:
            raise _cannot_read(path, error) from error
        if move:
            path.unlink(missing_ok=True)
        return digest

    @contextlib.contextmanager
    def writer(
        self, *, expected: Digest | None = None, max_bytes: int | None = None
    ) -> Iterator[BlobWriter]:
        """A blob whose digest is not known yet. Without `commit` nothing of it stays."""
        path = self._temporary_folder() / atomic.temp_name()
        try:
            file = _create(path)
            try:
                yield BlobWriter(file, self._publish, expected, max_bytes)
            finally:
                # Closing flushes; after an error (a full disk) that error is the one to tell.
                with contextlib.suppress(OSError):
                    file.close()
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        with atomic.staging(self._temporary_folder()) as folder:
            yield folder

    def _publish(self, file: IO[bytes], temporary: Path, digest: Digest) -> None:
        """Move a complete file to its place, unless a right entry is there already."""
        path = self.blob_path(digest)
        try:
            file.flush()
            os.fchmod(file.fileno(), 0o444)
            if self._has(digest):
                return
            make_folder(path.parent)
            os.rename(temporary, path)
        except OSError as error:
            raise atomic.cannot_write(path, error) from error

    def _can_adopt(self, status: os.stat_result) -> bool:
        """Whether a file can become an entry by rename: on our disk, under no other name."""
        folder = self._temporary_folder().stat()
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_nlink == 1
            and status.st_dev == folder.st_dev
            and status.st_uid == os.geteuid()
        )

    def _has(self, digest: Digest) -> bool:
        """Whether the right entry is there; a wrong one is removed by `get`."""
        return os.path.lexists(self.blob_path(digest)) and self._own(digest) is not None

    def _remove_damaged(self, path: Path, inode: int | None) -> None:
        # Another process may have replaced the entry since it was opened: then it is not ours.
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if inode is not None and status.st_ino != inode:
                return
            if stat.S_ISDIR(status.st_mode):
                atomic.remove_tree(path)
            else:
                try:
                    path.unlink()
                except OSError as error:
                    raise atomic.cannot_write(path, error) from error
        self._reporter.warn(f"removed a damaged entry of the cache: sha256:{path.name}")

    def _temporary_folder(self) -> Path:
        folder = self._aside or self.root / "tmp"
        if not folder.is_dir():
            self._make(folder)
        return folder

    def _make(self, folder: Path) -> None:
        try:
            make_folder(folder)
        except OSError as error:
            raise atomic.cannot_write(folder, error) from error


def _expect(digest: Digest, expected: Digest | None, path: Path | None = None) -> None:
    if expected is not None and digest != expected:
        raise IntegrityError(
            "bytes are not what their digest says",
            file=None if path is None else str(path),
            expected=expected,
            found=digest,
        )


def _link(source: Path, path: Path) -> None:
    temporary = path.with_name(atomic.temp_name())
    try:
        try:
            os.link(source, temporary)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            import shutil

            shutil.copyfile(source, temporary)
        os.rename(temporary, path)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _look_at(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _create(path: Path) -> BinaryIO:
    try:
        return open(path, "xb", buffering=_CHUNK)
    except OSError as error:
        raise atomic.cannot_write(path, error) from error


def _cannot_read(path: Path, error: OSError) -> SurroundingsError:
    reason = (error.strerror or str(error)).lower()
    return SurroundingsError(f"cannot read: {reason}", file=str(path))
