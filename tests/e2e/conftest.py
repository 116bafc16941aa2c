"""The docker builder's project, made once in a session: see `support.docker_builder`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.docker_builder import project, remove
from support.e2e import must
from support.wheels import make_wheel, wheel_name

from mllock.engine.docker import DockerEngine, connect


@pytest.fixture(scope="session")
def environ(
    tmp_path_factory: pytest.TempPathFactory, engine_host: str, e2e_environ: Mapping[str, str]
) -> dict[str, str]:
    wheels = tmp_path_factory.mktemp("wheels")
    (wheels / wheel_name("tiny-lib", "1.0")).write_bytes(
        make_wheel("tiny-lib", "1.0", {"tiny_lib/__init__.py": b"X = 1\n"})
    )
    links = f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
    return {
        **e2e_environ,
        "PIP_FIND_LINKS": links,
        "DOCKER_HOST": engine_host,
        "MLLOCK_ENGINE": "",
    }


@pytest.fixture(scope="session")
def module_engine(engine_host: str) -> Iterator[DockerEngine]:
    found = connect({"DOCKER_HOST": engine_host})
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="session")
def built(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str], module_engine: DockerEngine
) -> Iterator[Path]:
    """Locked, trained in the engine and built. Not to be changed: take `copy`."""
    name = f"t-{os.urandom(6).hex()}"
    folder = project(tmp_path_factory.mktemp("docker") / "p", name)
    try:
        must(folder, "lock", environ=environ)
        must(folder, "train", environ=environ)
        must(folder, "build", environ=environ)
        yield folder
    finally:
        remove(module_engine, name)


@pytest.fixture
def copy(tmp_path: Path, built: Path) -> Path:
    folder = tmp_path / "p"
    shutil.copytree(built, folder, symlinks=True)
    return folder
