"""Where a project is for several platforms, a program runs on one: the machine's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.world import World
from support.world_platforms import BOTH, make_two

from mllock.core.platform import host_platform
from mllock.errors import MllockError
from mllock.lock.format import read_lock
from mllock.lock.platforms import narrowed, platforms_of
from mllock.spec.reader import load_spec
from mllock.workflows.runtimes import chosen, part_for


@pytest.fixture
def two(tmp_path: Path) -> World:
    return make_two(tmp_path / "two")


def test_this_machines_part_of_the_lock(two: World) -> None:
    lock = read_lock(two.project / "mlproject.lock")
    part = part_for(lock, None)
    assert part == narrowed(lock, host_platform())
    assert platforms_of(part) == (host_platform(),)
    assert [len(item.wheels) for item in part.python.packages] == [1, 1]


def test_a_machine_of_none_of_them(two: World) -> None:
    loaded = load_spec(two.project / "mlproject.toml")
    other = next(platform for platform in BOTH if platform != host_platform())
    environment = replace_platforms(loaded.spec.environment, (other,))
    foreign = replace(loaded, spec=replace_environment(loaded.spec, environment))
    ctx = two.context()
    for runtime in ("host", None):
        with pytest.raises(MllockError) as caught, chosen(ctx, foreign, runtime, "train"):
            pass
        assert str(caught.value) == (
            "this machine is of no platform that the project is for\n"
            f"expected: {other}\nfound: {host_platform()}\n"
            "hint: name an engine that is (DOCKER_HOST), or add the platform of this machine to "
            "[environment] platforms"
        )


def replace_platforms(environment, platforms):
    from msgspec.structs import replace as changed

    return changed(environment, platforms=platforms)


def replace_environment(spec, environment):
    from msgspec.structs import replace as changed

    return changed(spec, environment=environment)
