"""What pip said about an index that does not keep to the rules, as errors of ours.

Pure: reads the output of `pip download -vv`, for `mllock.lock.pip_words`, which knows what pip says
about requirements. An index that lies, breaks off or answers with a login page is no fault of the
spec's: these errors are of the surroundings.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from mllock.errors import InputError, IntegrityError, MllockError, OfflineError

__all__ = [
    "broken",
    "cut_short_at",
    "file_of",
    "host",
    "misnamed",
    "no_list",
    "not_understood",
    "unreachable",
]

_UNREACHABLE = re.compile(
    r"(?:Could not fetch URL (?P<url>\S+): (?P<reason>.*) - skipping"
    r"|Could not install packages due to an OSError: (?P<broken>.*))$",
    re.MULTILINE,
)
_GONE = re.compile(r"40[4] Client Error|410 Client Error")
_HASHES = re.compile(
    r"DO NOT MATCH THE HASHES.*?\n\s*(?P<what>\S+) from (?P<url>\S+).*?"
    r"Expected (?:(?P<kind>[a-z]\w*) )?(?P<expected>\S+).*?Got\s+(?P<found>\S+)",
    re.DOTALL,
)
_METADATA = "in _fetch_metadata_using_link_data_attr"
_SHORT = re.compile(
    r"not enough bytes were received \((?P<have>.*?)/(?P<all>.*?)\)\n.*?URL: (?P<url>\S+)",
    re.DOTALL,
)
_UNITS = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
_NO_WHEEL = re.compile(r"Wheel '(?P<name>.*?)' located at (?P<path>.*) is invalid\.$", re.MULTILINE)
_OTHER_WHEEL = re.compile(r"^ERROR: (?P<name>\S+) has an invalid wheel, (?P<why>.*)$", re.MULTILINE)
_NOT_SERVED = re.compile(
    r"^(?:ERROR: )?(?:Could not install requirement .* because of HTTP error )?"
    r"(?P<error>\d{3} (?:Client|Server) Error: .*?) for url: (?P<url>\S+)",
    re.MULTILINE,
)
_MISNAMED = re.compile(
    r"^ *Discarding (?P<url>\S+) .*has inconsistent (?P<what>\w+): expected '(?P<expected>.*?)', "
    r"but metadata has '(?P<found>.*?)'",
    re.MULTILINE,
)
_PAGE = re.compile(r"^ *Getting page (?P<url>\S+)$", re.MULTILINE)
_OTHER_TYPE = re.compile(
    r"Skipping page (?P<url>\S+) because the GET request got Content-Type: (?P<type>.*?)\. The only"
)
_HTML = re.compile(r"Fetched page (?P<url>\S+) as text/html$", re.MULTILINE)
_EXCEPTION = re.compile(r"^(?:ERROR: )?Exception:$", re.MULTILINE)
_RAISED = re.compile(r"^ *(?P<kind>[A-Za-z_][\w.]*): (?P<what>.*)$", re.MULTILINE)
_UV_CANNOT_READ = re.compile(
    r"Received some unexpected (?:JSON|HTML) from `?(?P<url>[^`\s]+)`?\s+(?:cause|Caused by): "
    r"(?P<what>.*)|(?:error|cause|Caused by): (?P<why>out-of-range value for .* type)"
)
_NO_URL = re.compile(r"Port could not be cast to integer|Port out of range|^Invalid IPv6 URL$")
_NETWORK = ("requests", "urllib3", "http.client", "ssl", "socket", "TimeoutError", "Connection")

_DENIED = re.compile(r"\b40[13] Client Error", re.IGNORECASE)
_LOGIN = (
    "check user and password: the variables that the URL of the index names, netrc, or the keyring"
)
_NETWORK_HINT = "check the network, the proxy and pip's settings (pip config debug)"
_AGAIN = "try again later, or tell those who run the index"


def broken(text: str) -> MllockError | None:
    """What the index did wrong, if pip stopped for that."""
    return (
        _mismatch(text)
        or _cut_short(text)
        or _not_a_wheel(text)
        or _not_served(text)
        or _exception(text)
    )


def misnamed(text: str, name: str) -> MllockError | None:
    """A wheel of the project `name` that is not what its file name says."""
    for match in _MISNAMED.finditer(text):
        file = file_of(match["url"])
        if re.sub(r"[-_.]+", "-", file.partition("-")[0]).lower() == name:
            return IntegrityError(
                f"the index serves a wheel of another {match['what']} as {file}",
                expected=match["expected"],
                found=match["found"],
                hint="tell those who run the index; until then, leave that version out",
            )
    return None


def no_list(text: str, name: str) -> MllockError | None:
    """Why the index seems to have nothing of the project `name`, although it answers."""
    for match in _OTHER_TYPE.finditer(text):
        if file_of(match["url"]) == name:
            return OfflineError(
                f"the package index does not answer with a list of files: {host(match['url'])}",
                found=f"its page for {name} is of type {match['type']}",
                hint="check the URL of the index (pip config debug)",
            )
    for match in _HTML.finditer(text):
        if file_of(match["url"]) == name and f"check 0 links for project '{name}'" in text:
            return OfflineError(
                f"the package index's page for {name} lists no file: {host(match['url'])}",
                hint="look at it in a browser: a login or a proxy may stand there instead",
            )
    return None


def unreachable(text: str) -> MllockError | None:
    for match in _UNREACHABLE.finditer(text):
        reason = match["reason"] or match["broken"]
        if not _GONE.search(reason):
            return _offline(match["url"] or "", reason)
    return None


def _offline(url: str, reason: str) -> OfflineError:
    name = host(url)
    return OfflineError(
        "the package index cannot be read" + (f": {name}" if name else ""),
        found=_cause(reason),
        hint=_LOGIN if _DENIED.search(reason) else _NETWORK_HINT,
    )


def _mismatch(text: str) -> MllockError | None:
    match = _HASHES.search(text)
    if match is None:
        return None
    kind = match["kind"] or "sha256"
    # Of the METADATA beside a wheel (PEP 658) it says the same; the traceback knows.
    beside = ".metadata" if _METADATA in text else ""
    # A lock has sha256, and nothing that is not one.
    locked = kind == "sha256" and len(match["expected"]) == 64
    promised = match["expected"] in match["url"] or bool(beside) or not locked
    return IntegrityError(
        f"the index serves other bytes for {file_of(match['url'])}{beside} than "
        + ("it says itself" if promised else "those that are locked"),
        expected=f"{kind}:{match['expected']}",
        found=f"{kind}:{match['found']}",
        hint="a proxy or the index damages it, or somebody changed it: find out which"
        if promised
        else "find out why before you lock them anew: a released wheel never changes",
    )


def cut_short_at(text: str) -> float | None:
    """How many bytes a file would have had of which not all came, as pip rounds them."""
    match = _SHORT.search(text)
    number = None if match is None else re.fullmatch(r"([0-9.]+) (bytes|kB|MB|GB)", match["all"])
    return None if number is None else float(number[1]) * _UNITS[number[2]]


def _cut_short(text: str) -> MllockError | None:
    match = _SHORT.search(text)
    if match is None:
        return None
    return OfflineError(
        f"the index breaks off while it serves {file_of(match['url'])}: {host(match['url'])}",
        expected=match["all"],
        found=match["have"],
        hint=_AGAIN,
    )


def _not_a_wheel(text: str) -> MllockError | None:
    match = _NO_WHEEL.search(text)
    if match is not None:
        file = match["path"].rpartition("/")[2]
        return IntegrityError(
            f"what the index serves as {file} is not a wheel",
            hint="a proxy or a login page may stand in for it; or it is damaged there",
        )
    match = _OTHER_WHEEL.search(text)
    if match is not None:
        return IntegrityError(
            f"what the index serves as a wheel of {match['name']} is none",
            found=match["why"],
            hint="tell those who run the index; until then, leave that version out",
        )
    return None


def _not_served(text: str) -> MllockError | None:
    match = _NOT_SERVED.search(text)
    if match is None:
        return None
    return OfflineError(
        f"the index lists {file_of(match['url'])} and does not serve it: {host(match['url'])}",
        found=match["error"].lower(),
        hint=_AGAIN,
    )


def _exception(text: str) -> MllockError | None:
    """A traceback of pip's that began while it read from an index."""
    start = _EXCEPTION.search(text)
    if start is None:
        return None
    raised = list(_RAISED.finditer(text, start.end()))
    page = None
    for page in _PAGE.finditer(text, 0, start.start()):  # noqa: B007 - the last one
        pass
    if raised and _NO_URL.search(raised[-1]["what"]):
        return InputError(
            "the URL of a package index in pip's settings cannot be understood",
            hint='in a password, write %2F for "/", %3F for "?" and %23 for "#" (pip config debug)',
        )
    if not raised or page is None:
        return None
    kind, what = raised[-1]["kind"], raised[-1]["what"]
    if any(part in kind for part in _NETWORK):
        return _offline(page["url"], what)
    return _no_answer(page["url"], what)


