"""Answering a registry that asks who we are: anonymous, basic, or a bearer token.

RFC 7235 challenges; tokens as in distribution's "token" and "oauth2" documents. A realm gets
credentials over https or on loopback only, is never followed elsewhere, and what it answers is
bounded. Credentials are looked up when they are first needed. Tokens live in memory alone.
Safe to use from threads: one token is fetched, whoever needs it.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mllock.errors import SurroundingsError
from mllock.store.registry.credentials import Credentials, find_credentials
from mllock.store.registry.limits import Deadline
from mllock.store.registry.trust import is_loopback, may_be_plain
from mllock.store.transport import Body

if TYPE_CHECKING:
    import requests

__all__ = ["Auth", "Send", "challenges"]

MAX_TOKEN = 256 * 1024
_CLIENT = "mllock"
# RFC 7235: scheme, then name=token or name="quoted", separated by commas.
_PART = re.compile(
    r"\s*,?\s*(?:(?P<scheme>[A-Za-z][A-Za-z0-9-]*)(?=\s+[^=\s,]|\s*$|\s*,)\s*"
    r'|(?P<name>[A-Za-z0-9_-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s",]+)))'
)
_TOKEN = re.compile(r"[\x21-\x7e]+")

# Sends one request: method, url, headers, form or None, deadline. No redirect, no retry.
Send = Callable[..., "requests.Response"]


def challenges(header: str) -> dict[str, dict[str, str]]:
    """The challenges of a WWW-Authenticate header by lower-case scheme; what does not read is
    left out."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] | None = None
    at = 0
    while match := _PART.match(header, at):
        at = match.end()
        if match["scheme"] is not None:
            current = found.setdefault(match["scheme"].lower(), {})
        elif current is not None:
            quoted = match["quoted"]
            value = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            current.setdefault(match["name"].lower(), value)
    return found


class Auth:
    """What is sent as Authorization to one registry, for one repository."""

    def __init__(self, host: str, repository: str, environ: Mapping[str, str], send: Send) -> None:
        self._host = host
        self._repository = repository
        self._environ = environ
        self._send = send
        self._lock = threading.Lock()
        self._header: str | None = None
        self._credentials: Credentials | None = None
        self._looked = False

    @property
    def header(self) -> str | None:
        return self._header

    def answer(self, challenge: str, sent: str | None, deadline: Deadline) -> bool:
        """Whether it is worth asking again after a 401 with `challenge` to a request with `sent`.

        Raises SurroundingsError if a token cannot be had, TransientError.
        """
        with self._lock:
            if self._header != sent:
                return True  # another thread was faster
            asked = challenges(challenge)
            if "bearer" in asked:
                header = f"Bearer {self._token(asked['bearer'], deadline)}"
            elif "basic" in asked:
                credentials = self._find()
                if credentials is None or not credentials.user:
                    return False
                header = credentials.basic
            else:
                return False
            if header == sent:
                return False
            self._header = header
            return True

    def _find(self) -> Credentials | None:
        if not self._looked:
            self._credentials = find_credentials(self._host, self._environ)
            self._looked = True
        return self._credentials

    def _token(self, asked: Mapping[str, str], deadline: Deadline) -> str:
        realm, credentials = asked.get("realm", ""), self._find()
        try:
            parts = urllib.parse.urlsplit(realm)
        except ValueError:  # http://[::1
            parts = urllib.parse.urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise self._problem("names no address where a token can be had")
        if parts.scheme == "http":
            if credentials is not None and not is_loopback(parts.netloc):
                raise self._problem("wants the credentials sent over plain http")
            if not may_be_plain(parts.netloc, self._environ):
                raise self._problem("wants a token asked for over plain http")
        scope = asked.get("scope") or f"repository:{self._repository}:pull"
        fields = {"service": asked["service"]} if "service" in asked else {}
        fields["scope"] = scope
        if credentials is not None and credentials.token:
            form = fields | {
                "grant_type": "refresh_token",
                "refresh_token": credentials.token,
                "client_id": _CLIENT,
            }
            response = self._send("POST", realm, {}, form, deadline)
        else:
            query = [*urllib.parse.parse_qsl(parts.query), *_split(fields)]
            headers = {}
            if credentials is not None:
                query.append(("account", credentials.user))
                headers["Authorization"] = credentials.basic
            url = urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))
            response = self._send("GET", url, headers, None, deadline)
        with contextlib.closing(response):
            return self._read(response, credentials)

    def _read(self, response: requests.Response, credentials: Credentials | None) -> str:
        if response.status_code in (400, 401, 403):
            what = "does not accept the credentials" if credentials else "wants credentials"
            raise SurroundingsError(
                f"the registry {self._host} {what}",
                hint=f'log in with "docker login {self._host}"',
            )
        if response.status_code != 200:
            raise self._problem(f"gives no token: status {response.status_code}")
        body = Body(response)
        data = b""
        while len(data) <= MAX_TOKEN and (chunk := body.read(MAX_TOKEN)):
            data += chunk
        try:
            answer = json.loads(data) if len(data) <= MAX_TOKEN else {}
            token = answer.get("token") or answer.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise self._problem("gives an answer without a token")
        return token

    def _problem(self, what: str) -> SurroundingsError:
        return SurroundingsError(f"cannot log in: the registry {self._host} {what}")


def _split(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Several scopes are several fields of the query."""
    pairs = []
    for name, value in fields.items():
        values = value.split() if name == "scope" else [value]
        pairs += [(name, each) for each in values]
    return pairs
