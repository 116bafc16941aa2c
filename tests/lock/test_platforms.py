"""Several platforms in one lock: what they share, one taken out again, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.pylock import Pylock
from support.lock_platforms import AMD, ARM, BOTH, one, project
from support.lock_project import LockProject
from support.locks import BASE, deb, package

from mllock.core.digest import sha256_of
from mllock.errors import InputError, IntegrityError, LockError, ResolutionError
from mllock.lock.format import dump_lock, parse_lock
from mllock.lock.platforms import (
    markers,
    merge_python,
    merge_system,
    narrowed,
    pick,
    ranks,
)
from mllock.lock.ports import SystemResolution, Upgrade
from mllock.lock.target import Target
from mllock.lock.types import Base, BaseLayer, BasePlatform, Wheel
from mllock.workflows.lock import check_lock

__all__ = ["project"]

GOLDEN = Path(__file__).parent / "goldens" / "v1-platforms.lock"


def test_what_a_lock_for_two_looks_like(project: LockProject, golden) -> None:
    project.python.only = {(ARM, "beta"): None}
    project.system.more = {AMD: ("only-there",)}
    project.lock()
    golden(GOLDEN, project.path.read_bytes())
    assert check_lock(project.ctx) == ()


def test_lock_then_check_and_nothing_to_do(project: LockProject) -> None:
    result = project.lock()
    assert result.written
    assert check_lock(project.ctx) == ()
    assert not project.lock().written
    assert project.asked() == (2, 2)
    assert [request.platform for request in project.python.requests] == list(BOTH)


def test_the_order_of_platforms_is_no_input(project: LockProject) -> None:
    before = project.lock().lock
    project.change(f'platforms = ["{ARM}", "{AMD}"]', f'platforms = ["{AMD}", "{ARM}"]')
    assert not project.lock().written
    assert project.current()[0] == before


@pytest.mark.parametrize("platform", BOTH)
def test_a_part_is_what_a_lock_for_it_alone_holds(project: LockProject, platform: str) -> None:
    project.python.only = {(AMD, "beta"): None}
    project.system.more = {ARM: ("only-there",)}
    whole = project.lock().lock
    part = narrowed(whole, platform)
    one(project, platform)
    alone = project.lock(fresh=True).lock
    assert part.content_digest == whole.content_digest
    assert replace(part, content_digest=alone.content_digest, inputs=alone.inputs) == alone
    assert narrowed(alone, platform) is alone


def test_a_platform_that_is_not_there(project: LockProject) -> None:
    one(project, AMD)
    with pytest.raises(InputError) as caught:
        narrowed(project.lock().lock, ARM)
    assert str(caught.value) == (
        "mlproject.lock: the lock is not for linux/arm64\nfound: linux/amd64\n"
        "hint: name it in [environment] platforms, then run: mllock lock"
    )


def test_it_is_a_pylock_that_installers_read(project: LockProject) -> None:
    project.python.only = {(ARM, "beta"): None}
    lock = project.lock().lock
    import tomllib

    pylock = Pylock.from_dict(tomllib.loads(dump_lock(lock).decode())["python"])
    for platform in BOTH:
        machine = {AMD: "x86_64", ARM: "aarch64"}[platform]
        environment = {"platform_machine": machine, "sys_platform": "linux"}
        environment["implementation_name"] = "cpython"
        mine = [
            item.name
            for item in pylock.packages
            if item.marker is None or item.marker.evaluate(environment)
        ]
        assert mine == [item.name for item in narrowed(lock, platform).python.packages]


def test_a_platform_more_moves_no_pin(project: LockProject) -> None:
    one(project, AMD)
    project.lock()
    project.python.newest = "2.0"
    project.change(f'platforms = ["{AMD}"]', f'platforms = ["{AMD}", "{ARM}"]')
    assert project.changes() == [
        "Added base-files 1.0-1 (linux/arm64)",
        "Added libc6 2.36-9+deb12u14 (linux/arm64)",
        "Added libgomp1 1.0-1 (linux/arm64)",
        "Added alpha 1.0 (linux/arm64)",
        "Added beta 1.0 (linux/arm64)",
    ]
    one_again = f'platforms = ["{ARM}"]'
    project.change(f'platforms = ["{AMD}", "{ARM}"]', one_again)
    assert project.changes()[-1] == "Removed beta 1.0 (linux/amd64)"


def test_an_upgrade_moves_all_platforms_and_is_said_once(project: LockProject) -> None:
    project.lock()
    project.python.newest = "2.0"
    assert project.changes(upgrade=Upgrade(names=frozenset({"alpha"}))) == [
        "Updated alpha 1.0 -> 2.0"
    ]
    assert project.changes(upgrade=Upgrade(all=True)) == ["Updated beta 1.0 -> 2.0"]


def test_what_one_platform_does_not_have_yet_waits_on_the_other(project: LockProject) -> None:
    """The newest of alpha has no wheel for arm64: both get the version that both have."""
    project.python.newest = "2.0"
    project.python.only = {(ARM, "alpha"): "1.0"}
    lock = project.lock().lock
    assert [(item.name, item.version) for item in lock.python.packages] == [
        ("alpha", "1.0"),
        ("beta", "2.0"),
    ]
    assert [line for line in project.reporter.lines if line.startswith("warn")] == []


def test_what_has_no_version_in_common_differs_and_is_said(project: LockProject) -> None:
    project.python.only = {(AMD, "alpha"): "2.0", (ARM, "alpha"): "1.0"}
    lock = project.lock().lock
    assert [(i.name, i.version, i.marker) for i in lock.python.packages] == [
        ("alpha", "1.0", "platform_machine == 'aarch64'"),
        ("alpha", "2.0", "platform_machine == 'x86_64'"),
        ("beta", "1.0", None),
    ]
    assert [line for line in project.reporter.lines if line.startswith("warn")] == [
        "warn: alpha is not of one version on all platforms: 2.0 on linux/amd64, 1.0 on linux/arm64"
    ]
    assert check_lock(project.ctx) == ()
    assert not project.lock().written
    # Another dependency moves neither.
    project.change('"beta"]', '"beta", "gamma"]')
    assert project.changes() == ["Added gamma 1.0"]


def test_a_pin_is_not_given_up_for_a_platform_that_is_new(project: LockProject) -> None:
    one(project, AMD)
    project.python.newest = "2.0"
    project.lock()
    project.python.only = {(ARM, "alpha"): "1.0"}
    project.change(f'platforms = ["{AMD}"]', f'platforms = ["{AMD}", "{ARM}"]')
    assert "Added alpha 1.0 (linux/arm64)" in project.changes()
    lock = project.current()[0]
    assert narrowed(lock, AMD).python.packages[0].version == "2.0"


def test_pip_tools_and_a_foreign_platform(project: LockProject) -> None:
    from mllock.core.platform import host_platform
    from mllock.workflows.lock import lock_project

    other = ARM if host_platform() != ARM else AMD
    project.change('resolver = "uv"\n', "")
    with pytest.raises(ResolutionError) as caught:
        lock_project(project.ctx)
    assert str(caught.value) == (
        "mlproject.toml: environment.resolver: pip-tools resolves for the platform that mllock "
        f"runs on\nexpected: {other}\nfound: {host_platform()}\n"
        'hint: write resolver = "uv" in [environment]: it resolves for any platform'
    )


# Parts that do not go together.


def test_an_archive_that_changed_meanwhile() -> None:
    libc = deb("libc6")
    first = SystemResolution(base=BASE, packages=(libc,))
    index = replace(BASE.indexes[0], inrelease="sha256:" + "9" * 64)
    later = replace(first.base, indexes=(index,))
    with pytest.raises(ResolutionError) as caught:
        merge_system({AMD: first, ARM: SystemResolution(base=later, packages=(libc,))})
    assert str(caught.value) == (
        "the archive changed while it was read for several platforms\n"
        "hint: run the same command again"
    )
    older = replace(first.base, python="3.11.1")
    with pytest.raises(ResolutionError) as caught:
        merge_system({AMD: first, ARM: SystemResolution(base=older, packages=(libc,))})
    assert str(caught.value) == (
        "the base has another Python on another platform\n"
        "expected: 3.11.2, as on linux/amd64\nfound: 3.11.1 on linux/arm64\n"
        "hint: wait until the archive has built both, or lock one platform"
    )


def test_one_wheel_with_two_contents() -> None:
    item = package("alpha")
    other = replace(item.wheels[0], hashes={"sha256": "0" * 64})
    with pytest.raises(IntegrityError) as caught:
        merge_python({AMD: [item], ARM: [replace(item, wheels=(other,))]})
    assert str(caught.value) == (
        "the index serves other bytes for alpha-1.0-py3-none-any.whl than it did a moment ago\n"
        f"expected: sha256:{item.wheels[0].hashes['sha256']}\nfound: sha256:{'0' * 64}\n"
        "hint: find out why: a released wheel never changes"
    )


# Which wheel an installer takes.


def wheel(name: str) -> Wheel:
    return Wheel(name=name, path=f"wheels/{name}", size=1, hashes={"sha256": "0" * 64})


def test_the_best_wheel_is_the_one_that_pip_takes() -> None:
    from packaging.tags import Tag
    from pip._internal.models.target_python import TargetPython

    target = Target(python="3.11.2", platform=ARM, glibc=(2, 36))
    theirs = TargetPython(
        platforms=list(target.platform_tags), py_version_info=(3, 11, 2), implementation="cp"
    ).get_sorted_tags()
    assert list(ranks(target)) == list(dict.fromkeys(str(tag) for tag in theirs))
    assert str(Tag("cp311", "abi3", "manylinux2014_aarch64")) in ranks(target)


def test_picking() -> None:
    rank = ranks(Target(python="3.11.2", platform=ARM, glibc=(2, 36)))
    pure = wheel("a-1-py3-none-any.whl")
    native = wheel("a-1-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl")
    newer = wheel("a-1-cp311-cp311-manylinux_2_28_aarch64.whl")
    foreign = wheel("a-1-cp311-cp311-manylinux_2_28_x86_64.whl")
    assert pick([pure, native, newer, foreign], rank) == newer
    assert pick([pure, native, foreign], rank) == native
    assert pick([pure, foreign], rank) == pure
    assert pick([foreign], rank) is None


def test_markers() -> None:
    assert markers((AMD,)) == frozenset()
    assert markers(BOTH) == {"platform_machine == 'x86_64'", "platform_machine == 'aarch64'"}


def test_a_lock_for_two_stays_readable() -> None:
    lock = parse_lock(GOLDEN.read_bytes(), GOLDEN.name)
    assert (
        lock.content_digest
        == "sha256:f67468daec6b2c843c80c9752ce45e53ca8dd099a3055a742a58c8d4b972f4a8"
    )
    assert [item.name for item in narrowed(lock, ARM).python.packages] == ["alpha"]
    assert dump_lock(lock) == GOLDEN.read_bytes()
    damaged = GOLDEN.read_bytes().replace(b'ecture = "arm64"', b'ecture = "all"', 1)
    with pytest.raises(LockError):
        parse_lock(damaged, GOLDEN.name)


def test_base_images_of_two_platforms_are_one_base() -> None:
    def base(platform: str, **changes) -> SystemResolution:
        pin = BasePlatform(
            platform=platform,
            manifest=sha256_of(platform.encode()),
            config=sha256_of(b"config"),
            config_size=2,
            glibc="2.36",
            layers=(
                BaseLayer(
                    digest=sha256_of(b"layer"),
                    diff_id=sha256_of(b"tar"),
                    size=5,
                    type="application/vnd.oci.image.layer.v1.tar+gzip",
                ),
            ),
            variables={},
        )
        facts = {
            "kind": "image",
            "reference": "registry.example.org/python:3.11",
            "python": "3.11.9",
            "interpreter": "/usr/local/bin/python3.11",
            "platforms": (pin,),
        }
        return SystemResolution(base=Base(**facts | changes), packages=())

    merged = merge_system({ARM: base(ARM), AMD: base(AMD)}).base
    assert [item.platform for item in merged.platforms] == list(BOTH)
    assert merged.on(ARM) == base(ARM).base.on(ARM)
    with pytest.raises(ResolutionError) as caught:
        merge_system({AMD: base(AMD), ARM: base(ARM, interpreter="/usr/bin/python3.11")})
    assert str(caught.value) == (
        "the base is another one on another platform\n"
        "expected: /usr/local/bin/python3.11, as on linux/amd64\n"
        "found: /usr/bin/python3.11 on linux/arm64\n"
        "hint: name a base that has its Python in one place on all platforms"
    )
