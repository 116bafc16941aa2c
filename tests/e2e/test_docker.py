"""The line with a container engine, on the starter: in the image and on the host."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.containers import clean
from support.e2e import must

from mllock.engine.docker import DockerEngine
from mllock.serve.listening import free_port

pytestmark = pytest.mark.e2e


@pytest.fixture
def named(starter: Path, engine: DockerEngine, unique: str) -> Iterator[Path]:
    """The starter under a name of the test's own, for the engine is everybody's."""
    spec = starter / "mlproject.toml"
    spec.write_text(spec.read_text().replace('name = "wine"', f'name = "{unique}"'))
    yield starter
    clean(engine, unique)


def test_training_in_the_image_gives_the_model_of_the_host(
    named: Path, engine_host: str, e2e_environ: dict[str, str]
) -> None:
    """Bit for bit, from the same lock; and only the run in the image proves the environment."""
    environ = {**e2e_environ, "DOCKER_HOST": engine_host, "MLLOCK_ENGINE": ""}
    verdicts = {}
    for runtime in ("host", "docker"):
        must(named, "train", "--runtime", runtime, environ=environ)
        must(named, "build", "serve", "--output", "oci:out", environ=environ)
        done = must(
            named,
            *("check", "oci:out", "--json"),
            environ=environ,
            code=3 if runtime == "host" else 0,
        )
        report = json.loads(done.stdout)
        verdicts[runtime] = {
            finding["claim"]: finding["verdict"] for finding in report["findings"]
        }["environment"]
    assert verdicts == {"host": "unproven", "docker": "proven"}
    docker, host = json.loads(must(named, "runs", "--json", environ=environ).stdout)[:2]
    assert docker["model"] == host["model"]
    shown = [
        json.loads(must(named, "show", run["run"], "--json", environ=environ).stdout)
        for run in (docker, host)
    ]
    assert [run["runtime"] for run in shown] == ["docker", "host"]
    assert shown[0]["files"] == shown[1]["files"]
    assert shown[0]["metrics"] == shown[1]["metrics"]
    assert shown[0]["environment"] == shown[1]["environment"]


def test_the_starter_is_served_from_its_image(
    named: Path, engine: DockerEngine, engine_host: str, e2e_environ: dict[str, str]
) -> None:
    """And the container that is left running is proven, from the training to its files."""
    environ = {**e2e_environ, "DOCKER_HOST": engine_host, "MLLOCK_ENGINE": ""}
    must(named, "train", environ=environ)
    port = free_port()
    done = must(named, "serve", "--port", str(port), "--detach", environ=environ)
    url, name = done.stdout.splitlines()
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as response:
            assert json.loads(response.read()) == {"status": "ok"}
        container = engine.container(name)
        assert container is not None
        assert container.ports == {8080: ("127.0.0.1", port)}
        done = must(named, "check", f"container:{name}", environ=environ)
        assert done.stdout.splitlines()[-1] == "6 of 6 asked claims proven"
    finally:
        engine.remove(name)


def test_the_demo_with_an_engine_proves_the_environment(
    tmp_path: Path, engine: DockerEngine, engine_host: str, unique: str, e2e_environ: dict[str, str]
) -> None:
    environ = {**e2e_environ, "DOCKER_HOST": engine_host, "MLLOCK_ENGINE": ""}
    try:
        done = must(tmp_path, "demo", unique, environ=environ)
    finally:
        clean(engine, unique)
    lines = done.stdout.splitlines()
    assert f"runtime: docker {engine.info.version} (in the train image)" in done.stderr
    verdicts = [line.split()[1] for line in lines if line.startswith("environment ")]
    # Of the model's folder it is not asked; of the image it is proven.
    assert verdicts == ["not", "proven", "not"]
    told = "The environment is proven: the program ran in a container of the training image,"
    assert told in lines
    assert "it was trained on the host" not in done.stdout
