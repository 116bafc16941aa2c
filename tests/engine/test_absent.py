"""An engine that is certainly not there is not looked for with the docker package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mllock.engine.absent import is_absent


@pytest.mark.parametrize(
    ("files", "environ", "absent"),
    [
        ((), {}, True),
        ((), {"DOCKER_HOST": "", "DOCKER_CONTEXT": ""}, True),
        (("other/.docker/config.json",), {}, True),
        (("docker.sock",), {}, False),
        (("home/.docker/config.json",), {}, False),
        (("home/.dockercfg",), {}, False),
        (("home/.docker/config.json",), {"DOCKER_CONFIG": "elsewhere"}, True),
        (("elsewhere/config.json",), {"DOCKER_CONFIG": "elsewhere"}, False),
        ((), {"DOCKER_HOST": "tcp://example.org:2376"}, False),
        ((), {"DOCKER_CONTEXT": "mine"}, False),
    ],
)
def test_only_where_nothing_says_that_there_is_one(
    tmp_path: Path, files: tuple[str, ...], environ: dict[str, str], absent: bool
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {"HOME": str(tmp_path / "home"), **environ}
    if "DOCKER_CONFIG" in found:
        found["DOCKER_CONFIG"] = str(tmp_path / found["DOCKER_CONFIG"])
    assert is_absent(found, f"unix://{tmp_path}/docker.sock") is absent


def test_without_the_docker_package() -> None:
    program = "import sys, mllock.engine.absent; sys.exit('docker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
