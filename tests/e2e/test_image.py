"""What people expect of an image, shown on the starter's: by scanners, by engines, by tools."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from support.containers import clean
from support.e2e import must

from mllock.engine.docker import DockerEngine
from mllock.lock.format import read_lock
from mllock.store.layout_reader import open_layout
from mllock.store.oci_json import MEDIA_SBOM

pytestmark = pytest.mark.e2e

SYFT = Path(sys.executable).with_name("syft")
PATIENCE = 120.0

Docker = Callable[..., str]


@pytest.fixture
def docker(engine_host: str) -> Docker:
    def call(*words: str) -> str:
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, "DOCKER_HOST": engine_host},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    return call


@pytest.fixture
def loaded(
    starter: Path,
    engine: DockerEngine,
    engine_host: str,
    unique: str,
    e2e_environ: dict[str, str],
) -> Iterator[str]:
    """The name of the starter's images in the engine, trained there and built."""
    spec = starter / "mlproject.toml"
    spec.write_text(spec.read_text().replace('name = "wine"', f'name = "{unique}"'))
    environ = {**e2e_environ, "DOCKER_HOST": engine_host, "MLLOCK_ENGINE": ""}
    must(starter, "train", environ=environ)
    must(starter, "build", environ=environ)
    yield unique
    clean(engine, unique)


@contextmanager
def running(docker: Docker, name: str, *words: str) -> Iterator[str]:
    docker("run", "--detach", "--name", f"{name}-c", *words, f"{name}:serve")
    try:
        yield f"{name}-c"
    finally:
        docker("rm", "--force", "--volumes", f"{name}-c")


def wait(question: Callable[[], Any], answer: Any) -> None:
    until = time.monotonic() + PATIENCE
    while (found := question()) != answer:
        assert time.monotonic() < until, found
        time.sleep(0.2)


def bill(folder: Path, kind: str) -> dict[str, Any]:
    layout = open_layout(folder / ".mllock" / "oci")
    (data,) = layout.referrers(layout.image(kind).manifest_digest, MEDIA_SBOM)
    found: dict[str, Any] = json.loads(data)
    return found


def test_a_scanner_finds_what_the_bill_lists(finished: Path, tmp_path: Path) -> None:
    """Syft reads the image's own dpkg metadata and dist-info; the bill comes from the lock."""
    one = tmp_path / "one"
    subprocess.run(
        ["skopeo", "copy", "--quiet", f"oci:{finished}/.mllock/oci:serve", f"oci:{one}:serve"],
        check=True,
    )
    done = subprocess.run(
        [str(SYFT), "scan", f"oci-dir:{one}", "--output", "json", "--quiet"],
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false", "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=300,
    )
    scanned = json.loads(done.stdout)
    assert (scanned["distro"]["id"], scanned["distro"]["versionID"]) == ("debian", "12")
    assert {artifact["type"] for artifact in scanned["artifacts"]} == {"deb", "python"}
    # package-url, pypi: names are compared in lower case and with hyphens.
    found = {normal(artifact["purl"]) for artifact in scanned["artifacts"]}
    listed = {c["purl"] for c in bill(finished, "serve")["components"] if "purl" in c}
    # Which source a package was built from is something that syft knows beyond the lock.
    assert found == listed
    assert len(found) == len(scanned["artifacts"])


def normal(purl: str) -> str:
    purl = re.sub(r"[&?]upstream=[^&]*", "", purl)
    kind, _, rest = purl.partition("/")
    return f"{kind}/{rest.lower().replace('_', '-')}" if kind == "pkg:pypi" else purl


