"""A lock is looked at as a whole before anything is made of it: what a machine has already, of
wheels and of what was made of them, does not decide whether a lock passes."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.bench import TARGET
from support.locking import Locking
from support.wheels import SimpleIndex, simple_index, wheel_name

from mllock.core.digest import hex_of, sha256_of
from mllock.errors import IntegrityError, MllockError
from mllock.lock.platforms import narrowed
from mllock.lock.types import Lock
from mllock.spec.reader import load_spec
from mllock.workflows.environment import environment_of, locked_wheels
from mllock.workflows.runtimes import host_runtime
from mllock.workflows.serving import host_serve_runtime
from mllock.workflows.sync import sync_project

ALPHA = wheel_name("alpha", "1.0")
LIE = (
    f"{ALPHA}: asks for gamma, which the index did not say when it was locked\n"
    f"expected: a requirement that the lock meets on {TARGET.platform}\n"
    "found: no gamma in the lock\n"
    "hint: tell those who run the index that it says other things of the wheel than are in it; "
    'resolver = "pip-tools" reads the wheels themselves'
)


@pytest.fixture
def index() -> Iterator[SimpleIndex]:
    with simple_index() as index:
        index.sized = True
        yield index


def lying(index: SimpleIndex, *requires: str) -> None:
    """An alpha that asks for more than its METADATA beside it says."""
    index.add("alpha", "1.0", requires)
    index.add("gamma", "1.0")
    said = b"Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n"
    index.metadata[ALPHA] = (said, hex_of(sha256_of(said)))


def project_of(
    folder: Path, index: SimpleIndex, asked: str, like: Locking | None = None, resolver: str = "uv"
) -> Locking:
    """With the cache of `like`, if there is one."""
    folder.mkdir()
    project = Locking(folder, index, f"dependencies = [{asked}]", resolver)
    if like is not None:
        project.ctx = dataclasses.replace(project.ctx, cache=like.ctx.cache)
    return project


def build(project: Locking, lock: Lock) -> object:
    return environment_of(project.ctx, load_spec(project.path.with_name("mlproject.toml")), lock)


USES: dict[str, Callable[[Locking, Lock], object]] = {
    "sync": lambda project, _: sync_project(project.ctx),
    "build": build,
    "train": lambda project, lock: host_runtime(project.ctx, lock, lambda _: None),
    "serve": lambda project, lock: host_serve_runtime(project.ctx, lock, None),
}


def refusals(project: Locking, lock: Lock) -> dict[str, str]:
    found = {}
    for name, use in USES.items():
        with pytest.raises(MllockError) as caught:
            use(project, narrowed(lock, TARGET.platform))
        assert isinstance(caught.value, IntegrityError)
        found[name] = str(caught.value)
    return found


def test_what_is_unpacked_already_is_looked_at(tmp_path: Path, index: SimpleIndex) -> None:
    lying(index, "gamma")
    whole = project_of(tmp_path / "a", index, '"alpha", "gamma"')
    whole.real()
    assert len(sync_project(whole.ctx).plan.changes) == 2
    for name, like in (("warm", whole), ("cold", None)):
        project = project_of(tmp_path / name, index, '"alpha"', like)
        lock = project.real().lock
        assert refusals(project, lock) == dict.fromkeys(USES, LIE)
        assert not (project.folder / ".venv").exists()


def test_an_extra_that_another_project_did_not_ask_for(tmp_path: Path, index: SimpleIndex) -> None:
    lying(index, 'gamma; extra == "more"')
    plain = project_of(tmp_path / "a", index, '"alpha"')
    plain.real()
    sync_project(plain.ctx)
    project = project_of(tmp_path / "b", index, '"alpha[more]"', plain)
    assert refusals(project, project.real().lock) == dict.fromkeys(USES, LIE)


def test_a_size_that_another_project_measured(tmp_path: Path, index: SimpleIndex) -> None:
    data = index.add("alpha", "1.0")
    measured = project_of(tmp_path / "a", index, '"alpha"', resolver="pip-tools")
    measured.real()
    sync_project(measured.ctx)
    index.stated[ALPHA] = {"size": 7}
    project = project_of(tmp_path / "b", index, '"alpha"', measured)
    message = (
        f"{ALPHA}: has not the size that is locked, which the index stated\n"
        f"expected: 7 bytes\nfound: {len(data)} bytes\n"
        'hint: tell those who run the index; resolver = "pip-tools" measures what comes'
    )
    assert refusals(project, project.real().lock) == dict.fromkeys(USES, message)


def test_it_is_looked_at_once(tmp_path: Path, index: SimpleIndex) -> None:
    index.add("alpha", "1.0")
    project = project_of(tmp_path / "a", index, '"alpha"')
    lock = project.real().lock
    sync_project(project.ctx)
    project.lose_wheels()
    index.requests.clear()
    for name in ("sync", "train", "serve"):
        USES[name](project, narrowed(lock, TARGET.platform))
    assert index.requests == []
    # Where nobody remembers, the wheels come for it, also if there is nothing else to do.
    shutil.rmtree(project.ctx.cache.root / "closed")
    sync_project(project.ctx)
    assert f"/files/alpha/{ALPHA}" in index.requests


def test_what_others_say_was_looked_at_is_not(tmp_path: Path, index: SimpleIndex) -> None:
    index.add("alpha", "1.0")
    project = project_of(tmp_path / "a", index, '"alpha"')
    project.real()
    sync_project(project.ctx)
    project.lose_wheels()
    (seen,) = (project.ctx.cache.root / "closed").iterdir()
    seen.chmod(0o666)
    index.requests.clear()
    sync_project(project.ctx)
    assert f"/files/alpha/{ALPHA}" in index.requests


def test_as_many_others_are_not_all(tmp_path: Path, index: SimpleIndex) -> None:
    """What a lock's packages are installed with comes beside them, and is none of them."""
    lying(index, "gamma")
    other = project_of(tmp_path / "a", index, '"gamma"')
    project = project_of(tmp_path / "b", index, '"alpha"', other)
    part = narrowed(project.real().lock, TARGET.platform)
    locked_wheels(project.ctx, part)(other.real().lock.python.packages)
    assert refusals(project, part) == dict.fromkeys(USES, LIE)
