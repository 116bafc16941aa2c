"""A wheel for a newer C library than this machine's is refused before anything is installed."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace
from support.syncing import ctx, typed
from support.training import lock_of, no_layers, put_wheels
from support.typed import Typed

from mllock.core.platform import KNOWN, host_platform
from mllock.errors import SurroundingsError
from mllock.lock.format import dump_lock
from mllock.lock.types import PythonPackage
from mllock.train.libc import needed_glibc, refuse_newer_glibc
from mllock.workflows.context import Context
from mllock.workflows.train import train

__all__ = ["ctx", "typed"]

MACHINE = KNOWN[host_platform()].machine
HINT = (
    "hint: run in a container (mllock train --runtime docker), or on a newer system; or lock for "
    "an older base: wheels are chosen for the C library of [environment] base\n"
)


def here() -> str:
    return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")


def tagged(package: PythonPackage, *tags: str) -> PythonPackage:
    """The same wheel under other file names."""
    (wheel,) = package.wheels
    named = []
    for tag in tags:
        name = wheel.name.replace("py3-none-any", f"py3-none-{tag}")
        named.append(replace(wheel, name=name, path=f"wheels/{name}"))
    return replace(package, wheels=tuple(sorted(named, key=lambda item: item.name)))


@pytest.mark.parametrize(
    ("tag", "needs"),
    [
        ("any", None),
        ("linux_x86_64", None),
        ("musllinux_1_2_x86_64", None),
        ("manylinux_2_28_x86_64", (2, 28)),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", (2, 17)),
        ("manylinux_2_27_aarch64.manylinux_2_28_aarch64", (2, 27)),
        ("manylinux2010_x86_64.manylinux_2_12_x86_64", (2, 12)),
        ("manylinux1_x86_64", (2, 5)),
        ("manylinux_2_28_x86_64.linux_x86_64", None),
    ],
)
def test_what_a_wheel_needs(tag: str, needs: tuple[int, int] | None) -> None:
    assert needed_glibc(f"some_thing-1.0-1-cp311-cp311-{tag}.whl") == needs


def lock(ctx: Context, **tags: tuple[str, ...]) -> None:
    """tiny-lib and other, with wheels of these tags."""
    made = put_wheels(ctx.cache, {("tiny-lib", "1.0"): None, ("other", "2.0"): None})
    packages = tuple(tagged(item, *tags[item.name]) if item.name in tags else item for item in made)
    (ctx.project / "mlproject.lock").write_bytes(dump_lock(lock_of(ctx.project, packages)))


def test_a_newer_library_is_asked_for(ctx: Context, typed: Typed) -> None:
    lock(ctx, other=(f"manylinux_2_99_{MACHINE}",))
    for words in (("sync",), ("sync", "--check")):
        assert typed(*words) == (
            4,
            "",
            "error: locked wheels need a newer C library than this machine has\n"
            f"expected: glibc 2.99 or newer, for other 2.0\nfound: glibc {here()}\n{HINT}",
        )
    assert not (ctx.project / ".venv").exists()
    # What it has is new enough.
    minor = here().partition(".")[2]
    lock(ctx, other=(f"manylinux_2_{minor}_{MACHINE}",))
    assert typed("sync")[:2] == (0, "Added other 2.0\nAdded tiny-lib 1.0\n")


def test_train_on_the_host_says_so_too(ctx: Context) -> None:
    lock(ctx, other=(f"manylinux_2_99_{MACHINE}",))
    with pytest.raises(SurroundingsError) as caught:
        train(ctx, environment_of=no_layers)
    assert caught.value.message == "locked wheels need a newer C library than this machine has"
    assert not list((ctx.project / ".mllock" / "runs").glob("*/record*"))


def test_many_packages_and_a_machine_without_glibc(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put_wheels(ctx.cache, {(f"p{number}", "1.0"): None for number in range(7)})
    packages = [tagged(item, f"manylinux_2_5_{MACHINE}") for item in made]
    refuse_newer_glibc(packages)

    def confstr(name: str) -> str:
        raise ValueError(name)  # as musl has it

    monkeypatch.setattr(os, "confstr", confstr)
    with pytest.raises(SurroundingsError) as caught:
        refuse_newer_glibc(packages)
    assert caught.value.expected == (
        "glibc 2.5 or newer, for p0 1.0, p1 1.0, p2 1.0, p3 1.0, p4 1.0 and 2 more"
    )
    assert caught.value.found == "no glibc"
    refuse_newer_glibc(made)
