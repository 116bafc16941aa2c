"""requests as the registry client needs it: no credentials of its own, no cookies, our CAs.

Redirects and retries are not its business: see `mllock.store.registry.wire`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mllock.store.registry.trust import is_loopback, tls_context

if TYPE_CHECKING:
    import requests

__all__ = ["close_session", "new_session", "no_proxy", "trust"]


def close_session(session: requests.Session) -> None:
    """Close the connections now; requests leaves that to whenever nobody refers to them."""
    import requests

    for adapter in session.adapters.values():
        if isinstance(adapter, requests.adapters.HTTPAdapter):
            pools = adapter.poolmanager.pools
            for key in pools.keys():  # noqa: SIM118 (not a mapping, in spite of its looks)
                pools[key].close()
    session.close()


def no_proxy(url: str) -> dict[str, str] | None:
    """No proxy reaches our own loopback."""
    parts = urllib.parse.urlsplit(url)
    return {"no_proxy": parts.hostname or ""} if is_loopback(parts.netloc) else None


def new_session() -> requests.Session:
    import http.cookiejar

    import requests

    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"
    session.headers["User-Agent"] = "mllock"
    # Without it, requests would look for credentials in netrc, for redirects as well.
    session.auth = lambda request: request
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=8))
    return session


def trust(session: requests.Session, environ: Mapping[str, str], netloc: str) -> None:
    """Let https connections of the session be verified by our contexts, once."""
    import requests

    if f"https://{netloc}/" in session.adapters:
        return

    class Adapter(requests.adapters.HTTPAdapter):
        """Of one context. requests would add its own certificates to every pool, or those of a
        variable, or none: what counts is in the context."""

        def __init__(self, registry: str | None) -> None:
            self._context = tls_context(environ, registry)
            super().__init__(pool_maxsize=8)

        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options, ssl_context=self._context)

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            return super().proxy_manager_for(*args, **options, ssl_context=self._context)

        def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
            host, pool = super().build_connection_pool_key_attributes(*args, **options)
            return host, {k: v for k, v in pool.items() if k not in ("ca_certs", "ca_cert_dir")}

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            conn.cert_reqs = "CERT_REQUIRED"

    session.mount("https://", Adapter(None))
    session.mount(f"https://{netloc}/", Adapter(netloc))
