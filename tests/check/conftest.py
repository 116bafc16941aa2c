"""One world for a session, and a copy of it for each test that breaks something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.attacked import attacked, loaded, own
from support.deployed import deployed, listening, mine
from support.world import World, make_world

from mllock.attest.keys import PublicKey, SigningKey, load_or_create_key

__all__ = ["attacked", "deployed", "listening", "loaded", "mine", "own"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world as it was made: not to be changed."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(whole: World, tmp_path: Path) -> World:
    return whole.copy(tmp_path / "w")


@pytest.fixture
def other_key(tmp_path: Path) -> SigningKey:
    """Somebody else's key."""
    return load_or_create_key(tmp_path / "somebody", {})


@pytest.fixture
def policy(tmp_path: Path) -> Callable[..., Path]:
    """A policy file that trusts `key` for `project`."""

    def write(key: PublicKey, project: str = "tiny") -> Path:
        path = tmp_path / "policy.toml"
        path.write_text(f'[[trust]]\nproject = "{project}"\npublic-key = """\n{key.pem}"""\n')
        return path

    return write
