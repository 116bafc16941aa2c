"""A real HTTP server on loopback for files that change, break and lie, with ranges.

with data_server() as server:
    server.files["/a.csv"] = Served(body=b"x", etag='"1"')
    server.url + "/a.csv"
    server.asked  # "GET /a.csv", "GET /a.csv bytes=5-", in order of arrival
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["DataServer", "Served", "data_server"]


@dataclasses.dataclass(kw_only=True)
class Served:
    """`cuts` are after how many bytes of its body each of the next answers breaks off; `statuses`
    are those of the next answers. `chunked` sends no length, `bare` neither length nor chunks;
    `range_said` is another Content-Range than is true."""

    body: bytes = b""
    etag: str | None = None
    kind: str = "application/octet-stream"
    location: str | None = None
    statuses: list[int] = dataclasses.field(default_factory=list)
    cuts: list[int] = dataclasses.field(default_factory=list)
    ranges: bool = True
    chunked: bool = False
    bare: bool = False
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    range_said: str | None = None


@dataclasses.dataclass(kw_only=True)
class DataServer:
    url: str
    files: dict[str, Served]
    asked: list[str]
    headers: list[dict[str, str]]

    def put(self, path: str, body: bytes, etag: str | None = None) -> None:
        self.files[path] = Served(body=body, etag=etag)


@contextlib.contextmanager
def data_server() -> Iterator[DataServer]:
    files: dict[str, Served] = {}
    asked: list[str] = []
    headers: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            wanted = self.headers.get("Range", "")
            asked.append(f"GET {self.path} {wanted}".rstrip())
            headers.append(dict(self.headers))
            served = files.get(self.path)
            if served is None:
                return self._answer(404)
            if served.statuses and (status := served.statuses.pop(0)) != 200:
                return self._answer(status)
            if served.location is not None:
                return self._answer(302, {"Location": served.location})
            return self._file(served, wanted)

        def _file(self, served: Served, wanted: str) -> None:
            body, start, sent = served.body, 0, {"Content-Type": served.kind, **served.headers}
            if served.etag is not None:
                sent["ETag"] = served.etag
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            same = self.headers.get("If-Range") in (None, served.etag)
            if match and served.ranges and same:
                start = int(match[1])
                if start >= len(body):
                    return self._answer(416)
                part = f"bytes {start}-{len(body) - 1}/{len(body)}"
                sent["Content-Range"] = part if served.range_said is None else served.range_said
            body = body[start:]
            if served.chunked:
                sent["Transfer-Encoding"] = "chunked"
            elif not served.bare:
                sent["Content-Length"] = str(len(body))
            self.send_response(206 if start else 200)
            for name, value in sent.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            cut = served.cuts.pop(0) if served.cuts else None
            with contextlib.suppress(OSError):
                self._send(served, body[:cut], whole=cut is None)
            return None

        def _send(self, served: Served, body: bytes, *, whole: bool) -> None:
            if not served.chunked:
                self.wfile.write(body)
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) if body else b"")
            if whole:
                self.wfile.write(b"0\r\n\r\n")

        def _answer(self, status: int, more: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Length": "0",
                "Connection": "close",
                **(more or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield DataServer(
            url=f"http://127.0.0.1:{server.server_port}", files=files, asked=asked, headers=headers
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
