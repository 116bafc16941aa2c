"""Known vulnerabilities of Python packages: pip-audit's client of OSV, asked for each package.

Not for Debian (`mllock.audit.debian`). What is sent are names and versions. pip-audit reads the
answers; how they are fetched is decided here: bounded in size and time, several at a time, nothing
kept. The service can hide a vulnerability and cannot do more. Raises OfflineError where it does not
answer, SurroundingsError for an answer that is none, InputError without the extra.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from mllock.audit.types import Vulnerability
from mllock.errors import InputError, OfflineError, SurroundingsError

if TYPE_CHECKING:
    import requests
    from pip_audit._service.interface import VulnerabilityResult, VulnerabilityService

__all__ = ["VARIABLE", "python_vulnerabilities"]

VARIABLE = "MLLOCK_OSV_URL"
MAX_ANSWER = 16 * 1024 * 1024
MAX_PAGES = 50
# For the connection, for each part of an answer, and for all of it.
_SECONDS = 30
_CHUNK = 1 << 16
_THREADS = 8


def python_vulnerabilities(
    packages: Sequence[tuple[str, str]], url: str | None
) -> tuple[Vulnerability, ...]:
    """What is known about these names and versions. `url` is OSV's query URL, None the library's
    own."""
    service = _service(url)
    host = urlsplit(service.osv_url).netloc.rpartition("@")[2]
    with service.session, ThreadPoolExecutor(_THREADS, "mllock-audit") as pool:
        answers = [pool.submit(_ask, service, host, *package) for package in packages]
        try:
            return tuple(found for answer in answers for found in answer.result())
        finally:
            for answer in answers:  # after a failure the others need not be asked
                answer.cancel()


def _service(url: str | None) -> Any:
    try:
        from pip_audit._service.osv import OsvService
    except ImportError:
        raise InputError(
            "known vulnerabilities of Python packages are looked up with pip-audit",
            found="it is not installed",
            hint='install it: pip install "mllock[audit]"; or ask about Debian packages alone: '
            "--only debian",
        ) from None
    if url is not None and not _is_http(url):
        raise InputError(
            "not the URL of a service that can be asked",
            key=VARIABLE,
            expected="an http or https URL that speaks OSV, such as https://osv.example.org/v1/query",
        )
    service = OsvService(timeout=_SECONDS, **({} if url is None else {"osv_url": url}))
    service.session = _bounded_session()
    return service


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _bounded_session() -> requests.Session:
    """In the place of the library's own, which keeps answers, and reads as much as there is."""
    import requests
    from msgspec.json import decode, encode

    class Bounded(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """None is followed: it would be read without bounds, and asked with GET."""
            del resp

        def post(self, url: Any, data: Any = None, json: Any = None, **options: Any) -> Any:
            """The library reads one page of an answer, and what it does not know as nothing: here
            it gets all pages, of entries that were read."""
            response = super().post(url, data, json, **options)
            entries: list[_Entry] = []
            for _ in range(MAX_PAGES):
                if response.status_code != 200:
                    raise requests.HTTPError(response=response)
                page = _page(response)
                entries += page.vulns
                if not page.next_page_token:
                    break
                query = {**decode(data), "page_token": page.next_page_token}
                response = super().post(url, encode(query), **options)
            else:
                raise requests.exceptions.ContentDecodingError("more pages than are read")
            if any(_other_schema(entry) for entry in entries):
                raise requests.exceptions.ContentDecodingError("a schema that is not 1")
            answer = {"vulns": entries} if entries else {}
            response._content = encode(answer)  # noqa: SLF001 - as its own `content` does
            return response

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            until = time.monotonic() + _SECONDS
            response = super().send(request, **{**options, "stream": True})
            data = bytearray()
            try:
                while chunk := response.raw.read1(_CHUNK, decode_content=True):
                    data += chunk
                    if len(data) > MAX_ANSWER:
                        raise requests.exceptions.ContentDecodingError("larger than is read")
                    # A byte now and then never runs into the timeout of the socket.
                    if time.monotonic() > until:
                        raise requests.exceptions.ReadTimeout("no whole answer in time")
            finally:
                response.close()
            response._content = bytes(data)  # noqa: SLF001 - as its own `content` does
            return response

    return Bounded()


class _Entry(msgspec.Struct, kw_only=True):
    """What the library reads of an entry. The service was asked about one version, so what it
    answers with is known of that, also where `affected`, which may be absent, does not say so."""

    id: str
    schema_version: str = "1.0.0"
    aliases: list[str] = []
    summary: str | None = None
    details: str | None = None
    withdrawn: str | None = None
    published: str | None = None
    affected: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        # An affected repository has no package, and no version of one that mends it.
        self.affected = [item for item in self.affected or () if "package" in item]


class _Page(msgspec.Struct):
    vulns: list[_Entry] = []
    next_page_token: str | None = None


def _other_schema(entry: _Entry) -> bool:
    """Whether the library would leave an entry out, and say so in a log at most."""
    return entry.schema_version.partition(".")[0] != "1"


def _page(response: requests.Response) -> _Page:
    """What an answer says. That there is nothing is an object without anything, or without
    entries; whatever else is empty says nothing."""
    import requests

    try:
        parts = msgspec.json.decode(response.content, type=dict[str, msgspec.Raw])
        if parts and not parts.keys() & {"vulns", "next_page_token"}:
            raise requests.exceptions.ContentDecodingError("not OSV's form")
        return msgspec.json.decode(response.content, type=_Page)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise requests.exceptions.ContentDecodingError("not OSV's form") from error


def _ask(
    service: VulnerabilityService, host: str, name: str, version: str
) -> tuple[Vulnerability, ...]:
    import requests
    import urllib3
    from packaging.version import InvalidVersion, Version
    from pip_audit._service.interface import ResolvedDependency, ServiceError

    # A local version (+cpu) is of one index; what is known is known of the public one.
    asked = ResolvedDependency(name=name, version=Version(Version(version).public))
    try:
        _, results = service.query(asked)
    except (
        ServiceError,
        OSError,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
    ) as error:
        if isinstance(error, requests.exceptions.ContentDecodingError | requests.JSONDecodeError):
            raise _no_answer(host, name, version) from error
        raise OfflineError(
            f"the vulnerability service {host} does not answer: {_reason(error)}",
            found=f"asked about {name} {version}",
            hint=f"try again, or name another service with {VARIABLE}",
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, InvalidVersion) as error:
        raise _no_answer(host, name, version) from error
    return tuple(_found(name, version, result) for result in results)


def _no_answer(host: str, name: str, version: str) -> SurroundingsError:
    return SurroundingsError(
        f"the vulnerability service {host} answered with something that is not OSV's form",
        found=f"asked about {name} {version}",
        hint=f"does {VARIABLE} name its query URL (.../v1/query)?",
    )


def _reason(error: BaseException) -> str:
    """Why, without URLs."""
    import requests

    cause = error.__cause__ or error
    if isinstance(cause, requests.HTTPError) and cause.response is not None:
        return f"status {cause.response.status_code}"
    if isinstance(cause, requests.Timeout) or "connect to OSV" in str(error):
        return "timed out"
    return "no connection"


def _found(name: str, version: str, result: VulnerabilityResult) -> Vulnerability:
    fixes = [str(fix) for fix in result.fix_versions]
    return Vulnerability(
        kind="python",
        package=name,
        version=version,
        id=str(result.id),
        aliases=tuple(sorted(map(str, result.aliases))),
        fixed=_first_after(version, fixes),
        summary=" ".join(str(result.description).split())[:300],
    )


def _first_after(version: str, fixes: Sequence[str]) -> str | None:
    """Of the versions that mend it, one for each line of releases, the first that is newer."""
    from packaging.version import Version

    newer = [fix for fix in map(Version, fixes) if fix > Version(version)]
    return str(min(newer)) if newer else None
