"""ELF headers of real files, and of files that lie."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.elf import elf

from mllock.errors import ArchiveError
from mllock.image.elf import Elf, read_elf


def test_a_real_program() -> None:
    found = read_elf(Path(sys.executable).resolve().read_bytes())
    assert found.machine == os.uname().machine
    assert found.interpreter is not None
    assert Path(found.interpreter).exists()
    assert "libc.so.6" in found.needed


def test_what_a_header_says() -> None:
    data = elf(183, interpreter="/lib/ld-linux-aarch64.so.1", needed=("libc.so.6", "libm.so.6"))
    assert read_elf(data) == Elf(
        machine="aarch64",
        interpreter="/lib/ld-linux-aarch64.so.1",
        needed=("libc.so.6", "libm.so.6"),
        paths=(),
    )
    data = elf(62, needed=("libpython3.11.so.1.0",), runpath="$ORIGIN/../lib:/opt/lib")
    assert read_elf(data) == Elf(
        machine="x86_64",
        interpreter=None,
        needed=("libpython3.11.so.1.0",),
        paths=("$ORIGIN/../lib", "/opt/lib"),
    )
    assert read_elf(elf(243)).machine == "243"


WHOLE = elf(62, interpreter="/lib64/ld.so", needed=("libc.so.6",))


ENDLESS = "an ELF file with a name that does not end"
FOREIGN = "an ELF file with a name that is not UTF-8"
NAMELESS = "an ELF file without names for its libraries"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an ELF file"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fELF\x01\x01" + WHOLE[6:], "not a 64-bit little-endian ELF file"),
        (b"\x7fELF\x02\x02" + WHOLE[6:], "not a 64-bit little-endian ELF file"),
        (WHOLE[:40], "an ELF file that ends early"),
        (WHOLE[:100], "an ELF file that ends early"),
        (WHOLE[:54] + b"\x37\0" + WHOLE[56:], "an ELF file with a damaged program header"),
        (WHOLE.replace(b"/lib64/ld.so\0", b"/lib64/ld.s\xff\0"), FOREIGN),
        (WHOLE.replace(b"libc.so.6\0", b"libc.so.6\xff"), ENDLESS),
        (WHOLE.replace(b"libc.so.6\0", b"libc.so.\xff\0"), FOREIGN),
        (elf(62, needed=("libc.so.6",), strings=False), NAMELESS),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        read_elf(data)
    assert str(caught.value) == message


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=8))
def test_mutated_it_is_read_or_refused(at: int, data: bytes) -> None:
    with contextlib.suppress(ArchiveError):
        read_elf(WHOLE[:at] + data + WHOLE[at + len(data) :])
