"""Azure's blob store as far as its own client reads from it: a real HTTP server on loopback.

Held against Azurite 3.37 by hand: the same requests, the same answers in what the client looks at.
Signatures are asked for and not checked. Objects are put by `files`: "container/key" -> bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["ACCOUNT", "AzureStore", "azure_store"]

ACCOUNT = "anaccount"
# As many as one page of a listing holds here; the real one: 5,000.
_PAGE = 2


class AzureStore:
    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}


def _etag(body: bytes) -> str:
    return f'"0x{hashlib.sha256(body).hexdigest()[:15].upper()}"'


@contextlib.contextmanager
def azure_store() -> Iterator[AzureStore]:
    store = AzureStore()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            if not self.headers.get("Authorization", "").startswith(f"SharedKey {ACCOUNT}:"):
                return self._error(403, "AuthenticationFailed")
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            place = unquote(parts.path).removeprefix(f"/{ACCOUNT}/")
            if query.get("comp") == "list":
                return self._listing(place, query)
            body = store.files.get(place)
            if body is None:
                known = any(name.startswith(place.partition("/")[0] + "/") for name in store.files)
                return self._error(404, "BlobNotFound" if known else "ContainerNotFound")
            if self.headers.get("If-Match", _etag(body)) != _etag(body):
                return self._error(412, "ConditionNotMet")
            return self._blob(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _blob(self, body: bytes) -> None:
            headers = {
                "Content-Type": "application/octet-stream",
                "ETag": _etag(body),
                "Last-Modified": formatdate(0, usegmt=True),
                "x-ms-blob-type": "BlockBlob",
                "x-ms-creation-time": formatdate(0, usegmt=True),
                "Accept-Ranges": "bytes",
            }
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("x-ms-range", ""))
            if wanted is None:
                return self._answer(200, headers, body)
            start, end = int(wanted[1]), min(int(wanted[2]), len(body) - 1)
            if start >= len(body):
                return self._error(416, "InvalidRange")
            headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
            return self._answer(206, headers, body[start : end + 1])

        def _listing(self, container: str, query: dict[str, str]) -> None:
            names = sorted(n for n in store.files if n.startswith(f"{container}/"))
            if not names:
                return self._error(404, "ContainerNotFound")
            keys = [name.partition("/")[2] for name in names]
            keys = [key for key in keys if key.startswith(query.get("prefix", ""))]
            start = int(query.get("marker", "0"))
            count = min(_PAGE, int(query.get("maxresults", "5000")))
            more = str(start + count) if start + count < len(keys) else ""
            blobs = "".join(self._item(container, key) for key in keys[start : start + count])
            text = (
                '<?xml version="1.0" encoding="utf-8"?>'
                f'<EnumerationResults ContainerName="{container}"><Blobs>{blobs}</Blobs>'
                f"<NextMarker>{more}</NextMarker></EnumerationResults>"
            )
            return self._answer(200, {"Content-Type": "application/xml"}, text.encode())

        def _item(self, container: str, key: str) -> str:
            body = store.files[f"{container}/{key}"]
            return (
                f"<Blob><Name>{escape(key)}</Name><Properties>"
                f"<Creation-Time>{formatdate(0, usegmt=True)}</Creation-Time>"
                f"<Last-Modified>{formatdate(0, usegmt=True)}</Last-Modified>"
                f"<Etag>{escape(_etag(body).strip(chr(34)))}</Etag>"
                f"<Content-Length>{len(body)}</Content-Length>"
                "<Content-Type>application/octet-stream</Content-Type>"
                "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            )

        def _error(self, status: int, code: str) -> None:
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
            headers = {"x-ms-error-code": code, "Content-Type": "application/xml"}
            self._answer(status, headers, text.encode())

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            sent = {"x-ms-version": "2021-08-06", "Content-Length": str(len(body)), **headers}
            for name, value in {**sent, "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_port}/{ACCOUNT}"
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
