"""Why a layer is another one: bytecode, and bases that are images, beyond the small world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mllock.core.digest import sha256_of
from mllock.image.types import Layer
from mllock.workflows.changes import Facts, Package, image_changes, layer_changes


def sha(text: str) -> Any:
    return sha256_of(text.encode())


def layer(kind: Any, name: str) -> Layer:
    digest = sha(name)
    return Layer(kind=kind, title=name, digest=digest, diff_id=digest, size=1, unpacked=1)


def package(name: str, version: str, where: str, kind: str = "pypi") -> Package:
    return Package(name=name, kind=kind, version=version, sha256=version * 8, layer=sha(where))


BEFORE = Facts(
    diff_ids=(sha("base"), sha("numpy 1"), sha("library"), sha("bytecode of numpy 1")),
    frame=sha("numpy 1"),
    wheels={sha("bytecode of numpy 1"): sha("numpy 1")},
    packages=(
        package("libpython3.11-stdlib", "3.11.2-6", "base", "deb"),
        package("zlib1g", "1", "base", "deb"),
        package("numpy", "1", "numpy 1"),
    ),
    files={},
    settings={},
    params={},
    model=None,
    run=None,
    python="3.11.2",
    base="debian:bookworm",
    base_digest=None,
    bytecode=True,
    builder_format="0",
    mllock="0.1.0",
)


def test_bytecode_of_an_updated_package() -> None:
    now = replace(
        BEFORE,
        diff_ids=(sha("base"), sha("numpy 2"), sha("library"), sha("bytecode of numpy 2")),
        frame=sha("numpy 2"),
        wheels={sha("bytecode of numpy 2"): sha("numpy 2")},
        packages=(*BEFORE.packages[:2], package("numpy", "2", "numpy 2")),
    )
    expected = ("numpy 1 -> 2 (lock)",)
    assert layer_changes(BEFORE, now, layer("python", "numpy 2")) == expected
    assert layer_changes(BEFORE, now, layer("bytecode", "bytecode of numpy 2")) == expected
    assert layer_changes(BEFORE, now, layer("bytecode", "library")) == ()
    assert image_changes(BEFORE, now) == ()


def test_bytecode_of_the_standard_library() -> None:
    """Of the base's packages only those that hold it are told."""
    now = replace(
        BEFORE,
        diff_ids=(sha("base 2"), sha("numpy 1"), sha("library 2"), sha("bytecode of numpy 1")),
        packages=(
            package("libpython3.11-stdlib", "3.11.2-7", "base 2", "deb"),
            package("zlib1g", "2", "base 2", "deb"),
            package("numpy", "1", "numpy 1"),
        ),
    )
    assert layer_changes(BEFORE, now, layer("bytecode", "library 2")) == (
        "libpython3.11-stdlib 3.11.2-6 -> 3.11.2-7 (lock)",
    )
    assert layer_changes(BEFORE, now, layer("base", "base 2")) == (
        "2 debs updated: libpython3.11-stdlib 3.11.2-6 -> 3.11.2-7, zlib1g 1 -> 2 (lock)",
    )


def test_bytecode_comes_and_goes() -> None:
    without = replace(BEFORE, bytecode=False, wheels={}, diff_ids=BEFORE.diff_ids[:2])
    made = layer("bytecode", "bytecode of numpy 1")
    assert layer_changes(without, BEFORE, made) == ("bytecode is shipped from now on",)
    assert image_changes(without, BEFORE) == ()
    assert image_changes(BEFORE, without) == ("bytecode is no longer shipped",)


@pytest.mark.parametrize(
    ("base", "digest", "expected"),
    [
        ("example.org/python:3.11", sha("new"), f"base example.org/python:3.11: "
         f"{sha('old')[7:19]} -> {sha('new')[7:19]} (lock)"),
        ("example.org/python:3.12", sha("new"),
         "base example.org/python:3.11 -> example.org/python:3.12"),
        ("debian:bookworm", None, "base example.org/python:3.11 -> debian:bookworm"),
    ],
)  # fmt: skip
def test_another_base(base: str, digest: Any, expected: str) -> None:
    before = replace(BEFORE, base="example.org/python:3.11", base_digest=sha("old"), packages=())
    now = replace(before, base=base, base_digest=digest, diff_ids=(sha("base 2"),))
    assert layer_changes(before, now, layer("base", "base 2")) == (expected,)


def test_another_python() -> None:
    now = replace(BEFORE, python="3.11.3", diff_ids=(sha("x"), sha("y")))
    assert layer_changes(BEFORE, now, layer("python", "x")) == ("Python 3.11.2 -> 3.11.3",)
    assert layer_changes(BEFORE, now, layer("bytecode", "y")) == ("Python 3.11.2 -> 3.11.3",)
