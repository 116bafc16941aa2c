"""Registries for this folder: real ones, and one in this process that can misbehave."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.registry import registry, registry_basic, registry_tls, registry_token
from support.small_registry import SmallRegistry, small_registry
from support.world import World, make_world

__all__ = ["registry", "registry_basic", "registry_tls", "registry_token"]


@pytest.fixture
def server() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world as it was made: not to be changed."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(whole: World, tmp_path: Path) -> World:
    """A world of the test's own, with its cache."""
    copy = whole.copy(tmp_path / "w")
    shutil.copytree(whole.root / "cache", copy.root / "cache", symlinks=True)
    return copy
