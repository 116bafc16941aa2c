from __future__ import annotations

import contextlib
import gzip
import lzma
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.debian import ar, make_deb, member, tar_of

from mllock.errors import ArchiveError, MllockError
from mllock.lock.debian.deb import Entry, identify, open_deb, read_tar

DEB = make_deb(
    "hello",
    files={
        "usr": "folder",
        "usr/bin": "folder",
        "usr/bin/hello": b"#!/bin/sh\n",
        "usr/bin/hi": "-> hello",
        "usr/bin/hey": "hard usr/bin/hello",
    },
    scripts={"postinst": "#!/bin/sh\n"},
)


def entries(path: Path, data: bytes) -> list[Entry]:
    path.write_bytes(data)
    return list(open_deb(path, "hello.deb").entries())


def refused(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(MllockError) as caught:
        entries(tmp_path / "hello.deb", data)
    return str(caught.value)


def test_a_package_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hello.deb"
    path.write_bytes(DEB)
    deb = open_deb(path, "hello.deb")
    assert sorted(deb.control) == ["control", "md5sums", "postinst"]
    found = [(entry.path, entry.kind, entry.mode, entry.target) for entry in deb.entries()]
    assert found == [
        ("usr", "folder", 0o755, None),
        ("usr/bin", "folder", 0o755, None),
        ("usr/bin/hello", "file", 0o755, None),
        ("usr/bin/hi", "symlink", 0o777, "hello"),
        ("usr/bin/hey", "hardlink", 0o644, "usr/bin/hello"),
    ]
    assert [bytes(entry.data) for entry in deb.entries()][2] == b"#!/bin/sh\n"
    assert {(entry.user, entry.group) for entry in deb.entries()} == {("root", "root")}


PACKINGS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("part", ["control", "data"])
def test_compressions(tmp_path: Path, part: str, suffix: str) -> None:
    parts = {
        "control": tar_of([(member("./control"), b"Package: hello\n")]),
        "data": tar_of([(member("./a"), b"1")]),
    }
    names = {name: f"{name}.tar{suffix if name == part else ''}" for name in parts}
    packed = {names[name]: PACKINGS[suffix if name == part else ""](parts[name]) for name in parts}
    (entry,) = entries(tmp_path / "x", ar([("debian-binary", b"2.0\n"), *packed.items()]))
    assert bytes(entry.data) == b"1"
    name = f"{part}.tar{suffix}"
    if suffix:
        # Each is exactly one whole stream.
        whole = packed[name]
        for wrong in (whole[:-1], whole[: len(whole) // 2], whole + b"x", whole * 2, b""):
            damaged = ar([("debian-binary", b"2.0\n"), *(packed | {name: wrong}).items()])
            assert refused(tmp_path, damaged) == f"hello.deb: damaged {name}: not one whole stream"


@pytest.mark.tools
@pytest.mark.parametrize("packing", ["none", "gzip", "xz", "zstd"])
@pytest.mark.parametrize("uniform", [True, False])
def test_packages_that_dpkg_deb_made(tmp_path: Path, packing: str, *, uniform: bool) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN").chmod(0o755)
    (tree / "DEBIAN/control").write_text(
        "Package: hello\nVersion: 1.0\nArchitecture: amd64\nMaintainer: A <a@example.org>\n"
        "Description: a package\n"
    )
    (tree / "usr/bin").mkdir(parents=True)
    body = bytes(range(256)) * 5000
    (tree / "usr/bin/hello").write_bytes(body)
    (tree / "usr/bin/hi").symlink_to("hello")
    built = tmp_path / "hello.deb"
    command = ["dpkg-deb", "--root-owner-group", f"-Z{packing}"]
    command += [f"--{'' if uniform else 'no-'}uniform-compression", "--build", str(tree)]
    subprocess.run([*command, str(built)], check=True, capture_output=True)
    deb = open_deb(built, "hello.deb")
    identify(deb, "hello", "1.0", "amd64")
    suffix = {"none": "", "gzip": ".gz", "xz": ".xz", "zstd": ".zst"}[packing]
    assert deb.data_name == f"data.tar{suffix}"
    found = {entry.path: (entry.kind, bytes(entry.data)) for entry in deb.entries()}
    assert found["usr/bin/hello"] == ("file", body)
    assert found["usr/bin/hi"] == ("symlink", b"")


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_in_every_format(tmp_path: Path, style: int) -> None:
    long = "usr/share/" + "d" * 80 + "/" + "f" * 80
    members = [(member(f"./{long}"), b"1")]
    if style != tarfile.USTAR_FORMAT:
        target = "t" * 150
        members.append((member("./link", kind=tarfile.SYMTYPE, target=target), b""))
    deb = make_deb("hello", data=("data.tar", tar_of(members, style=style)))
    found = entries(tmp_path / "x", deb)
    assert found[0].path == long
    assert [entry.target for entry in found[1:]] == ["t" * 150] * (len(members) - 1)


def test_a_compression_that_is_not_known(tmp_path: Path) -> None:
    assert refused(tmp_path, make_deb("hello", data=("data.tar.bz2", b""))) == (
        "hello.deb: data.tar.bz2 is compressed in a way that is not known\n"
        "expected: none, gz, xz or zst\n"
        "found: bz2"
    )


def test_not_a_package(tmp_path: Path) -> None:
    assert refused(tmp_path, b"PK") == "hello.deb: not an ar archive"
    assert refused(tmp_path, ar([("debian-binary", b"2.0\n")])) == (
        "hello.deb: not a Debian package\nfound: debian-binary"
    )
    odd = ar([("debian-binary", b"3.0\n"), ("control.tar", b""), ("data.tar", b"")])
    assert refused(tmp_path, odd) == "hello.deb: not a Debian package of format 2.0"
    extra = DEB + ar([("data.tar.gz", b"")])[8:]
    assert refused(tmp_path, extra) == (
        "hello.deb: not a Debian package\n"
        "found: debian-binary, control.tar.xz, data.tar.xz, data.tar.gz"
    )
    empty = tar_of([])
    bare = ar([("debian-binary", b"2.0\n"), ("control.tar", empty), ("data.tar", empty)])
    assert refused(tmp_path, bare) == "hello.deb: no control file in the package"
    assert refused(tmp_path, DEB + b"x") == "hello.deb: damaged ar header"
    assert refused(tmp_path, DEB[:-9]) == "hello.deb: data.tar.xz: truncated ar member"


@pytest.mark.parametrize(
    ("field", "value"), [("name", "bye"), ("version", "2.0"), ("architecture", "arm64")]
)
def test_a_package_that_is_another_one(tmp_path: Path, field: str, value: str) -> None:
    path = tmp_path / "hello.deb"
    path.write_bytes(DEB)
    deb = open_deb(path, "hello.deb")
    locked = {"name": "hello", "version": "1.0", "architecture": "amd64"}
    identify(deb, **locked)
    with pytest.raises(ArchiveError) as caught:
        identify(deb, **locked | {field: value})
    key = {"name": "Package"}.get(field, field.capitalize())
    assert str(caught.value) == (
        f"hello.deb: {key}: the package says that it is another one than the lock does\n"
        f"expected: {value}\nfound: {locked[field]}"
    )


def test_a_package_that_is_two(tmp_path: Path) -> None:
    path = tmp_path / "hello.deb"
    path.write_bytes(make_deb("hello", fields={"package": "bye"}))
    with pytest.raises(ArchiveError) as caught:
        identify(open_deb(path, "hello.deb"), "hello", "1.0", "amd64")
    assert caught.value.found == "hello, bye"


def test_damaged_streams(tmp_path: Path) -> None:
    packed = lzma.compress(tar_of([(member("./a"), b"1" * 1000)]))
    flipped = bytearray(packed)
    flipped[40] ^= 1
    assert "hello.deb: damaged data.tar.xz: " in refused(
        tmp_path, make_deb("hello", data=("data.tar.xz", bytes(flipped)))
    )
    for stream in (packed[:-8], packed + packed):
        assert refused(tmp_path, make_deb("hello", data=("data.tar.xz", stream))) == (
            "hello.deb: damaged data.tar.xz: not one whole stream"
        )


def test_damaged_tars(tmp_path: Path) -> None:
    data = bytearray(tar_of([(member("./a"), b"1")]))
    assert refused(tmp_path, make_deb("hello", data=("data.tar", bytes(data[:700])))) == (
        "hello.deb: truncated tar"
    )
    data[0] ^= 1
    assert refused(tmp_path, make_deb("hello", data=("data.tar", bytes(data)))) == (
        "hello.deb: tar header with a wrong checksum"
    )


NAMES = st.text(
    st.characters(exclude_characters="/\0\n", exclude_categories=["Cs"]), min_size=1, max_size=120
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=5))
def test_what_tarfile_writes_is_read_back(files: dict[str, bytes]) -> None:
    data = tar_of([(member(f"./{name}"), body) for name, body in files.items()])
    found = {entry.path: bytes(entry.data) for entry in read_tar(memoryview(data), "x")}
    assert found == files


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_tar_is_an_archive_error_or_readable(at: int, value: int) -> None:
    data = bytearray(tar_of([(member("./a"), b"1" * 600), (member("./b"), b"2")]))
    data[at % len(data)] = value
    with contextlib.suppress(ArchiveError):
        list(read_tar(memoryview(data), "x"))
