"""Registries for this folder: real ones, and one in this process that can misbehave."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chain import Chain
from support.oci_push import QUICK
from support.registry import registry, registry_basic, registry_tls, registry_token
from support.reporter import Recorder
from support.sharing import FILES, RICH
from support.small_registry import SmallRegistry, small_registry
from support.world import RUN, World, make_run, make_world

from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.errors import ArchiveError, MllockError
from mllock.lock.format import read_lock
from mllock.store.registry import limits
from mllock.store.registry.reference import parse_reference
from mllock.workflows.build import build_images
from mllock.workflows.context import make_context
from mllock.workflows.pull import pull_run
from mllock.workflows.push import push_run

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


@pytest.fixture
def other_key(tmp_path: Path) -> SigningKey:
    """Somebody else's key."""
    return load_or_create_key(tmp_path / "somebody", {})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as short as the tests'."""
    made = limits.Limits
    monkeypatch.setattr(
        "mllock.store.registry.client.Limits",
        lambda: dataclasses.replace(made(), **{f: getattr(QUICK, f) for f in (
            "connect", "read", "retries", "backoff", "max_wait")}),
    )  # fmt: skip


@pytest.fixture
def rich(world):
    """A world with a run whose model has everything that a model can have, and its images."""
    ctx = world.context()
    lock = read_lock(world.project / "mlproject.lock")
    make_run(ctx, lock, RICH, FILES, links={"link": "small.txt"}, folders=("blank/deep",))
    build_images(ctx, (), None, RICH)
    return world


@pytest.fixture
def elsewhere(tmp_path):
    """Another machine: another home, an empty cache, an empty folder; knows only a policy."""

    def make(policy_of=None, folder="there", environ=None):
        home = tmp_path / "other-home"
        project = home / folder
        project.mkdir(parents=True, exist_ok=True)
        if policy_of is not None:
            path = home / ".config" / "mllock" / "policy.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                f'[[trust]]\nproject = "tiny"\npublic-key = """\n{policy_of.key.public.pem}"""\n'
            )
        return make_context(project, Recorder(), {"HOME": str(home), **(environ or {})})

    return make


@pytest.fixture(scope="session")
def pushed(whole):
    """A registry with a run, pushed once. Not to be changed."""
    with small_registry() as server:
        push_run(whole.context(), parse_reference(f"{server.host}/wine:v1"), RUN)
        yield server


@pytest.fixture
def chain(pushed, server):
    """The same in a registry of the test's own."""
    server.blobs, server.manifests = dict(pushed.blobs), dict(pushed.manifests)
    server.tags = dict(pushed.tags)
    return Chain(server)


@pytest.fixture
def refused(whole, chain, tmp_path):
    """Pulls, and answers with what was said; nothing may be left."""

    def pull(error=ArchiveError):
        project = tmp_path / "there"
        project.mkdir()
        environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(whole.root / "config")}
        ctx = make_context(project, Recorder(), environ)
        with pytest.raises(error) as caught:
            pull_run(ctx, parse_reference(f"{chain.server.host}/wine:v1"))
        assert isinstance(caught.value, MllockError)
        assert list(project.iterdir()) == []
        return caught.value

    return pull
