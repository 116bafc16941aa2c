"""Who we are to a registry: what Docker's config.json and its credential helpers say.

`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; of it, in this order: the helper that
`credHelpers` names for the host, `credsStore`, `auths` (`auth`, `identitytoken`). Read when a
registry asks, never before; nothing is written. No secret is in any message: neither what a file
holds nor what a helper prints is ever quoted.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mllock import processes
from mllock.errors import InputError, SurroundingsError

__all__ = ["Credentials", "find_credentials"]

MAX_FILE = 4 * 1024 * 1024
_HELPER_SECONDS = 60.0
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# docker-credential-helpers: the text that stands for "there is none".
_NOT_FOUND = b"credentials not found"
_IDENTITY = "<token>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A name and a password, or an identity token (OAuth2's refresh token)."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


def find_credentials(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """The credentials for `host`, or None. Raises InputError for a file that does not read,
    SurroundingsError for a helper that fails."""
    path = _path(environ)
    config = None if path is None else _read(path)
    if path is None or config is None:
        return None
    name = str(path)
    helpers = _table(config, "credHelpers", name)
    store = config.get("credsStore") or None
    for key in _keys(host):
        helper = helpers.get(key)
        if helper is not None:
            return _ask(helper, key, environ, name)
    if store is not None:
        for key in _keys(host):
            found = _ask(store, key, environ, name)
            if found is not None:
                return found
    auths = _table(config, "auths", name)
    for key, entry in auths.items():
        if _host_of(key) in _keys(host) and isinstance(entry, dict):
            found = _entry(entry, f"{name}: auths.{key}")
            if found is not None:
                return found
    return None


def _path(environ: Mapping[str, str]) -> Path | None:
    folder = environ.get("DOCKER_CONFIG")
    if folder:
        return Path(folder) / "config.json"
    home = environ.get("HOME")
    return Path(home) / ".docker" / "config.json" if home else None


def _keys(host: str) -> tuple[str, ...]:
    # docker/cli: the name under which "docker login" without a host keeps its credentials.
    hub = ("https://index.docker.io/v1/", "index.docker.io")
    return (host, *hub) if host == "docker.io" else (host,)


def _host_of(key: str) -> str:
    # docker/cli, ConvertToHostname: old files have URLs as keys.
    if key.startswith(("http://", "https://")):
        key = key.partition("://")[2]
    return key.partition("/")[0].lower()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        value = json.loads(data) if len(data) <= MAX_FILE else None
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read: {reason}", file=str(path)) from error
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(
            "not a configuration of Docker's",
            file=str(path),
            expected="a JSON object",
            hint='mend it, or log in again with "docker login"',
        )
    return value


def _table(config: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise InputError("not a table", file=name, key=key)
    return value


def _entry(entry: dict[str, Any], name: str) -> Credentials | None:
    token, auth = entry.get("identitytoken"), entry.get("auth")
    user, password = entry.get("username"), entry.get("password")
    if isinstance(auth, str) and auth:
        try:
            text = base64.b64decode(auth, validate=True).decode("utf-8").rstrip("\0")
        except ValueError:
            text = ""
        user, colon, password = text.partition(":")
        if not colon:
            raise InputError("not base64 of USER:PASSWORD", file=name, key="auth") from None
    if isinstance(token, str) and token:
        return Credentials(user=user if isinstance(user, str) else "", token=token)
    if isinstance(user, str) and isinstance(password, str) and user:
        return Credentials(user=user, password=password)
    return None


def _ask(helper: object, key: str, environ: Mapping[str, str], name: str) -> Credentials | None:
    """docker-credential-helpers' protocol: the host on standard input, JSON on standard output."""
    if not isinstance(helper, str) or _HELPER.fullmatch(helper) is None:
        raise InputError("not a name of a credential helper", file=name, key="credHelpers")
    program = f"docker-credential-{helper}"
    try:
        with processes.started(
            [program, "get"],
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child:
            output, _ = child.communicate(key.encode(), timeout=_HELPER_SECONDS)
            code = child.returncode
    except OSError as error:
        raise _failed(program, name, "cannot be started") from error
    except subprocess.TimeoutExpired:
        raise _failed(program, name, f"did not answer in {_HELPER_SECONDS:.0f} seconds") from None
    if code != 0:
        if _NOT_FOUND in output:
            return None
        raise _failed(program, name, f"failed with exit code {code}")
    try:
        answer = json.loads(output)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise _failed(program, name, "gave an answer that cannot be read") from None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise _failed(program, name, "gave an answer that cannot be read")
    if user == _IDENTITY:
        return Credentials(token=secret)
    return Credentials(user=user, password=secret) if user or secret else None


def _failed(program: str, name: str, what: str) -> SurroundingsError:
    return SurroundingsError(
        f"{program} {what}", file=name, hint="mend the credential helper, or take its line out"
    )
