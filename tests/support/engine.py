"""The real container engine that scripts/services started; what a test puts there, it removes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from mllock.engine.docker import DockerEngine, connect


def pytest_configure() -> None:
    """Commands that take an engine where one answers take none, unless a test says otherwise: what
    a test sees does not depend on the machine."""
    os.environ["MLLOCK_ENGINE"] = "none"


@pytest.fixture(scope="session")
def engine_host() -> str:
    """The value of DOCKER_HOST that reaches it."""
    host = os.environ.get("MLLOCK_TEST_ENGINE", "")
    if not host:
        pytest.skip("no container engine: scripts/test starts one as root")
    return host


@pytest.fixture
def engine(engine_host: str) -> Iterator[DockerEngine]:
    found = connect({"DOCKER_HOST": engine_host})
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def unique() -> str:
    """A name for images and containers that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"
