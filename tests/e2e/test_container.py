"""The starter, trained in the image, its serving image running for real in the engine: all proven.
Then one byte of its model is changed."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.e2e import must

pytestmark = [pytest.mark.e2e, pytest.mark.tools]

MODEL = "/app/model/model.joblib"
# Asked from inside: the container has no network.
ASK = (
    "import json, sys, urllib.request as u\n"
    "print(u.urlopen('http://127.0.0.1:8080/healthz', timeout=5).status)\n"
)


class Served:
    """A container of the starter's image, and how to type docker and mllock about it."""

    def __init__(self, folder: Path, environ: dict[str, str], name: str) -> None:
        self.folder = folder
        self.environ = environ
        self.name = name

    def docker(self, *arguments: str) -> str:
        done = subprocess.run(
            ["docker", *arguments],
            env=os.environ | self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout.strip()

    def check(self, target: str, code: int) -> dict[str, dict[str, object]]:
        done = must(
            self.folder,
            *("check", target, "--json"),
            environ=self.environ,
            code=code,
        )
        return {finding["claim"]: finding for finding in json.loads(done.stdout)["findings"]}


@pytest.fixture
def served(
    starter: Path, e2e_environ: dict[str, str], engine_host: str, unique: str, tmp_path: Path
) -> Iterator[Served]:
    found = Served(starter, e2e_environ | {"DOCKER_HOST": engine_host}, unique)
    spec = starter / "mlproject.toml"
    lines = spec.read_text().splitlines(keepends=True)
    # Probes are a claim of their own, and their server is another container.
    spec.write_text("".join(line for line in lines if not line.startswith("probes")))
    must(starter, "train", "--runtime", "docker", environ=found.environ)
    must(starter, "build", "serve", "--output", "oci:.mllock/oci", environ=found.environ)
    archive = tmp_path / "serve.tar"
    places = (f"oci:{starter}/.mllock/oci:serve", f"docker-archive:{archive}:{unique}:serve")
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", *places], check=True)
    found.docker("load", "--quiet", "--input", str(archive))
    archive.unlink()
    try:
        found.docker("run", "--detach", "--network", "none", "--name", unique, f"{unique}:serve")
        for _ in range(300):
            try:
                assert found.docker("exec", unique, "python", "-c", ASK) == "200"
                break
            except AssertionError:
                time.sleep(0.2)
        else:
            pytest.fail(found.docker("logs", unique))
        yield found
    finally:
        found.docker("rm", "--force", unique)
        found.docker("rmi", "--force", f"{unique}:serve")


def test_what_serves_is_what_was_trained(served: Served, tmp_path: Path) -> None:
    image = served.check(f"image:{served.name}:serve", 0)
    live = served.check(f"container:{served.name}", 0)
    for claim in ("signature", "lineage", "model", "environment", "code", "configuration"):
        assert (image[claim]["verdict"], live[claim]["verdict"]) == ("proven", "proven")
    assert (image["model"]["level"], live["model"]["level"]) == ("A", "B")

    model = tmp_path / "model.joblib"
    served.docker("cp", f"{served.name}:{MODEL}", str(model))
    data = bytearray(model.read_bytes())
    data[1000] ^= 1
    model.write_bytes(data)
    served.docker("cp", str(model), f"{served.name}:{MODEL}")
    changed = served.check(f"container:{served.name}", 1)
    assert [d["path"] for d in changed["model"]["differences"]] == [MODEL]
    assert changed["environment"]["verdict"] == "proven"
    assert changed["code"]["verdict"] == "proven"
