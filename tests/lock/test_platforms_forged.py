"""Locks for several platforms as a careful forger could write them: the digests are right."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.lock_platforms import AMD, BOTH, one, project
from support.lock_project import LockProject
from support.locks import deb, package

from mllock.errors import LockError
from mllock.lock.format import dump_lock, parse_lock, seal
from mllock.lock.platforms import marker_of
from mllock.lock.types import Lock

__all__ = ["project"]


@pytest.fixture
def lock(project: LockProject) -> Lock:
    return project.lock().lock


def refusal(lock: Lock) -> str:
    with pytest.raises(LockError) as caught:
        parse_lock(dump_lock(seal(lock)), "mlproject.lock")
    return str(caught.value).removeprefix("mlproject.lock: ")


def with_packages(lock: Lock, *packages) -> Lock:
    return replace(lock, python=replace(lock.python, packages=packages))


def test_a_marker_of_none_or_all_of_them(lock: Lock) -> None:
    alpha, beta = lock.python.packages
    for marker in ("sys_platform == 'linux'", marker_of(BOTH), "platform_machine == 'riscv64'"):
        assert refusal(with_packages(lock, alpha, replace(beta, marker=marker))) == (
            "python.packages[1].marker: not a marker of some of the platforms, and not of all\n"
            "expected: \"platform_machine == 'aarch64'\" or \"platform_machine == 'x86_64'\"\n"
            f"found: {marker}"
        )


def test_a_marker_in_a_lock_for_one(project: LockProject) -> None:
    one(project, AMD)
    lock = project.lock().lock
    alpha, beta = lock.python.packages
    said = refusal(with_packages(lock, alpha, replace(beta, marker=marker_of((AMD,)))))
    assert said == (
        "python.packages[1].marker: not a marker of some of the platforms, and not of all\n"
        "expected: none\nfound: platform_machine == 'x86_64'"
    )


def test_a_wheel_for_nobody_and_a_wheel_too_few(lock: Lock) -> None:
    alpha, beta = lock.python.packages
    windows = package("alpha", tag="cp311-cp311-win_amd64").wheels[0]
    wheels = tuple(sorted((*alpha.wheels, windows), key=lambda wheel: wheel.name))
    assert refusal(with_packages(lock, replace(alpha, wheels=wheels), beta)) == (
        "python.packages: the wheel alpha-1.0-cp311-cp311-win_amd64.whl is for no platform of "
        "this lock"
    )
    assert refusal(with_packages(lock, replace(alpha, wheels=alpha.wheels[:1]), beta)) == (
        "python.packages: no wheel of alpha is for linux/amd64"
    )


def test_one_package_twice_for_one_platform(lock: Lock) -> None:
    alpha, beta = lock.python.packages
    again = package("beta", "2.0")
    assert refusal(with_packages(lock, alpha, beta, again)) == (
        "python.packages: 'beta' is there twice for linux/amd64"
    )
    # `seal` sorts; only a forger writes this.
    swapped = dump_lock(with_packages(lock, beta, alpha))
    with pytest.raises(LockError):
        parse_lock(swapped, "mlproject.lock")


def test_debs_of_no_platform_and_twice(lock: Lock) -> None:
    def with_debs(*more) -> Lock:
        return replace(lock, system=(*lock.system, *more))

    at = next(i for i, item in enumerate(seal(with_debs()).system) if item.name == "libc6")
    assert refusal(with_debs(deb("zlib1g", architecture="riscv64"))) == (
        f"system[{len(lock.system)}].architecture: an architecture that is of no platform of this "
        "lock\nexpected: all or amd64 or arm64\nfound: riscv64"
    )
    assert refusal(with_debs(deb("libc6", "9", architecture="arm64"))) == (
        "system: 'libc6' is there twice for linux/arm64"
    )
    for wrong in (BOTH, ("linux/riscv64",)):
        zone = replace(deb("aaa", architecture="all"), platforms=wrong)
        assert refusal(with_debs(zone)) == (
            "system[0].platforms: only for a package of architecture all that not all platforms "
            f"have\nfound: {', '.join(wrong)}"
        )
    libc = replace(lock.system[at], platforms=(AMD,))
    others = tuple(item for i, item in enumerate(lock.system) if i != at)
    assert "only for a package of architecture all" in refusal(
        replace(lock, system=(*others, libc))
    )
