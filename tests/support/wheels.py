"""Tiny wheels, and a package index on loopback to find them in.

A wheel is made from a dict of path -> bytes, as in pypa/installer's tests, with METADATA, WHEEL
and a true RECORD. `SimpleIndex` is a PEP 503 index on 127.0.0.1 that counts what it is asked for;
`pip_environ` is an environment in which pip sees nothing but what a test gives it.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

EPOCH = (1980, 1, 1, 0, 0, 0)


def wheel_name(name: str, version: str, tag: str = "py3-none-any") -> str:
    return f"{name.replace('-', '_')}-{version}-{tag}.whl"


def make_wheel(
    name: str,
    version: str,
    files: Mapping[str, bytes] | None = None,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    *,
    entry_points: str = "",
    requires_python: str = "",
    root_is_purelib: bool = True,
    compression: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """The bytes of a wheel; without `files` it holds one module that knows its version.

    Paths under `NAME-VERSION.data/` and an executable bit (a path ending in "*") work as well.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    if files is None:
        files = {f"{name.replace('-', '_')}/__init__.py": f'VERSION = "{version}"\n'.encode()}
    content = dict(files)
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Python: {requires_python}"] if requires_python else []
    metadata += [f"Requires-Dist: {item}" for item in requires]
    content[f"{info}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    content[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: mllock-tests\n"
        f"Root-Is-Purelib: {'true' if root_is_purelib else 'false'}\nTag: {tag}\n"
    ).encode()
    if entry_points:
        content[f"{info}/entry_points.txt"] = entry_points.encode()
    return _zip(content, f"{info}/RECORD", compression)


def _zip(content: Mapping[str, bytes], record_path: str, compression: int) -> bytes:
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for path, data in content.items():
            executable, clean = path.endswith("*"), path.removesuffix("*")
            entry = zipfile.ZipInfo(clean, EPOCH)
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            entry.compress_type = compression
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            rows.writerow([clean, f"sha256={digest.decode()}", len(data)])
        rows.writerow([record_path, "", ""])
        entry = zipfile.ZipInfo(record_path, EPOCH)
        entry.external_attr = 0o100644 << 16
        entry.compress_type = compression
        archive.writestr(entry, record.getvalue())
    return out.getvalue()


