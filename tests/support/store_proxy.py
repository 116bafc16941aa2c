"""What can go wrong between a client and a store: a real HTTP server that hands requests on.

with store_proxy(upstream, is_download) as proxy:
    proxy.url          # what the client is told
    proxy.statuses     # answers of the next requests, instead of the store's; None: the store's own
    proxy.cuts         # after how many bytes the next downloads break off
    proxy.flip = True  # downloads with another first byte
    proxy.asked        # "GET /path?query", in order of arrival
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["StoreProxy", "store_proxy"]

_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


@dataclasses.dataclass(kw_only=True)
class StoreProxy:
    url: str = ""
    statuses: list[int | None] = dataclasses.field(default_factory=list)
    cuts: list[int] = dataclasses.field(default_factory=list)
    flip: bool = False
    asked: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def store_proxy(upstream: str, is_download: Callable[[str, str], bool]) -> Iterator[StoreProxy]:
    proxy = StoreProxy()
    place = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            proxy.asked.append(f"{self.command} {self.path}")
            status = proxy.statuses.pop(0) if proxy.statuses else None
            if status is not None:
                return self._answer(status, {"Content-Length": "5"}, b"<html")
            length = int(self.headers.get("Content-Length", "0"))
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
            with contextlib.closing(connection):
                sent = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                connection.request(self.command, self.path, self.rfile.read(length), sent)
                answer = connection.getresponse()
                body = answer.read()
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP}
            headers.setdefault("Content-Length", str(len(body)))
            if is_download(self.command, self.path) and answer.status in (200, 206):
                if proxy.flip:
                    body = bytes([body[0] ^ 1]) + body[1:]
                if proxy.cuts:
                    body = body[: proxy.cuts.pop(0)]
            return self._answer(answer.status, headers, body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