def test_dpkg_lists_exactly_the_locked_packages(finished: Path, tmp_path: Path) -> None:
    """dpkg-query itself, on the metadata of the image, which is split into a file for each."""
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{finished}/.mllock/oci:serve", "bundle"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    root = tmp_path / "bundle" / "rootfs"
    admin = tmp_path / "admin"
    (admin / "info").mkdir(parents=True)
    (admin / "updates").mkdir()
    stanzas = [
        f"{path.read_text().strip()}\nStatus: install ok installed\n"
        for path in sorted((root / "var/lib/dpkg/status.d").iterdir())
        if path.suffix != ".md5sums"
    ]
    (admin / "status").write_text("\n".join(stanzas))
    done = subprocess.run(
        [
            "dpkg-query",
            f"--admindir={admin}",
            "--show",
            "--showformat=${Package} ${Version} ${Architecture}\n",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    lock = read_lock(finished / "mlproject.lock")
    expected = sorted(f"{d.name} {d.version} {d.architecture}" for d in lock.system)
    assert sorted(done.stdout.splitlines()) == expected


@pytest.mark.parametrize("kind", ["train", "serve"])
def test_the_bill_of_a_real_image(finished: Path, kind: str, e2e_environ: dict[str, str]) -> None:
    done = must(finished, "export", "sbom", "--image", kind, environ=e2e_environ)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.stdout) is None
    found = json.loads(done.stdout)
    assert found == bill(finished, kind)
    wheels = [c for c in found["components"] if c.get("purl", "").startswith("pkg:pypi/")]
    # All of the starter's packages say what their licence is.
    assert [c["name"] for c in wheels if "licenses" not in c] == []


def test_labels_and_user(finished: Path) -> None:
    layout = open_layout(finished / ".mllock" / "oci")
    for kind in ("train", "serve"):
        config = layout.image(kind).config_value
        assert config["created"] == "1970-01-01T00:00:00Z"
        assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", config["config"]["User"])
        labels = {
            name.removeprefix("org.opencontainers.image."): value
            for name, value in config["config"]["Labels"].items()
            if not name.startswith("mllock.")
        }
        # No revision: the same inputs in another checkout are the same image.
        assert set(labels) <= {"title", "version", "base.name", "description"}
        assert labels["title"] == "wine"
        assert labels["base.name"] == "debian:bookworm"


def test_a_container_becomes_healthy(
    loaded: str, docker: Docker, starter: Path, engine_host: str, e2e_environ: dict[str, str]
) -> None:
    environ = {**e2e_environ, "DOCKER_HOST": engine_host, "MLLOCK_ENGINE": ""}
    config = open_layout(starter / ".mllock" / "oci").image("serve").config_value["config"]
    seen = docker("inspect", "--format", "{{json .Config.Healthcheck}}", f"{loaded}:serve")
    assert json.loads(seen) == config["Healthcheck"]

    def health(name: str) -> str:
        return docker("inspect", "--format", "{{.State.Health.Status}}", name)

    with running(docker, loaded, "--read-only") as name:
        wait(lambda: health(name), "healthy")
        done = must(starter, "check", f"container:{name}", environ=environ)
        assert done.stdout.splitlines()[-1] == "6 of 6 asked claims proven"
        # The image's own health check is a part of the image, and no addition.
        assert "health check" not in done.stdout
    # A server that answers with an error is found: one failure after the start is enough.
    words = ("--health-interval", "1s", "--health-retries", "1", "--health-start-period", "1ms")
    program = (
        "import http.server as s;s.HTTPServer(('',8080),s.BaseHTTPRequestHandler).serve_forever()"
    )
    docker("run", "--detach", "--name", f"{loaded}-d", *words, f"{loaded}:serve",
           "python", "-c", program)  # fmt: skip
    try:
        wait(lambda: health(f"{loaded}-d"), "unhealthy")
    finally:
        docker("rm", "--force", f"{loaded}-d")


def test_training_with_a_read_only_root(loaded: str, docker: Docker, starter: Path) -> None:
    """By hand, as a cluster would: scratch at /tmp, a volume at /app, the data below it."""
    out = docker(
        "run",
        "--rm",
        "--read-only",
        "--network=none",
        "--tmpfs=/tmp",
        "--volume=/app",
        f"--volume={starter}/data:/app/data:ro",
        "--env=MLLOCK_PARAMS=/opt/mllock/params.json",
        f"{loaded}:train",
    )
    assert out.startswith("trained on 3942 wines")
