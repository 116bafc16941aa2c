"""A service that speaks OSV's query API on loopback, and a document as Debian's tracker has it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["TRACKER", "Osv", "osv", "record"]


def record(name: str, id_: str, *fixed: str, **more: Any) -> dict[str, Any]:
    """One vulnerability, in OSV's schema 1.6."""
    events = [{"introduced": "0"}, *({"fixed": version} for version in fixed)]
    return {
        "schema_version": "1.6.0",
        "id": id_,
        "summary": f"{name} is\nbroken",
        "aliases": [],
        "modified": "2026-01-02T03:04:05Z",
        "published": "2026-01-01T03:04:05.123456Z",
        "affected": [
            {
                "package": {"name": name, "ecosystem": "PyPI", "purl": f"pkg:pypi/{name}"},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
                "versions": ["1.0"],
            }
        ],
        **more,
    }


@dataclass(slots=True)
class Osv:
    """`known` is by (name, version); `asked` is what was. `answer` makes another answer than OSV
    would: status and body. With `page`, an empty page comes first, and then so many at a time.
    `slow` is how it keeps its client waiting."""

    url: str = ""
    known: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    answer: Callable[[], tuple[int, bytes]] | None = None
    page: int | None = None
    # "silent": no answer; "drip": a byte now and then, for ever. Until `over`.
    slow: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def found(self, query: dict[str, Any]) -> dict[str, Any]:
        known = self.known.get((query["package"]["name"], query["version"]))
        if not known or self.page is None:
            return {"vulns": known} if known else {}
        if "page_token" not in query:
            return {"next_page_token": "0"}
        begin = int(query["page_token"])
        end = begin + self.page
        more = {"next_page_token": str(end)} if begin < len(known) else {}
        return {"vulns": known[begin:end], **more}


@contextmanager
def osv() -> Iterator[Osv]:
    service = Osv()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.asked.append((self.path, query))
            status = 200
            if service.slow:
                self._wait()
                return
            if service.answer is not None:
                status, body = service.answer()
            else:
                body = json.dumps(service.found(query)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _wait(self) -> None:
            if service.slow == "drip":
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
            with contextlib.suppress(OSError):  # until the client has gone
                while not service.over.wait(0.02):
                    if service.slow == "drip":
                        self.wfile.write(b" ")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}/v1/query"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        service.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _state(status: str, **more: str) -> dict[str, Any]:
    return {
        "scope": "local",
        "description": "A crafted\nfile ...",
        "releases": {
            "bookworm": {
                "status": status,
                "repositories": {"bookworm": "1:2.36-9+deb12u9"},
                "urgency": "not yet assigned",
                **more,
            },
            "trixie": {"status": "open", "repositories": {"trixie": "2.41-1"}, "urgency": "high"},
        },
    }


# Of glibc 1:2.36-9+deb12u9 in bookworm, by what the tracker says.
TRACKER: dict[str, Any] = {
    "glibc": {
        "CVE-2026-0001": _state("resolved", fixed_version="1:2.36-9+deb12u10", urgency="high"),
        "CVE-2026-0002": _state("open"),
        "CVE-2025-0003": _state("resolved", fixed_version="1:2.36-9+deb12u9"),
        "CVE-2024-0004": _state("resolved", fixed_version="0"),
        "CVE-2019-0005": _state("open", urgency="unimportant"),
        "CVE-2018-0006": _state("undetermined"),
        "CVE-2017-0007": {"releases": {"trixie": {"status": "open", "urgency": "low"}}},
    },
    "another": {"CVE-2026-0009": _state("open")},
}
