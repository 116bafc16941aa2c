"""requests as the registry client needs it: no credentials of its own, no cookies, our CAs.

Redirects and retries are not its business: see `mllock.store.registry.wire`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mllock.store.registry.trust import is_loopback, tls_context
from mllock.store.transport import lone_session

if TYPE_CHECKING:
    import requests

__all__ = ["Connections", "close_session", "new_session", "no_proxy", "trust"]


class Connections:
    """The connections of a session, so that they can be ended from another thread. A read that
    waits on one then ends at once, as if the other side had gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._ended = False

    def end(self) -> None:
        """All that are there, and all that are still being made."""
        with self._lock:
            self._ended = True
            there = list(self._all)
        for each in there:
            _shut(each)

    def follow(self, adapter: requests.adapters.HTTPAdapter) -> None:
        """Have the adapter's connections be known here."""
        import urllib3

        def seen(base: type[Any]) -> type[Any]:
            def connect(connection: Any) -> None:
                base.connect(connection)
                with self._lock:
                    # Not the connection: it forgets the socket where an answer ends with it.
                    self._all.add(connection.sock)
                    ended = self._ended
                if ended:
                    _shut(connection.sock)

            return type(base.__name__, (base,), {"connect": connect})

        adapter.poolmanager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": seen(pool.ConnectionCls)})
            for scheme, pool in (
                ("http", urllib3.HTTPConnectionPool),
                ("https", urllib3.HTTPSConnectionPool),
            )
        }


def _shut(there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Of the socket itself: TLS would say goodbye first, and wait.
        socket.socket.shutdown(there, socket.SHUT_RDWR)


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


def new_session(connections: Connections) -> requests.Session:
    import http.cookiejar

    import requests

    session = lone_session()
    session.headers["Accept-Encoding"] = "identity"
    session.headers["User-Agent"] = "mllock"
    # Without it, requests would look for credentials in netrc, for redirects as well.
    session.auth = lambda request: request
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    plain = requests.adapters.HTTPAdapter(pool_maxsize=8)
    connections.follow(plain)
    session.mount("http://", plain)
    return session


def trust(
    session: requests.Session, connections: Connections, environ: Mapping[str, str], netloc: str
) -> None:
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
            connections.follow(self)

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
