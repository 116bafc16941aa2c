"""What a training container may do, as a plan: engines of all kinds, without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.training import SPEC, lock_of, locked, plan_of, put_wheels

from mllock.core.digest import Digest
from mllock.engine.docker_values import info_of
from mllock.engine.types import EngineInfo
from mllock.errors import EngineError
from mllock.train.container import Place, container_plan, memory_bytes
from mllock.train.types import RunPlan

IMAGE = Digest("sha256:" + "1" * 64)
INFO = EngineInfo(
    name="docker",
    version="28.2.2",
    endpoint="unix:///x",
    os="linux",
    architecture="amd64",
    remote=False,
    rootless=False,
    image_is_manifest=False,
)


def plan(place: Path, train: str = "") -> RunPlan:
    ctx = locked(place, spec=SPEC + train)
    return plan_of(
        ctx.project, lock_of(ctx.project, put_wheels(ctx.cache, {("tiny-lib", "1.0"): None}))
    )


@pytest.mark.parametrize(("rootless", "user"), [(False, "1000:1001"), (True, "0:0")])
def test_the_user(tmp_path: Path, rootless: bool, user: str) -> None:
    """Root of a rootless engine is its caller."""
    made = container_plan(
        plan(tmp_path),
        IMAGE,
        Place(app="v", data=()),
        replace(INFO, rootless=rootless),
        (1000, 1001),
        {},
    )
    assert made.user == user


def test_what_is_not_declared_is_not_allowed(tmp_path: Path) -> None:
    made = container_plan(
        plan(tmp_path), IMAGE, Place(app="v", data=()), INFO, (1000, 1000), {"a": "b"}
    )
    assert (made.network, made.read_only_root, made.memory) == (False, True, None)
    assert made.capabilities == ("DAC_OVERRIDE",)
    assert [(m.kind, m.source, m.target, m.read_only) for m in made.mounts] == [
        ("volume", "v", "/app", False)
    ]
    assert made.labels == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "value"), [("6MiB", 6 * 2**20), ("8192KiB", 2**23), ("8GiB", 2**33), ("1TiB", 2**40)]
)
def test_memory(tmp_path: Path, text: str, value: int) -> None:
    assert memory_bytes(plan(tmp_path, f'memory = "{text}"\n'), INFO) == value


def test_an_engine_that_cannot_limit_memory(tmp_path: Path) -> None:
    """It would take the limit and not hold it."""
    with pytest.raises(EngineError) as caught:
        memory_bytes(plan(tmp_path, 'memory = "8GiB"\n'), replace(INFO, limits_memory=False))
    assert str(caught.value) == (
        "train.memory: docker at unix:///x cannot limit memory\n"
        'found: "8GiB"\n'
        "hint: give it the memory controller of the kernel (cgroups), or leave the key out"
    )


@pytest.mark.parametrize("option", ["name=userns", "name=selinux"])
def test_engines_whose_programs_cannot_read_what_is_bound(option: str) -> None:
    assert info_of({"SecurityOptions": [option]}, "unix:///x", remote=False).relabels
    assert not info_of({"SecurityOptions": ["name=seccomp"]}, "unix:///x", remote=False).relabels
