"""One world for a session, and a copy of it for each test that breaks something."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.world import World, make_world


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world as it was made: not to be changed."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(whole: World, tmp_path: Path) -> World:
    return whole.copy(tmp_path / "w")