def not_understood(text: str) -> MllockError | None:
    """What uv cannot read of an index's answer, where pip passed over it."""
    match = _UV_CANNOT_READ.search(text)
    return None if match is None else _no_answer(match["url"] or "", match["what"] or match["why"])


def _no_answer(url: str, what: str) -> OfflineError:
    name = host(url)
    return OfflineError(
        "the package index's answer cannot be understood" + (f": {name}" if name else ""),
        expected="a list of files, as PEP 503 or PEP 691 have it",
        found=(f"its page for {file_of(url)}: {what}" if url else what)[:300],
        hint="check the URL of the index (pip config debug)",
    )


def host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # what the user set is not a URL
        return None


def file_of(url: str) -> str:
    """The last part of its path: the name of a file, or of a project if it is of a page."""
    return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])


def _cause(reason: str) -> str:
    """The end of a chain of exceptions, without object addresses and URLs."""
    for pattern in (
        r"(?:Name or service not known|Temporary failure in name resolution|No address associated)",
        r"Connection refused",
        r"Network is unreachable",
        r"timed out",
        r"certificate verify failed: [\w -]+\w",
        r"\b[45]\d\d (?:Client|Server) Error: [\w ]+? for url",
        r"too many \d+ error responses",
        r"\d+ bytes read, \d+ more expected",
    ):
        match = re.search(pattern, reason, re.IGNORECASE)
        if match:
            return match[0].removesuffix(" for url").lower()
    return re.sub(r"https?://\S+|<[^>]* object at 0x[0-9a-f]+>:? ?", "", reason)[-200:].strip()