def write_wheel(
    folder: Path, name: str, version: str, requires: Sequence[str] = (), tag: str = "py3-none-any"
) -> Path:
    """A wheel in a find-links folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheel_name(name, version, tag)
    path.write_bytes(make_wheel(name, version, requires=requires, tag=tag))
    return path


def make_sdist(name: str, version: str) -> bytes:
    """A source distribution that would fail if anything tried to build it."""
    import tarfile

    out = io.BytesIO()
    stem = f"{name}-{version}"
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, data in {
            f"{stem}/PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{stem}/setup.py": "raise SystemExit('mllock ran a setup.py')\n",
        }.items():
            item = tarfile.TarInfo(path)
            item.size = len(data.encode())
            archive.addfile(item, io.BytesIO(data.encode()))
    return out.getvalue()


@dataclass(slots=True)
class SimpleIndex:
    """Files by project. `requests` lists the paths that were asked for. With `times`, by file name,
    the index is one of PEP 691 that says when its files came (PEP 700), those that are in it.
    With a `login` ("user:password"), it is for who has that; `commands` are the command lines of
    all processes of the machine while it was asked, `written` what stood in the files of `watched`
    then (but for a .netrc). `sized` is such an index, too, without times; `stated` says more of
    a file, or other things than are true, or less (None). Of a file in `metadata` there is its
    METADATA as well (PEP 658): what is served, and the digest that is stated. `headers` come with
    every answer."""

    url: str
    times: dict[str, str] = field(default_factory=dict)
    login: str | None = None
    commands: set[bytes] = field(default_factory=set)
    watched: Path | None = None
    written: set[bytes] = field(default_factory=set)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    sized: bool = False
    stated: dict[str, dict[str, object]] = field(default_factory=dict)
    metadata: dict[str, tuple[bytes | None, str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def in_json(self) -> bool:
        return bool(self.sized or self.times)

    def add(
        self, name: str, version: str, requires: Sequence[str] = (), tag: str = "py3-none-any"
    ) -> bytes:
        data = make_wheel(name, version, requires=requires, tag=tag)
        self.files.setdefault(name, {})[wheel_name(name, version, tag)] = data
        return data

    def add_sdist(self, name: str, version: str) -> None:
        self.files.setdefault(name, {})[f"{name}-{version}.tar.gz"] = make_sdist(name, version)

    def _listing(self, project: str) -> dict[str, object]:
        files = [
            {
                "filename": name,
                "url": f"/files/{project}/{name}",
                "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                "size": len(data),
            }
            | ({"upload-time": self.times[name]} if name in self.times else {})
            | (
                {"core-metadata": {"sha256": self.metadata[name][1]}}
                if name in self.metadata
                else {}
            )
            | self.stated.get(name, {})
            for name, data in sorted(self.files[project].items())
        ]
        files = [{key: value for key, value in row.items() if value is not None} for row in files]
        return {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": files}

    def _beside(self, name: str) -> dict[str, object]:
        if name not in self.metadata:
            return {}
        return {"core-metadata": {"sha256": self.metadata[name][1]}}

    def _yanked(self, name: str) -> str:
        return ' data-yanked="why"' if self.stated.get(name, {}).get("yanked") else ""

    def answer(self, path: str) -> bytes | None:
        parts = [part for part in path.split("/") if part]
        match parts:
            case ["simple", project] if project in self.files and self.in_json:
                return json.dumps(self._listing(project)).encode()
            case ["simple", project] if project in self.files:
                links = "".join(
                    f'<a{self._yanked(name)} href="/files/{project}/{name}'
                    f'#sha256={hashlib.sha256(data).hexdigest()}">{html.escape(name)}</a>\n'
                    for name, data in sorted(self.files[project].items())
                )
                return f"<!DOCTYPE html><html><body>\n{links}</body></html>".encode()
            case ["files", _, name] if name.endswith(".metadata"):
                return self.metadata.get(name.removesuffix(".metadata"), (None, ""))[0]
            case ["files", project, name]:
                return self.files.get(project, {}).get(name)
        return None


@contextmanager
def simple_index() -> Iterator[SimpleIndex]:
    """Serve an index on a free port of 127.0.0.1 until the block ends."""
    index = SimpleIndex(url="")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            index.requests.append(self.path)
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            if index.login is not None and not self._logged_in(index.login):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = index.answer(unquote(self.path))
            self.send_response(404 if body is None else 200)
            kind = "application/octet-stream"
            if self.path.startswith("/simple"):
                kind = "application/vnd.pypi.simple.v1+json" if index.in_json else "text/html"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            for key, value in index.headers.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body or b"")

        def _logged_in(self, login: str) -> bool:
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    index.commands.add((process / "cmdline").read_bytes())
            for path in () if index.watched is None else index.watched.rglob("*"):
                with suppress(OSError):
                    if path.is_file() and path.name != ".netrc":
                        index.written.add(path.read_bytes())
            expected = "Basic " + base64.b64encode(login.encode()).decode()
            return self.headers.get("Authorization") == expected

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pip_environ(
    home: Path, *, find_links: Path | None = None, index: SimpleIndex | None = None
) -> dict[str, str]:
    """An environment for pip without the machine's own settings, proxies or caches."""
    environ = {
        key: value
        for key, value in os.environ.items()
        if not key.upper().startswith("PIP_") and not key.lower().endswith("_proxy")
    }
    environ |= {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "5",
    }
    if find_links is not None:
        environ["PIP_FIND_LINKS"] = str(find_links)
    if index is None:
        environ["PIP_NO_INDEX"] = "1"
    else:
        environ["PIP_INDEX_URL"] = index.url
    return environ
