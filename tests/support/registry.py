"""Real registries: `docker-registry serve` on a free loopback port, as its users set it up.

`registry` is open, `registry_basic` wants a user of an htpasswd file (bcrypt), `registry_tls` has a
certificate by a CA made for it, `registry_token` wants tokens of a small token server. Import the
fixtures that a folder of tests needs into its conftest.py.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.token_server import token_server

USER, PASSWORD = "ada", "correct horse: battery"  # a colon, as passwords may have


@dataclass(kw_only=True)
class RealRegistry:
    """`environ` is what a user of this registry has set, without credentials."""

    host: str
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    log: Path
    tokens: Any = None

    def logged_in(self, folder: Path, user: str = USER, password: str = PASSWORD) -> dict[str, str]:
        """`environ` and the config.json that `docker login` would have written in `folder`."""
        return self.environ | docker_config(folder, self.host, user, password)

    def uploads(self) -> list[str]:
        """The uploads that were begun and not ended."""
        found = self.folder.glob("data/docker/registry/v2/repositories/**/_uploads/*")
        return sorted(path.name for path in found)


def docker_config(folder: Path, host: str, user: str, password: str) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(folder)}


def make_ca(folder: Path) -> tuple[Path, Path, Path]:
    """A CA, and a key and certificate by it for 127.0.0.1: paths of CA, key, certificate."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA",
            "-addext", "keyUsage=critical,keyCertSign", "-days", "3650")  # fmt: skip
    openssl(*new, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=127.0.0.1")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-extfile", "san", "-out", "tls.pem", "-days", "3650")  # fmt: skip
    return folder / "ca.pem", folder / "tls.key", folder / "tls.pem"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    folder: Path, extra: Mapping[str, Any] | None = None, ca: Path | None = None
) -> Iterator[RealRegistry]:
    """A registry whose files are in `folder`; `extra` is added to its configuration."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    host = f"127.0.0.1:{free_port()}"
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host, "secret": "of the tests"},
    }
    for key, value in (extra or {}).items():
        config[key] = {**config.get(key, {}), **value}
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", "config.yml"], cwd=folder, stdout=output, stderr=output
        )
    try:
        _wait(process, host, ca, log)
        environ = {"HOME": str(folder / "nobody")}
        if ca is not None:
            environ["MLLOCK_CA_FILE"] = str(ca)
        yield RealRegistry(host=host, folder=folder, environ=environ, log=log)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], host: str, ca: Path | None, log: Path) -> None:
    scheme = "http" if ca is None else "https"
    context = None if ca is None else ssl.create_default_context(cafile=str(ca))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    give_up = time.monotonic() + 30
    while True:
        try:
            with opener.open(f"{scheme}://{host}/v2/", timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            return  # it asks who we are
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def registry_basic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    # bcrypt, of the least cost: it is computed for every request.
    made = subprocess.run(
        ["htpasswd", "-nbB", "-C", "4", USER, PASSWORD], check=True, capture_output=True
    )
    (folder / "htpasswd").write_bytes(made.stdout)
    auth = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    with running(folder, {"auth": auth}) as found:
        yield found


@pytest.fixture
def registry_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    ca, key, certificate = make_ca(folder)
    tls = {"tls": {"certificate": str(certificate), "key": str(key)}}
    with running(folder, {"http": tls}, ca) as found:
        yield found


@pytest.fixture
def registry_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with token_server(folder, USER, PASSWORD) as tokens:
        auth = {
            "token": {
                "realm": f"{tokens.url}/token",
                "service": "tests",
                "issuer": "tests",
                "rootcertbundle": str(tokens.certificate),
            }
        }
        with running(folder, {"auth": auth}) as found:
            found.tokens = tokens
            yield found
