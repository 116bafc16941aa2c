"""What a data source may be where it is a URL: its parts, its mistakes, how it is shown. Pure.

The lock keeps a source as the spec has it, so nothing secret may stand in one: no password, no
signature in a query. What a message shows of a URL is its scheme, host and path (`shown`), never
user names and never a query, also of a URL that was refused for what is in it. Not for asking
anything: `mllock.store.remote` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from mllock.spec.types import DataSource

__all__ = ["EXTRAS", "Problem", "RemoteUrl", "here", "is_remote", "problem", "shown", "split"]

# Protocol -> the extra of mllock that reads it; http needs none.
EXTRAS = {"s3": "s3", "gs": "gs", "az": "az", "hf": "hf"}
HTTP = ("https", "http")
_KNOWN = 'https://, s3://, gs://, az:// or hf://, e.g. "s3://bucket/folder"'
# Other names of the same protocols: one name for each, or one data set would be two.
_SAME = {
    "gcs": "gs",
    "s3a": "s3",
    "s3n": "s3",
    "abfs": "az",
    "abfss": "az",
    "wasb": "az",
    "wasbs": "az",
    "huggingface": "hf",
}
MAX_URL = 4096

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_USER = re.compile(r"\$\{\w+\}(:\$\{\w+\})?")
# Of signed URLs (AWS, Google, Azure, CloudFront) and of the usual tokens.
_SECRET = re.compile(
    r"(x-(amz|goog)-.*|.*(signature|token|secret|password|passwd|credential|api[-_]?key).*"
    r"|sig|key|auth|authorization|awsaccesskeyid|googleaccessid|policy|key-pair-id|pwd|jwt|sas)",
    re.IGNORECASE,
)
# RFC 1123, or an address; a port.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RemoteUrl(NamedTuple):
    """`user` is what stands before "@" (references to the environment), `key` what follows the
    first "/" after the host or bucket, without query."""

    scheme: str
    user: str
    place: str
    key: str
    query: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    message: str
    expected: str | None = None
    hint: str | None = None


def is_remote(source: str) -> bool:
    """Whether a data source is a URL (RFC 3986: scheme, "://")."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and _SCHEME.fullmatch(scheme) is not None


def here(source: DataSource) -> str:
    """Where the bytes are in the project: of a URL, where they are put."""
    return (source.path or source.source) if is_remote(source.source) else source.source


def split(url: str) -> RemoteUrl:
    """The parts of a URL. A bucket's key may hold "?" and "#": only http has queries."""
    scheme, _, rest = url.partition("://")
    http = scheme.lower() in HTTP
    query = ""
    if http:
        rest, _, query = rest.partition("#")[0].partition("?")
    authority, _, key = rest.partition("/")
    user, _, place = authority.rpartition("@")
    return RemoteUrl(scheme=scheme, user=user, place=place, key=key, query=query)


def shown(url: str) -> str:
    """`url` as messages may have it: without user, and without the values of a query."""
    parts = split(url)
    text = f"{parts.scheme}://{parts.place}" + (f"/{parts.key}" if parts.key else "")
    return text + ("?..." if parts.query else "")


def problem(url: str) -> Problem | None:
    """Why `url` cannot be a source, or None."""
    parts = split(url)
    if len(url.encode("utf-8", "surrogatepass")) > MAX_URL:
        return Problem(message=f"a URL of more than {MAX_URL} bytes")
    if parts.scheme in _SAME:
        name = _SAME[parts.scheme]
        return Problem(message=f"{parts.scheme}:// is {name}:// here", hint=f'write "{name}://..."')
    if parts.scheme not in (*HTTP, *EXTRAS):
        hint = "write the path, relative to the project" if parts.scheme == "file" else None
        if parts.scheme.lower() in (*HTTP, *EXTRAS):
            hint = f'write "{parts.scheme.lower()}://..."'
        return Problem(message="not a protocol that mllock reads", expected=_KNOWN, hint=hint)
    return _http_problem(url, parts) if parts.scheme in HTTP else _store_problem(parts)


def _http_problem(url: str, parts: RemoteUrl) -> Problem | None:
    if parts.user and _USER.fullmatch(parts.user) is None:
        return Problem(
            message="credentials in a URL",
            hint="put them in netrc, or write ${NAME} to take them from the environment",
        )
    if _HOST.fullmatch(parts.place) is None:
        return Problem(message="a URL without a host", expected=_KNOWN)
    for item in parts.query.split("&"):
        name = item.partition("=")[0]
        if _SECRET.fullmatch(name) is not None:
            return Problem(
                message=f"a signature or password in the query of a URL ({name[:40]})",
                hint="it would be in the lock, and end some day: name the file without it, with "
                "credentials in netrc, or as s3://, gs:// or az://",
            )
    if "#" in url:
        return Problem(message='a URL with a fragment ("#")', hint="leave out what follows it")
    if any(char.isspace() or char in '"<>\\^`{|}' for char in parts.key + parts.query):
        return Problem(message="not a URL", hint='write a space as "%20"')
    if not parts.key or parts.key.endswith("/"):
        return Problem(
            message="http has no list of files, so a folder cannot be a source",
            hint="name a file, one source for each; or a folder of a store: s3://, gs://, az://",
        )
    return None


def _store_problem(parts: RemoteUrl) -> Problem | None:
    if parts.user:
        return Problem(
            message="credentials in a URL",
            hint="put them where the store's own tools find them: variables or files of the user",
        )
    if _PLACE.fullmatch(parts.place) is None:
        what = "a bucket" if parts.scheme != "az" else "a container"
        return Problem(message=f"a URL without {what}", expected=_KNOWN)
    folder = parts.key.removesuffix("/")
    if any(char in folder for char in "*?["):
        start = re.split(r"[^/]*[*?\[]", folder, maxsplit=1)[0]
        rest = folder[len(start) :]
        return Problem(
            message="a pattern in a URL",
            hint=f'write source = "{parts.scheme}://{parts.place}/{start}" and '
            f'include = ["{rest}"]',
        )
    if any(part in ("", ".", "..") for part in folder.split("/") if folder):
        return Problem(message="an empty component in a URL, or one that is . or ..")
    return None
