"""Where probes are sent: `http://HOST[:PORT][/PREFIX]`, or https. Pure.

No user and password, which would end in messages and in the list of processes; no query and no
fragment, which no prefix of a path can have. Raises InputError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mllock.errors import InputError

__all__ = ["Address", "parse_address"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DEFAULT = {"http": 80, "https": 443}
_PREFIX = re.compile(r"(/[!-\"$->@-~]*)?")  # printable ASCII but blank, "#" and "?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """`prefix` goes before each path; it is empty or begins, and does not end, with "/"."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    prefix: str = ""

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way reads what is sent: TLS, or this very machine."""
        return self.scheme == "https" or self.host in _LOOPBACK

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"


def parse_address(text: str) -> Address:
    if "@" in text:
        raise InputError(
            "a user or password in the address",
            hint="leave it out: probes are sent without credentials",
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:  # the UnicodeError of a host is one, too
        raise _not_an_address(text) from None
    plain = text.isprintable() and not set("?#") & set(text)
    if not plain or parts.scheme not in _DEFAULT or not host or port == 0:
        raise _not_an_address(text)
    if _PREFIX.fullmatch(parts.path) is None:
        raise _not_an_address(text)
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    return Address(
        scheme=scheme, host=host, port=port or _DEFAULT[scheme], prefix=parts.path.rstrip("/")
    )


def _not_an_address(text: str) -> InputError:
    return InputError("not an address", found=text, expected="http://HOST:PORT or https://HOST")
