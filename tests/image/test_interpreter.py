"""What is taken out of an image to compile with: all of it from the image, found as it would."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support.base_image import BaseImage, link
from support.elf import elf
from support.nodes import file, folder, hardlink, symlink
from support.pythons import tree_of, without
from support.reporter import Recorder

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError, IntegrityError
from mllock.image.bytecode_layers import layer_tree
from mllock.image.interpreter import Interpreter, place, read_interpreter
from mllock.image.tree import Node, Stored
from mllock.image.types import Layer
from mllock.store.cache import Cache
from mllock.store.other_json import OCI_TYPE

LOADER = "/lib64/ld-linux-x86-64.so.2"
PYTHON = elf(62, interpreter=LOADER, needed=("libc.so.6", "libpython3.11.so.1.0"))
LIBC = elf(62)
LIBPYTHON = elf(62, needed=("libc.so.6", "libodd.so.1"), runpath="$ORIGIN/own:/opt/odd")
ODD = elf(62, needed=("libc.so.6",))
ETC = b"# of Debian\n"

BASE = (
    folder("usr"),
    folder("usr/bin"),
    symlink("lib64", "usr/lib64"),
    symlink("lib", "usr/lib"),
    file("usr/lib64/ld-2.36.so", b"a loader", 0o755),
    symlink("usr/lib64/ld-linux-x86-64.so.2", "ld-2.36.so"),
    file("usr/bin/python3.11", PYTHON, 0o755),
    symlink("usr/bin/python3", "python3.11"),
    file("usr/lib/x86_64-linux-gnu/libc.so.6", LIBC),
    file("usr/lib/libpython3.11.so.1.0", LIBPYTHON),
    file("opt/odd/libodd.so.1", ODD),
    file("usr/lib/python3.11/os.py", b"os = 1\n"),
    file("usr/lib/python3.11/json/__init__.py", b"json = 1\n"),
    file("usr/lib/python3.11/LICENSE.txt", b"a licence"),
    file("usr/lib/python3.11/test/x.py", b"test"),
    file("usr/lib/python3.11/json/tests/y.py", b"test"),
    file("usr/lib/python3.11/dist-packages/z.py", b"other"),
    file("usr/lib/python3.11/lib-dynload/_codecs_jp.cpython-311.so", b"codec"),
    file("usr/lib/python3.11/lib-dynload/_ssl.cpython-311.so", b"ssl"),
    symlink("usr/lib/python3.11/sitecustomize.py", "/etc/python3.11/sitecustomize.py"),
    symlink("usr/lib/python3.11/gone.py", "/nowhere/gone.py"),
    file("etc/python3.11/sitecustomize.py", ETC),
    file("etc/passwd", b"root"),
)


def read(*layers: tuple[Node, ...], interpreter: str = "/usr/bin/python3.11") -> Interpreter:
    return read_interpreter(tree_of(*layers), interpreter, "3.11")


def test_everything_that_a_compile_can_depend_on() -> None:
    found = read(BASE)
    assert found == Interpreter(
        machine="x86_64",
        path="usr/bin/python3.11",
        program=PYTHON,
        loader=b"a loader",
        libraries={"libc.so.6": LIBC, "libodd.so.1": ODD, "libpython3.11.so.1.0": LIBPYTHON},
        codecs={"usr/lib/python3.11/lib-dynload/_codecs_jp.cpython-311.so": b"codec"},
        library="usr/lib/python3.11",
        sources={
            "usr/lib/python3.11/json/__init__.py": b"json = 1\n",
            "usr/lib/python3.11/os.py": b"os = 1\n",
            "usr/lib/python3.11/sitecustomize.py": ETC,
        },
        compiled=frozenset(),
    )
    assert read(BASE, interpreter="/usr/bin/python3") == found


def test_layers_are_read_again_only_for_what_is_unusual() -> None:
    usual = file("usr/bin/python3.11", elf(62, interpreter=LOADER, needed=("libc.so.6",)), 0o755)
    tree = tree_of((*without(BASE, usual.path), usual))
    read_interpreter(tree, "/usr/bin/python3.11", "3.11")
    assert tree.passes == 1  # type: ignore[attr-defined]
    tree = tree_of(BASE)
    read_interpreter(tree, "/usr/bin/python3.11", "3.11")
    assert tree.passes == 2  # type: ignore[attr-defined]  # libodd


def test_an_upper_layer_counts() -> None:
    upper = (
        file("usr/lib/python3.11/os.py", b"os = 2\n"),
        file("usr/lib/python3.11/.wh.json"),
        folder("usr/lib/python3.11/__pycache__"),
        file("usr/lib/python3.11/__pycache__/os.cpython-311.pyc", b"compiled"),
        file("usr/lib/python3.11/__pycache__/sitecustomize.cpython-310.pyc", b"compiled"),
    )
    whiteout = file("usr/lib/python3.11/.wh.json")
    found = read(BASE, without(upper, whiteout.path))
    assert found.sources["usr/lib/python3.11/os.py"] == b"os = 2\n"
    assert found.compiled == {"usr/lib/python3.11/os.py"}


@pytest.mark.parametrize(
    "changed",
    [
        file("usr/bin/python3.11", PYTHON + b"\0"),
        file("usr/lib64/ld-2.36.so", b"another loader"),
        file("usr/lib/x86_64-linux-gnu/libc.so.6", LIBC + b"\0"),
        file("opt/odd/libodd.so.1", ODD + b"\0"),
        file("usr/lib/python3.11/os.py", b"os = 2\n"),
        file("usr/lib/python3.11/lib-dynload/_codecs_jp.cpython-311.so", b"another codec"),
        file("usr/lib/python3.11/__pycache__/os.cpython-311.pyc", b"compiled"),
        file("usr/lib/python3.11/new.py", b""),
        file("etc/python3.11/sitecustomize.py", b"changed"),
    ],
    ids=lambda node: node.path,
)
def test_the_identity_follows_each_of_them(changed: Node) -> None:
    other = read((*without(BASE, changed.path), changed))
    assert other.identity != read(BASE).identity


def test_the_identity_follows_nothing_else() -> None:
    more = (
        file("etc/passwd", b"another"),
        file("usr/lib/x86_64-linux-gnu/libssl.so.3", b"unused"),
        file("usr/lib/python3.11/lib-dynload/_ssl.cpython-311.so", b"another"),
        file("usr/lib/python3.11/test/x.py", b"another test"),
    )
    other = read((*without(BASE, *(node.path for node in more)), *more))
    assert other.identity == read(BASE).identity


@pytest.mark.parametrize(
    ("removed", "added", "message"),
    [
        (
            "usr/bin/python3.11",
            (),
            "/usr/bin/python3.11: the base does not hold this file of its Python",
        ),
        (
            "usr/lib64/ld-2.36.so",
            (),
            f"{LOADER}: the base does not hold this file of its Python",
        ),
        (
            "usr/lib/python3.11/os.py",
            (),
            "/usr/lib/python3.11/os.py: the base does not hold this file of its Python",
        ),
        (
            "opt/odd/libodd.so.1",
            (),
            "usr/bin/python3.11: libodd.so.1: a library that it needs is not in the image",
        ),
        (
            "opt/odd/libodd.so.1",
            (file("opt/odd/libodd.so.1", elf(183)),),
            "opt/odd/libodd.so.1: a library for another machine\nexpected: x86_64\nfound: aarch64",
        ),
        (
            "usr/bin/python3.11",
            (file("usr/bin/python3.11", b"#!/bin/sh\n", 0o755),),
            "usr/bin/python3.11: not an ELF file",
        ),
        (
            "usr/bin/python3.11",
            (file("usr/bin/python3.11", elf(62), 0o755),),
            "usr/bin/python3.11: not a program that a loader starts",
        ),
        (
            "usr/bin/python3.11",
            (symlink("usr/bin/python3.11", "python3"),),
            "/usr/bin/python3.11: loop of symbolic links",
        ),
        (
            "usr/bin/python3.11",
            (file("usr/bin/python3.11", elf(62, interpreter=LOADER, needed=("../x",)), 0o755),),
            "usr/bin/python3.11: libraries that are not read here\nfound: ../x",
        ),
    ],
)
def test_refused(removed: str, added: tuple[Node, ...], message: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        read((*without(BASE, removed), *added))
    assert str(caught.value) == message


def test_links_out_of_the_image_lead_into_it() -> None:
    """A link to /etc/... is the image's /etc, and ".." ends at its root."""
    base = (
        *without(BASE, "usr/bin/python3.11"),
        symlink("usr/bin/python3.11", "../../../../../opt/own/python"),
        msgspec.structs.replace(hardlink("opt/own/python", "opt/first"), mode=0o755),
        file("opt/first", PYTHON, 0o755),
    )
    with pytest.raises(ArchiveError) as caught:
        read(base)
    # The library is looked for where the interpreter really is.
    assert str(caught.value) == (
        "/opt/lib/python3.11/os.py: the base does not hold this file of its Python"
    )


