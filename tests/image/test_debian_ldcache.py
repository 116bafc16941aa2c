from __future__ import annotations

import ctypes.util
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ldcache import entries, shared_object

from mllock.image.debian_ldcache import ld_so_cache, soname_of
from mllock.image.debian_tree import DebianTree


def test_what_ldconfig_would_list() -> None:
    tree = DebianTree({})
    tree.link("lib", "usr/lib")
    multi = "usr/lib/x86_64-linux-gnu"
    tree.file(f"{multi}/libz.so.1.2", shared_object("libz.so.1"))
    tree.link(f"{multi}/libz.so.1", "libz.so.1.2")
    tree.link(f"{multi}/libz.so", "libz.so.1")
    tree.file(f"{multi}/liba.so.10", shared_object("liba.so.10"))
    tree.file(f"{multi}/liba.so.9", shared_object("liba.so.9"))
    tree.file(f"{multi}/libplain.so", shared_object(None))
    tree.file(f"{multi}/libnolink.so.1.0", shared_object("libnolink.so.1"))
    tree.file(f"{multi}/libother.so.1", shared_object("libother.so.1", machine=3))
    tree.file(f"{multi}/libscript.so", b"INPUT ( -lz )")
    tree.link(f"{multi}/libdangling.so.1", "nowhere")
    tree.file(f"{multi}/plugin.so", shared_object("plugin.so"))
    tree.file("etc/ld.so.conf", b"include /etc/ld.so.conf.d/*.conf\n")
    tree.file("etc/ld.so.conf.d/x.conf", b"# mine\n/opt/x/lib\n")
    tree.file("opt/x/lib/liba.so.9", shared_object("liba.so.9"))
    assert entries(ld_so_cache(tree)) == [
        ("libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"),
        ("libz.so", "/lib/x86_64-linux-gnu/libz.so"),
        ("libplain.so", "/lib/x86_64-linux-gnu/libplain.so"),
        ("liba.so.10", "/lib/x86_64-linux-gnu/liba.so.10"),
        ("liba.so.9", "/opt/x/lib/liba.so.9"),
        ("liba.so.9", "/lib/x86_64-linux-gnu/liba.so.9"),
    ]


def test_an_empty_tree_has_an_empty_cache() -> None:
    assert entries(ld_so_cache(DebianTree({}))) == []


def test_the_format_is_the_one_that_glibc_reads_here() -> None:
    # Of the machine that runs the tests: its own cache, read by the same few lines.
    cache = Path("/etc/ld.so.cache").read_bytes()
    assert cache.startswith(b"glibc-ld.so.cache1.1")
    count, _ = struct.unpack_from("<II", cache, 20)
    assert count > 0
    key, value = struct.unpack_from("<4xII", cache, 48)
    name = cache[key : cache.index(b"\0", key)].decode()
    path = cache[value : cache.index(b"\0", value)].decode()
    assert path.endswith("/" + name)


def test_sonames_of_real_libraries() -> None:
    name = ctypes.util.find_library("c")
    assert name == "libc.so.6"
    for folder in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/lib"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            found = soname_of(memoryview(Path(path).read_bytes()))
            assert found is not None
            assert found[0] == name
            return
    pytest.fail("no libc.so.6 on this machine")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF",
        b"\x7fELF\x02\x01\x01" + bytes(100),
        shared_object("x")[:100],
        shared_object("x", kind=2),
        shared_object("x", machine=40),
        b"#!/bin/sh\n",
    ],
)
def test_what_is_no_shared_object(data: bytes) -> None:
    assert soname_of(memoryview(data)) is None


@given(st.binary(max_size=200), st.integers(0, 0x3FF))
def test_damaged_files_never_raise(noise: bytes, at: int) -> None:
    data = bytearray(shared_object("libx.so.1"))
    data[at : at + len(noise)] = noise
    found = soname_of(memoryview(bytes(data)))
    assert found is None or isinstance(found[0], str)
