"""Repositories and archives of sources on loopback, whose wheels are built by a tiny backend.

The backend is a wheel in the index, so that what builds need is resolved and pinned as ever. It
notes what it saw of its surroundings in the wheel.
"""

from __future__ import annotations

import base64
import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from support.wheels import SimpleIndex, make_wheel, wheel_name

# PEP 517. `VERSION` and `EXTRA` are files of the sources; with NOISY, no build is like another.
BACKEND = b"""
import base64, hashlib, os, pathlib, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return pathlib.Path("EXTRA").read_text().split() if os.path.exists("EXTRA") else []

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name, version = pathlib.Path("VERSION").read_text().split()
    tag = pathlib.Path("TAG").read_text().strip() if os.path.exists("TAG") else "py3-none-any"
    if os.path.exists("EXTRA"):
        import extra_tool
    if os.path.exists("BROKEN"):
        raise SystemExit("the compiler is on holiday")
    seen = sorted(k for k in os.environ if "SECRET" in k or k.startswith("PIP_"))
    files = {
        f"{name}/__init__.py": pathlib.Path("code.py").read_bytes(),
        f"{name}/seen.txt": repr((seen, os.environ["SOURCE_DATE_EPOCH"])).encode(),
        f"{name}-{version}.dist-info/METADATA":
            (f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
             "Requires-Dist: beta\\n").encode(),
        f"{name}-{version}.dist-info/WHEEL":
            (f"Wheel-Version: 1.0\\nGenerator: tiny\\nTag: {tag}\\n"
             "Root-Is-Purelib: true\\n").encode(),
    }
    if os.path.exists("NOISY"):
        files[f"{name}/noise.txt"] = os.urandom(8).hex().encode()
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(data)}\\n"
    files[f"{name}-{version}.dist-info/RECORD"] = (
        record + f"{name}-{version}.dist-info/RECORD,,\\n"
    ).encode()
    file = f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(os.path.join(folder, file), "w") as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return file
"""
PYPROJECT = b'[build-system]\nrequires = ["tiny-backend"]\nbuild-backend = "tiny_backend"\n'


def add_backend(index: SimpleIndex, version: str = "1.0") -> None:
    data = make_wheel("tiny-backend", version, {"tiny_backend.py": BACKEND})
    index.files.setdefault("tiny-backend", {})[wheel_name("tiny-backend", version)] = data


def sources(name: str, version: str, code: bytes = b"", **more: bytes) -> dict[str, bytes]:
    files = {"VERSION": f"{name} {version}\n".encode(), "code.py": code}
    return {"pyproject.toml": PYPROJECT, **files, **more}


def archive(files: Mapping[str, bytes], top: str = "thing-1.0/") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            item = tarfile.TarInfo(f"{top}{name}")
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return out.getvalue()


class Repository:
    """A bare repository in a folder that is served as files are; with one of `logins`
    ("user:password"), to who has that."""

    def __init__(self, folder: Path, url: str, logins: list[str]) -> None:
        self.logins = logins
        self.work = folder / "work"
        self.bare = folder / "served" / "ours.git"
        self.url = f"{url}/ours.git"
        self.work.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main", ".")

    def commit(self, files: Mapping[str, bytes], tag: str = "") -> str:
        """The commit, which `main` and `tag` are from now on."""
        for path in self.work.iterdir():
            if path.is_file():
                path.unlink()
        for name, data in files.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_bytes(data)
        self._git("add", "--all")
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        self._git(*who, "commit", "--quiet", "--allow-empty", "-m", "more")
        if tag:
            self._git(*who, "tag", "-a", tag, "-m", tag)
        self.bare.parent.mkdir(exist_ok=True)
        self._git("push", "--quiet", "--mirror", str(self._bare()))
        subprocess.run(["git", "update-server-info"], cwd=self.bare, check=True)
        return self._git("rev-parse", "HEAD")

    def _bare(self) -> Path:
        if not self.bare.exists():
            self._git("clone", "--quiet", "--bare", ".", str(self.bare))
        return self.bare

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.work, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@contextmanager
def repository(folder: Path) -> Iterator[Repository]:
    (folder / "served").mkdir(parents=True)

    logins: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.headers.get("Authorization", "")
            if logins and sent != "Basic " + base64.b64encode(logins[0].encode()).decode():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(folder / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Repository(folder, f"http://127.0.0.1:{server.server_port}", logins)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
