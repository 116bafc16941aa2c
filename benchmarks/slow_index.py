"""This machine's indexes that are folders, at the distance of a network: over HTTP, with a delay.

`served(settings, delay)` takes pip's settings and answers with variables that name the same places
at a server on loopback: every `file://` index, and every folder of find-links. What is behind HTTP
already stays as it is. A project's page is JSON (PEP 691) with hash, size and METADATA of each
wheel, a mark (ETag) and ten minutes to last, as public indexes have them. Nothing is served but
pages and the files that they name. Not for anybody but the benchmarks: it hashes no file, and
believes what a page says.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

__all__ = ["served"]

_JSON = "application/vnd.pypi.simple.v1+json"
_FILE = "application/octet-stream"


class _Links(HTMLParser):
    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [
            value for name, value in attributes if (tag, name) == ("a", "href") and value
        ]


class _Index:
    """What there is to answer, by path; pages are made when they are asked for first."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.links: dict[str, Path] = {}
        self.files: dict[str, Path] = {}
        self._pages: dict[str, tuple[str, bytes]] = {}
        self._lock = threading.Lock()

    def answer(self, path: str) -> tuple[str, bytes] | None:
        with self._lock:
            if path not in self._pages and (made := self._make(path)) is not None:
                self._pages[path] = made
            return self._pages.get(path)

    def _make(self, path: str) -> tuple[str, bytes] | None:
        root, _, project = path.strip("/").partition("/")
        if root in self.links and not project:
            return "text/html", self._listing(self.links[root])
        if path in self.files:
            return _FILE, self.files[path].read_bytes()
        wheel = self.files.get(path.removesuffix(".metadata"))
        if wheel is not None:
            return _FILE, _metadata(wheel)
        page = self.folders[root] / project / "index.html" if root in self.folders else None
        if page is None or not project or "/" in project or ".." in project or not page.is_file():
            return None
        return _JSON, self._project(project, page)

    def _listing(self, folder: Path) -> bytes:
        wheels = sorted(folder.glob("*.whl"))
        lines = [f'<a href="{self._named(path)}">{html.escape(path.name)}</a>' for path in wheels]
        return "<!DOCTYPE html>\n{}\n".format("\n".join(lines)).encode()

    def _project(self, name: str, page: Path) -> bytes:
        files = []
        for link in _Links(page).found:
            url, fragment = urldefrag(urljoin(page.as_uri(), link))
            path = Path(unquote(urlsplit(url).path))
            if path.suffix != ".whl" or not path.is_file():
                continue
            kind, _, digest = fragment.partition("=")
            files.append(
                {
                    "filename": path.name,
                    "url": self._named(path),
                    "hashes": {kind: digest} if digest else {},
                    "size": path.stat().st_size,
                    "core-metadata": {"sha256": hashlib.sha256(_metadata(path)).hexdigest()},
                }
            )
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()

    def _named(self, path: Path) -> str:
        key = hashlib.sha256(str(path.parent).encode()).hexdigest()[:8]
        self.files[f"/files/{key}/{path.name}"] = path
        return f"/files/{key}/{quote(path.name)}"


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(min(names, key=len))


@contextlib.contextmanager
def served(settings: Mapping[str, str], delay: float) -> Iterator[dict[str, str]]:
    """Variables of pip for the same indexes and folders, each answer `delay` seconds late."""
    index = _Index()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            time.sleep(delay)
            kind, body = index.answer(unquote(urlsplit(self.path).path)) or ("", b"")
            mark = f'"{hashlib.sha256(body).hexdigest()}"'
            status = 200 if kind else 404
            if kind and self.headers.get("If-None-Match") == mark:
                status, body = 304, b""
            self.send_response(status)
            if kind:
                lasts = "max-age=31536000, immutable" if kind == _FILE else "max-age=600"
                self.send_header("Content-Type", kind)
                self.send_header("Cache-Control", lasts)
                self.send_header("ETag", mark)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here = f"http://127.0.0.1:{server.server_port}"
    variables = {}
    for name in ("index-url", "extra-index-url", "find-links"):
        words = [_moved(word, name, index, here) for word in settings.get(name, "").split()]
        if words:
            variables[f"PIP_{name.upper().replace('-', '_')}"] = " ".join(words)
    if here not in " ".join(variables.values()):
        raise SystemExit("--latency: no index of pip's settings is a folder of this machine")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield variables
    finally:
        server.shutdown()
        server.server_close()


def _moved(word: str, name: str, index: _Index, here: str) -> str:
    parts = urlsplit(word)
    if parts.scheme not in ("", "file"):
        return word
    root = f"{name}-{len(index.folders) + len(index.links)}"
    where = index.links if name == "find-links" else index.folders
    where[root] = Path(unquote(parts.path))
    return f"{here}/{root}/"
