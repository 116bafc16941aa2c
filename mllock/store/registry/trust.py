"""Which connections to a registry are allowed: plain http, and whose certificates count.

Plain http: to loopback hosts, and to a host:port that `MLLOCK_PLAIN_HTTP` names (several, with
commas). A loopback host is asked over http first, without credentials; if what listens there does
not speak it, over https. Certificates: those of the system and of requests; those of
`MLLOCK_CA_FILE` and `SSL_CERT_FILE`; for one registry alone, those of Docker's
`/etc/docker/certs.d/HOST:PORT/*.crt`.
"""

from __future__ import annotations

import ipaddress
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from mllock.errors import InputError

__all__ = ["PLAIN_HTTP", "is_loopback", "may_be_plain", "named_plain", "tls_context"]

PLAIN_HTTP = "MLLOCK_PLAIN_HTTP"
CA_FILES = ("MLLOCK_CA_FILE", "SSL_CERT_FILE")
CERTS_D = Path("/etc/docker/certs.d")


def is_loopback(netloc: str) -> bool:
    """Whether HOST[:PORT] is this machine, by its name or number alone; nothing is resolved."""
    host = urllib.parse.urlsplit(f"//{netloc}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def named_plain(netloc: str, environ: Mapping[str, str]) -> bool:
    """Whether the user named this host:port for plain http."""
    names = environ.get(PLAIN_HTTP, "").split(",")
    return netloc.lower() in {name.strip().lower() for name in names}


def may_be_plain(netloc: str, environ: Mapping[str, str]) -> bool:
    return is_loopback(netloc) or named_plain(netloc, environ)


def tls_context(
    environ: Mapping[str, str], registry: str | None, certs_d: Path = CERTS_D
) -> ssl.SSLContext:
    """Whose certificates count; `registry` is HOST[:PORT] of the one that has files of its own.

    Raises InputError for a file that the user names and that cannot be read.
    """
    import certifi

    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(certifi.where())
    for name in CA_FILES:
        if environ.get(name):
            _load(context, Path(environ[name]), name)
    if registry is not None:
        for path in sorted((certs_d / registry).glob("*.crt")):
            _load(context, path, None)
    return context


def _load(context: ssl.SSLContext, path: Path, variable: str | None) -> None:
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        reason = "no certificate in PEM form" if isinstance(error, ssl.SSLError) else None
        raise InputError(
            f"cannot read the certificates: {reason or (error.strerror or '').lower()}",
            file=str(path),
            hint=None if variable is None else f"see the variable {variable}",
        ) from None