def test_placed_privately(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        words = place(read(BASE), tmp_path)
    finally:
        os.umask(old)
    assert words == (
        "./loader",
        "--inhibit-cache",
        "--library-path",
        "libraries",
        "usr/bin/python3.11",
    )
    found = {str(p.relative_to(tmp_path)): p for p in tmp_path.rglob("*") if not p.is_dir()}
    assert sorted(found) == [
        "libraries/libc.so.6",
        "libraries/libodd.so.1",
        "libraries/libpython3.11.so.1.0",
        "loader",
        "usr/bin/python3.11",
        "usr/lib/python3.11/json/__init__.py",
        "usr/lib/python3.11/lib-dynload/_codecs_jp.cpython-311.so",
        "usr/lib/python3.11/os.py",
        "usr/lib/python3.11/sitecustomize.py",
    ]
    assert all(p.is_file() and not p.is_symlink() for p in found.values())
    assert {p.stat().st_mode & 0o777 for p in found.values()} == {0o700}


@pytest.mark.parametrize("packing", ["gzip", "zstd", "none"])
def test_out_of_an_image_that_another_tool_made(tmp_path: Path, packing: str) -> None:
    """Times, names of owners, "./" and compressions that mllock does not write."""
    files = {
        node.path: node.content.data
        for node in BASE
        if isinstance(node.content, Stored) and isinstance(node.content.data, bytes)
    }
    links = {node.path: link(node.target) for node in BASE if node.target is not None}
    image = BaseImage(layers=[files | links], packing=packing, docker=packing != "zstd")
    (there,) = image.manifest["layers"]
    cache = Cache(tmp_path, Recorder())
    cache.put_bytes(image.blobs[there["digest"]])
    base = Layer(
        kind="base",
        title="an image (1 of 1)",
        digest=there["digest"],
        diff_id=json.loads(image.blobs[image.manifest["config"]["digest"]])["rootfs"]["diff_ids"][
            0
        ],
        size=there["size"],
        unpacked=0,
        media_type=OCI_TYPE[there["mediaType"]],
    )
    found = read_interpreter(layer_tree(cache, [base]), "/usr/bin/python3.11", "3.11")
    assert found == read(BASE)
    other = layer_tree(cache, [replace(base, diff_id=sha256_of(b"another"))])
    with pytest.raises(IntegrityError) as caught:
        read_interpreter(other, "/usr/bin/python3.11", "3.11")
    assert caught.value.message == "a layer of the cache is not what its entry says"
    gone = layer_tree(cache, [replace(base, digest=sha256_of(b"another"))])
    with pytest.raises(IntegrityError) as caught:
        read_interpreter(gone, "/usr/bin/python3.11", "3.11")
    assert caught.value.message == "a layer is not in the cache any more"
