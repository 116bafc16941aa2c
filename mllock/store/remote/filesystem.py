"""A data source in an object store, through fsspec. Implements `mllock.data.remote.RemoteSource`.

fsspec has one way to ask S3, Google Cloud Storage, Azure and the Hugging Face hub; each needs a
package that an extra of mllock brings. Who is asked with which credentials is the business of those
packages: their variables and files, never the spec's. What they raise is translated by name, to
reasons without URLs; names of files are as the store has them, checked by who uses them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Self

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
from mllock.spec.sources import EXTRAS, split
from mllock.store.transport import TRANSIENT

__all__ = ["FilesystemSource"]

MAX_FILES = 1_000_000
# One request brings so many bytes.
_BLOCK = 8 * 1024 * 1024

# Whose exceptions are the store's affair, and not a bug of ours.
_PACKAGES = frozenset(
    {
        "adlfs",
        "aiobotocore",
        "aiohttp",
        "azure",
        "botocore",
        "fsspec",
        "gcsfs",
        "google",
        "httpcore",
        "httpcore2",
        "httpx",
        "httpx2",
        "huggingface_hub",
        "requests",
        "s3fs",
        "urllib3",
    }
)
_UNREACHABLE = (
    "Connect",
    "Timeout",
    "HTTPClientError",
    "ServiceRe",
)
# In the middle of an answer.
_BROKEN = ("ServerDisconnected", "IncompleteRead", "ClientPayload", "RemoteProtocol", "ReadError")
_NO_CREDENTIALS = ("NoCredentials", "PartialCredentials", "DefaultCredentials", "TokenRetrieval")
_GONE = ("NotFound", "NoSuchKey", "NoSuchBucket")
_ANONYMOUS = {"s3": "; of a public bucket, set FSSPEC_S3_ANON=true"}


class FilesystemSource:
    """`url` as the spec has it. Raises InputError if the package for it is not installed."""

    def __init__(self, url: str) -> None:
        parts = split(url)
        self._scheme = parts.scheme
        self._is_folder = not parts.key or url.endswith("/")
        self._root = f"{parts.place}/{parts.key}".rstrip("/")
        self._files: Any = None
        self._make = _filesystem_class(parts.scheme)
        _silence()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._files = None

    def look(self) -> Listing:
        with self._translated():
            files = self._connected()
            found = {} if self._is_folder else files.info(self._root)
            if found.get("type") == "file":
                mark = _mark(found)
                return Listing(kind="file", files=(RemoteFile(path=SINGLE, mark=mark),))
            listed = files.find(self._root, detail=True)
            if not isinstance(listed, Mapping):  # what adlfs makes of an answer that is no listing
                raise RefusedError("its answer is no listing")
            if self._scheme == "az":
                listed = _without_folders(files, listed)
        return self._folder(listed)

    @contextlib.contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[_Stream]:
        path = self._root if file.path == SINGLE else f"{self._root}/{file.path}"
        with self._translated():
            files = self._connected()
            opened = files.open(path, "rb", block_size=_BLOCK, cache_type="none")
        with opened:
            mark = _mark(getattr(opened, "details", None) or {})
            start = offset if mark.is_of(file.mark) else 0
            if mark.size is not None and start > mark.size:
                start = 0
            with self._translated():
                opened.seek(start)
            yield _Stream(self, opened, start, mark)

    def read(self, opened: Any, amount: int) -> bytes:
        with self._translated():
            data: bytes = opened.read(min(amount, _BLOCK))
            return data

    def _connected(self) -> Any:
        if self._files is None:
            try:
                self._files = self._make(skip_instance_cache=True, use_listings_cache=False)
            except ValueError as error:  # an account that nothing names
                raise RefusedError("no account is named; set AZURE_STORAGE_ACCOUNT_NAME") from error
        return self._files

    def _folder(self, listed: Mapping[str, Mapping[str, Any]]) -> Listing:
        if len(listed) > MAX_FILES:
            raise RefusedError(f"lists more than {MAX_FILES} files")
        files = []
        prefix = f"{self._root}/"
        for name, info in listed.items():
            if not name.startswith(prefix):
                raise RefusedError("lists files outside of the folder that was asked for")
            # Stores have no folders; some tools put an empty object where one would be.
            if info.get("type") == "directory" or (name.endswith("/") and not info.get("size")):
                continue
            files.append(RemoteFile(path=name.removeprefix(prefix), mark=_mark(info)))
        if not files:
            raise NotFoundError
        files.sort(key=lambda file: file.path.encode("utf-8", "surrogatepass"))
        return Listing(kind="folder", files=tuple(files))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError from error
        except PermissionError as error:
            raise RefusedError("access is denied") from error
        except TimeoutError as error:
            raise TransientError("timed out") from error
        except Exception as error:
            if _is_theirs(error):
                raise self._reason(error) from error
            if isinstance(error, OSError):
                if str(error).startswith("Forbidden: "):  # gcsfs
                    raise RefusedError("answered 403: access is denied") from error
                raise TransientError("the store refused, or the connection broke") from error
            raise

    def _reason(self, error: BaseException) -> Exception:
        status = _status_of(error)
        if status in (401, 403):
            return RefusedError(f"answered {status}: access is denied")
        if status in (404, 410):
            return NotFoundError()
        if status in TRANSIENT:
            return TransientError(f"answered {status}")
        names = " ".join(kind.__name__ for kind in type(error).__mro__)
        if any(part in names for part in _NO_CREDENTIALS):
            return RefusedError("no credentials were found" + _ANONYMOUS.get(self._scheme, ""))
        if any(part in names for part in _GONE):
            return NotFoundError()
        if "FileExpired" in names:  # If-Match
            return TransientError("changed while it was read")
        if any(part in names for part in _BROKEN) or (
            status in (None, 200, 206) and type(error).__name__ == "HttpResponseError"  # azure
        ):
            return TransientError("the connection broke")
        if any(part in names for part in _UNREACHABLE):
            return TransientError("cannot be reached")
        return RefusedError(f"its package says {type(error).__name__}")


class _Stream:
    def __init__(self, source: FilesystemSource, opened: Any, offset: int, mark: Mark) -> None:
        self.offset = offset
        self.mark = mark
        self._source = source
        self._opened = opened

    def read(self, amount: int, /) -> bytes:
        return self._source.read(self._opened, amount)


def _filesystem_class(scheme: str) -> Any:
    try:
        import fsspec

        return fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise InputError(
            f"{scheme}:// needs a package that is not installed",
            hint=f'install it: pip install "mllock[{EXTRAS[scheme]}]"',
        ) from error


def _silence() -> None:
    """What the packages log would stand beside our message, with tracebacks and URLs; who set a
    level of their own for one gets it."""
    for name in _PACKAGES - {"requests", "urllib3"}:
        logger = logging.getLogger(name)
        if logger.level in (logging.NOTSET, logging.WARNING):
            logger.setLevel(logging.CRITICAL)


def _status_of(error: BaseException) -> int | None:
    """What the store answered, where the package says it; each does in its own way."""
    answer = getattr(error, "response", None)
    for holder, name in ((answer, "status_code"), (error, "status_code"), (error, "code")):
        value = getattr(holder, name, None)
        if isinstance(value, int):
            return value
    return None


def _is_theirs(error: BaseException) -> bool:
    """Of a class of theirs, or of any class and raised below their code: an answer that they did
    not expect may be a ValueError of some parser."""
    modules = [kind.__module__ for kind in type(error).__mro__]
    trace = None if isinstance(error, OSError) else error.__traceback__
    while trace is not None:
        modules.append(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return any(module.partition(".")[0] in _PACKAGES for module in modules)


def _without_folders(
    files: Any, listed: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Mapping[str, Any]]:
    """Without the empty objects that stand for folders. adlfs takes the slash from their names."""
    folders = {name.rpartition("/")[0] for name in listed}
    return {
        name: info
        for name, info in listed.items()
        if info.get("size") or not (name in folders or files.info(name)["type"] == "directory")
    }


def _mark(info: Mapping[str, Any]) -> Mark:
    """What a store says of one object; each protocol has words of its own."""
    size = info.get("size")
    lfs = info.get("lfs")
    digest = lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)
    etag = digest or next(
        (info[key] for key in ("ETag", "etag", "blob_id", "md5Hash") if info.get(key)), None
    )
    version = next((info[key] for key in ("VersionId", "generation") if info.get(key)), None)
    return Mark(
        size=size if isinstance(size, int) and size >= 0 else None,
        etag=None if etag is None else str(etag)[:1024],
        version=None if version in (None, "null") else str(version)[:1024],
        is_strong=etag is not None and isinstance(size, int),
    )
