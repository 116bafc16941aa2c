"""A small strict registry in this process, with the referrers API, and with faults on demand.

    with small_registry() as server:
        server.host, server.asked
        server.faults.append(fault)   # fault(request) -> True if it answered itself

A fault sees each request before the registry does; it may also change what the registry holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INDEX = "application/vnd.oci.image.index.v1+json"
PATH = re.compile(r"/v2/(?P<repo>.+?)/(?P<kind>manifests|blobs|tags|referrers)/(?P<name>.+)")

Fault = Callable[["Request"], bool]


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(kw_only=True)
class SmallRegistry:
    host: str = ""
    referrers_api: bool = True
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    authorizations: list[str | None] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def methods(self, kind: str) -> list[str]:
        return [method for method, path in self.asked if f"/{kind}/" in path]

    def put(self, repo: str, tag: str | None, data: bytes, media_type: str) -> str:
        digest = sha(data)
        self.manifests[repo, digest] = (media_type, data)
        if tag is not None:
            self.tags[repo, tag] = digest
        return digest


class Request(BaseHTTPRequestHandler):
    """One request. `answer` sends a whole answer; `body` is read when it is asked for."""

    protocol_version = "HTTP/1.1"
    timeout = 5  # of a connection that idles
    registry: SmallRegistry

    def answer(
        self,
        status: int,
        body: bytes = b"",
        *,
        length: int | None = None,
        **headers: str,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, **headers: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": "-"}]}).encode()
        self.answer(status, body, **headers)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass

    def _handle(self) -> None:
        registry = self.registry
        with registry.lock:
            registry.asked.append((self.command, self.path))
            registry.connections.add(self.client_address)
            registry.authorizations.append(self.headers.get("Authorization"))
            faults = list(registry.faults)
        with contextlib.suppress(ConnectionError):
            if any(fault(self) for fault in faults):
                return
            if self.path == "/v2/":
                self.answer(200)
                return
            path, _, query = self.path.partition("?")
            match = PATH.fullmatch(path)
            if match is None:
                self.error(404, "NAME_INVALID")
                return
            with registry.lock:
                fields = dict(urllib.parse.parse_qsl(query))
                handler = getattr(self, f"_{match['kind']}")
                handler(match["repo"], match["name"], fields)

    do_GET = do_HEAD = do_PUT = do_POST = _handle  # noqa: N815
    do_PATCH = do_DELETE = _handle  # noqa: N815

    def _manifests(self, repo: str, name: str, fields: dict[str, str]) -> None:
        registry = self.registry
        if self.command == "PUT":
            self._put_manifest(repo, name, self.body())
            return
        digest = registry.tags.get((repo, name), name)
        found = registry.manifests.get((repo, digest))
        if found is None:
            self.error(404, "MANIFEST_UNKNOWN")
            return
        self.answer(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest)

    def _put_manifest(self, repo: str, name: str, data: bytes) -> None:
        registry, digest, value = self.registry, sha(data), json.loads(data)
        if name.startswith("sha256:") and name != digest:
            self.error(400, "DIGEST_INVALID")
            return
        needed = [value["config"], *value["layers"]] if "config" in value else []
        if any((repo, part["digest"]) not in registry.blobs for part in needed) or any(
            (repo, part["digest"]) not in registry.manifests for part in value.get("manifests", ())
        ):
            self.error(404, "MANIFEST_BLOB_UNKNOWN")
            return
        registry.put(repo, None, data, self.headers["Content-Type"])
        if not name.startswith("sha256:"):
            registry.tags[repo, name] = digest
        headers = {"Docker_Content_Digest": digest}
        if "subject" in value and registry.referrers_api:
            headers["OCI_Subject"] = value["subject"]["digest"]
        self.answer(201, Location=f"/v2/{repo}/manifests/{digest}", **headers)

    def _tags(self, repo: str, name: str, fields: dict[str, str]) -> None:
        names = sorted(tag for known, tag in self.registry.tags if known == repo)
        if not any(known == repo for known, _ in self.registry.manifests):
            self.error(404, "NAME_UNKNOWN")
            return
        page = [name for name in names if name > fields.get("last", "")][:2]
        headers = {}
        if page and page[-1] != names[-1]:
            headers["Link"] = f'</v2/{repo}/tags/list?last={page[-1]}>; rel="next"'
        self.answer(200, json.dumps({"name": repo, "tags": page}).encode(), **headers)

    def _referrers(self, repo: str, name: str, fields: dict[str, str]) -> None:
        if not self.registry.referrers_api:
            self.answer(404, b"404 page not found")
            return
        entries = []
        for (known, digest), (media_type, data) in self.registry.manifests.items():
            value = json.loads(data)
            if known == repo and value.get("subject", {}).get("digest") == name:
                entries.append(
                    {
                        "mediaType": media_type,
                        "digest": digest,
                        "size": len(data),
                        "artifactType": value.get("artifactType"),
                    }
                )
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        self.answer(200, json.dumps(index).encode(), Content_Type=INDEX)

    def _blobs(self, repo: str, name: str, fields: dict[str, str]) -> None:
        if name.startswith("uploads"):
            self._upload(repo, name.partition("/")[2], fields)
            return
        data = self.registry.blobs.get((repo, name))
        if data is None:
            self.error(404, "BLOB_UNKNOWN")
            return
        headers = {"Docker_Content_Digest": name, "Content_Type": "application/octet-stream"}
        start = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        if start is not None:
            span = f"bytes {start[1]}-{len(data) - 1}/{len(data)}"
            self.answer(206, data[int(start[1]) :], Content_Range=span, **headers)
        else:
            self.answer(200, data, **headers)

    def _upload(self, repo: str, name: str, fields: dict[str, str]) -> None:
        registry = self.registry
        if self.command == "POST":
            source = (fields.get("from", ""), fields.get("mount", ""))
            if source in registry.blobs:
                registry.blobs[repo, source[1]] = registry.blobs[source]
                self.answer(201, Docker_Content_Digest=source[1], Location="/")
                return
            # Not how many requests there were: two at a time would share an upload.
            name = uuid.uuid4().hex
            registry.uploads[name] = bytearray()
            self.answer(202, Location=f"/v2/{repo}/blobs/uploads/{name}")
            return
        data = registry.uploads.get(name)
        if data is None:
            self.body()
            self.error(404, "BLOB_UPLOAD_UNKNOWN")
            return
        place = {"Location": f"/v2/{repo}/blobs/uploads/{name}"}
        if self.command == "DELETE":
            del registry.uploads[name]
            self.answer(204)
        elif self.command == "GET":
            self.answer(204, Range=f"0-{max(len(data) - 1, 0)}", **place)
        elif self.command == "PATCH":
            if self.headers.get("Content-Range", "").partition("-")[0] != str(len(data)):
                self.body()
                self.error(416, "BLOB_UPLOAD_INVALID")
                return
            left = int(self.headers["Content-Length"])
            while left:  # as it comes, so that what was broken off is kept
                piece = self.rfile.read1(min(left, 65536))
                if not piece:
                    self.hang_up()
                    return
                data += piece
                left -= len(piece)
            self.answer(202, Range=f"0-{len(data) - 1}", **place)
        else:
            data += self.body()
            del registry.uploads[name]
            if sha(bytes(data)) != fields.get("digest"):
                self.error(400, "DIGEST_INVALID")
                return
            registry.blobs[repo, fields["digest"]] = bytes(data)
            self.answer(201, Docker_Content_Digest=fields["digest"], Location="/")


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def on(kind: str, answer: Callable[[Request], object], times: int = 1000) -> Fault:
    """A fault: the first requests about `kind` are answered by `answer(request)`."""
    left = [times]

    def fault(request: Request) -> bool:
        if f"/{kind}/" not in request.path or not left[0]:
            return False
        left[0] -= 1
        answer(request)
        return True

    return fault


@contextlib.contextmanager
def small_registry(*, referrers_api: bool = True) -> Iterator[SmallRegistry]:
    registry = SmallRegistry(referrers_api=referrers_api)
    handler = type("Bound", (Request,), {"registry": registry})
    server = _Server(("127.0.0.1", 0), handler)
    registry.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
