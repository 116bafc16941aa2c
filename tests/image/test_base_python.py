"""Finding a base's Python and C library without running them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.base_image import binary, elf, libc, link, python_layer, tree_of

from mllock.errors import ResolutionError
from mllock.image.base_python import find_glibc, find_pythons

AMD64 = "linux/amd64"
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def found(tmp_path: Path, files: dict[str, Any], variables: dict[str, str] = PATH) -> list[str]:
    return [str(python) for python in find_pythons(tree_of(tmp_path, files), variables, AMD64)]


def test_the_order_is_that_of_path(tmp_path: Path) -> None:
    files = python_layer("3.12.4") | {"usr/bin/python3.11": binary("3.11.2")}
    assert found(tmp_path, files) == [
        "Python 3.12.4 (/usr/local/bin/python3.12)",
        "Python 3.11.2 (/usr/bin/python3.11)",
    ]
    (tmp_path / "other").mkdir()
    assert found(tmp_path / "other", files, {"PATH": "/bin:/usr/local/bin"}) == [
        # /bin is a link to /usr/bin, and PATH is what was written.
        "Python 3.11.2 (/bin/python3.11)",
        "Python 3.12.4 (/usr/local/bin/python3.12)",
    ]


def test_without_a_path_it_is_that_of_engines(tmp_path: Path) -> None:
    assert found(tmp_path, python_layer("3.11.9"), {}) == [
        "Python 3.11.9 (/usr/local/bin/python3.11)"
    ]


@pytest.mark.parametrize(
    ("files", "version"),
    [
        # A shared build: the version is in the library.
        (
            {
                "usr/local/bin/python3.11": elf(),
                "usr/local/lib/libpython3.11.so.1.0": binary("3.11.9"),
                "usr/local/lib/libpython3.12.so.1.0": binary("3.12.1"),
            },
            "3.11.9",
        ),
        # Stripped of it: the header says it.
        (
            {
                "usr/local/bin/python3.11": elf(),
                "usr/local/include/python3.11/patchlevel.h": b'#define PY_VERSION  "3.11.7+"\n',
            },
            "3.11.7",
        ),
        # The binary is what runs, whatever the header says.
        (
            {
                "usr/local/bin/python3.11": binary("3.11.9"),
                "usr/local/include/python3.11/patchlevel.h": b'#define PY_VERSION "3.11.7"\n',
            },
            "3.11.9",
        ),
        ({"opt/py/bin/python": binary("3.13.0rc2"), "usr/local/bin": link("/opt/py/bin")}, None),
        ({"usr/local/bin/python3": binary("3.10.1")}, "3.10.1"),
    ],
    ids=["library", "header", "binary first", "link to a folder", "python3 only"],
)
def test_where_the_version_is(tmp_path: Path, files: dict[str, Any], version: str | None) -> None:
    name = "python" if version is None else min(f for f in files if "/bin/" in f)
    name = name.rpartition("/")[2]
    assert found(tmp_path, files) == [f"Python {version or '3.13.0rc2'} (/usr/local/bin/{name})"]


@pytest.mark.parametrize(
    "files",
    [
        {"usr/bin/python3": b"#!/bin/sh\nexec /opt/hidden/python\n"},
        {"usr/bin/python3.11": elf()},
        {"usr/bin/python3.11": binary("3.12.1")},
        {"usr/bin/python3.11": elf() + b"\x003.11.1\x00\x003.11.2\x00"},
        {"usr/bin/python3.11-config": binary("3.11.1")},
        {"usr/bin/python3": link("nowhere")},
        {"root/python3.11": binary("3.11.1")},
    ],
    ids=["script", "silent", "other minor", "two versions", "config", "dangling", "not on PATH"],
)
def test_what_is_no_python(tmp_path: Path, files: dict[str, Any]) -> None:
    assert found(tmp_path, files) == []


def test_a_python_for_another_machine(tmp_path: Path) -> None:
    with pytest.raises(ResolutionError) as caught:
        found(tmp_path, {"usr/bin/python3.11": binary("3.11.2", machine=183)})
    assert str(caught.value) == (
        "/usr/bin/python3.11 of the base is for another machine\n"
        "expected: linux/amd64\nfound: linux/arm64"
    )


@pytest.mark.parametrize(
    "path", ["lib/x86_64-linux-gnu/libc.so.6", "usr/lib/libc.so.6", "lib64/libc.so.6"]
)
def test_the_c_library(tmp_path: Path, path: str) -> None:
    assert find_glibc(tree_of(tmp_path, {path: libc("2.41")}), AMD64) == "2.41"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"lib/ld-musl-x86_64.so.1": elf()}, "the base has the C library musl"),
        ({"lib/libc.so.6": elf()}, "the base has no C library of GNU's"),
    ],
    ids=["musl", "none"],
)
def test_another_c_library(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        find_glibc(tree_of(tmp_path, files), AMD64)
    assert str(caught.value) == (
        f"{message}\nexpected: glibc, for which wheels of Python packages are built\n"
        "hint: take a base that is made of Debian, e.g. the slim variant of the image"
    )
