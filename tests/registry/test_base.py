"""Locking a base that is an image: from a registry and from a layout; whole messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.base_image import BaseImage, elf, python_layer
from support.base_project import BaseProject, image
from support.small_registry import SmallRegistry

from mllock.core.platform import host_platform
from mllock.image.base_resolve import ImageBaseResolver
from mllock.lock.format import read_lock
from mllock.lock.ports import SystemRequest, Upgrade

AMD64 = "linux/amd64"


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("index", [False, True], ids=["image", "index"])
def test_a_tag_is_pinned(server: SmallRegistry, tmp_path: Path, docker: bool, index: bool) -> None:
    base = image(docker=docker)
    base.to_registry(server, "py", "3.11", index=index)
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    found = project.base_lock().base
    (pin,) = found.platforms
    assert (found.kind, found.reference, found.suite) == ("image", f"{server.host}/py:3.11", None)
    assert (found.python, found.interpreter) == ("3.11.9", "/usr/local/bin/python3.11")
    assert (pin.platform, pin.manifest, pin.glibc) == (AMD64, base.digest, "2.36")
    assert pin.config == base.manifest["config"]["digest"]
    assert [(layer.digest, layer.size, layer.type) for layer in pin.layers] == [
        (entry["digest"], entry["size"], entry["mediaType"]) for entry in base.manifest["layers"]
    ]
    assert pin.variables == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    assert str(project.result.changes[0]) == (
        f"Added {server.host}/py:3.11 with Python 3.11.9 ({base.digest[:19]})"
    )
    # What the wheels are for is what is in the base.
    assert project.python.requests[0].python == "3.11.9"
    assert project.python.requests[0].glibc == (2, 36)


def test_a_digest_with_a_tag_beside_it(server: SmallRegistry, tmp_path: Path) -> None:
    base = image()
    base.to_registry(server, "py", "3.11")
    reference = f"{server.host}/py:gone@{base.digest}"
    project = BaseProject(tmp_path, reference)
    assert project.base_lock().base.platforms[0].manifest == base.digest


def test_a_moved_tag_does_not_move_the_lock(server: SmallRegistry, tmp_path: Path) -> None:
    first, second = image("3.11.9"), image("3.11.10")
    first.to_registry(server, "py", "3.11")
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    project.base_lock()
    second.to_registry(server, "py", "3.11")
    asked = len(server.asked)
    project.base_lock()
    assert len(server.asked) == asked  # nothing changed, nobody is asked
    project.change('"beta"]', '"beta", "gamma"]')
    project.base_lock()
    assert len(server.asked) == asked
    # Another reason to look into the base, and still the same base.
    again = ImageBaseResolver(
        project.folder, project.ctx.cache, project.ctx.fetcher, project.environ, project.reporter
    ).resolve(
        SystemRequest(
            base=f"{server.host}/py:3.11",
            python="3.11",
            packages=(),
            platform=AMD64,
            mirror=None,
            pins={},
            upgrade=Upgrade(),
            previous=read_lock(project.path).base,
        )
    )
    assert again.base.platforms[0].manifest == first.digest
    assert len(server.asked) == asked
    found = project.base_lock(upgrade=Upgrade(all=True)).base
    assert (found.python, found.platforms[0].manifest) == ("3.11.10", second.digest)
    assert str(project.result.changes[0]) == (
        f"Updated {server.host}/py:3.11 with Python 3.11.9 ({first.digest[:19]}) -> "
        f"with Python 3.11.10 ({second.digest[:19]})"
    )


def test_fresh_forgets_the_pin(server: SmallRegistry, tmp_path: Path) -> None:
    first, second = image("3.11.9"), image("3.11.10")
    first.to_registry(server, "py", "3.11")
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    project.base_lock()
    second.to_registry(server, "py", "3.11")
    assert project.base_lock(fresh=True).base.platforms[0].manifest == second.digest


def test_a_layout_of_the_project(tmp_path: Path) -> None:
    base = image(packing="zstd")
    project = BaseProject(tmp_path, "oci:images/py")
    base.to_layout(project.folder / "images" / "py")
    found = project.base_lock().base
    assert (found.kind, found.reference) == ("oci", "oci:images/py")
    assert found.platforms[0].manifest == base.digest


def test_the_image_for_the_platform_is_taken(tmp_path: Path) -> None:
    arm = BaseImage(
        layers=[{"usr/bin/python3.11": elf(machine=183)}], platform="linux/arm64", env=None
    )
    project = BaseProject(tmp_path, "oci:py")
    base = image()
    arm.to_layout(project.folder / "py", base)
    assert project.base_lock().base.platforms[0].manifest == base.digest


def both(project: BaseProject) -> None:
    two = 'resolver = "uv"\nplatforms = ["linux/amd64", "linux/arm64"]'
    project.change(f'platforms = ["{host_platform()}"]', two)


def test_an_image_for_each_platform(server: SmallRegistry, tmp_path: Path) -> None:
    amd = image()
    arm = BaseImage(layers=[python_layer(machine=183)], platform="linux/arm64", packing="zstd")
    amd.to_registry(server, "py", "3.11", arm)
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    both(project)
    found = project.base_lock().base
    assert [(pin.platform, pin.manifest) for pin in found.platforms] == [
        ("linux/amd64", amd.digest),
        ("linux/arm64", arm.digest),
    ]
    assert found.on("linux/arm64") == found.platforms[1]


def test_another_platform_is_of_the_same_moment(server: SmallRegistry, tmp_path: Path) -> None:
    image("3.11.8").to_registry(server, "py", "3.11")
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    project.base_lock()
    arm = BaseImage(layers=[python_layer(machine=183)], platform="linux/arm64")
    image().to_registry(server, "py", "3.11", arm)
    both(project)
    found = project.base_lock().base
    assert [pin.manifest for pin in found.platforms] == [image().digest, arm.digest]
    # One of the two is enough again: the pin of that one stays.
    image("3.11.10").to_registry(server, "py", "3.11")
    project.change('platforms = ["linux/amd64", "linux/arm64"]', 'platforms = ["linux/amd64"]')
    assert [pin.manifest for pin in project.base_lock().base.platforms] == [image().digest]


def test_platforms_with_different_pythons(server: SmallRegistry, tmp_path: Path) -> None:
    arm = BaseImage(layers=[python_layer("3.11.8", machine=183)], platform="linux/arm64")
    image().to_registry(server, "py", "3.11", arm)
    project = BaseProject(tmp_path, f"{server.host}/py:3.11")
    both(project)
    assert project.refused() == (
        "the base has another Python on another platform\n"
        "expected: 3.11.9, as on linux/amd64\nfound: 3.11.8 on linux/arm64\n"
        "hint: wait until the archive has built both, or lock one platform"
    )
