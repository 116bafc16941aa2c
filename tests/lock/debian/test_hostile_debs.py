"""Debian packages that two readers could understand differently, or that fill the memory: refused,
each by its own message. One table for the tar in a package, one for the archive around it."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from pathlib import Path

import pytest
import zstandard
from support.debian import ar, make_deb, member, tar_of

from mllock.errors import MllockError
from mllock.lock.debian.deb import Entry, open_deb


def entries(path: Path, data: bytes) -> list[Entry]:
    path.write_bytes(data)
    return list(open_deb(path, "hello.deb").entries())


def refused(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(MllockError) as caught:
        entries(tmp_path / "hello.deb", data)
    return str(caught.value)


FIRST = tar_of([(member("./a"), b"1")])
OUTER = (("debian-binary", b"2.0\n"), ("control.tar", tar_of([(member("./control"), b"x")])))


def tarred(*infos: tarfile.TarInfo, style: int = tarfile.GNU_FORMAT) -> bytes:
    return tar_of([(info, b"") for info in infos], style=style)


def field(at: int, value: bytes, *, data: bytes = FIRST, check: bool = True) -> bytes:
    """A tar whose first header has `value` at `at`, and a right checksum."""
    out = bytearray(data)
    out[at : at + len(value)] = value
    if check:
        total = sum(out[:148]) + 8 * 32 + sum(out[156:512])
        out[148:156] = f"{total:06o}".encode() + b"\0 "
    return bytes(out)


def pax(*records: bytes, then: bytes = FIRST) -> bytes:
    """A PAX header of these records ("KEY=VALUE") before another tar."""
    body = b""
    for record in records:
        length = len(record) + 2
        while length != len(record) + 2 + len(str(length)):
            length = len(record) + 2 + len(str(length))
        body += b"%d %s\n" % (length, record)
    return extension(tarfile.XHDTYPE, body) + then


def extension(kind: bytes, body: bytes) -> bytes:
    info = member("ext", kind=kind)
    info.size = len(body)
    return info.tobuf(tarfile.GNU_FORMAT) + body + bytes(-len(body) % 512)


OUTSIDE = "path that leads outside of the package"
# What -> (the data.tar of a package, the message after its name).
HOSTILE_TARS: dict[str, tuple[bytes, str]] = {
    "traversal": (tarred(member("../x")), f"../x: {OUTSIDE}"),
    "hidden traversal": (tarred(member("./a/../../x")), f"./a/../../x: {OUTSIDE}"),
    "absolute": (tarred(member("/x")), f"/x: {OUTSIDE}"),
    "link out": (tarred(member("./x", kind=tarfile.LNKTYPE, target="../y")), f"../y: {OUTSIDE}"),
    "long name out": (
        extension(tarfile.GNUTYPE_LONGNAME, b"../x\0") + FIRST,
        f"../x: {OUTSIDE}",
    ),
    "PAX path out": (pax(b"path=/etc/passwd"), f"/etc/passwd: {OUTSIDE}"),
    "duplicate": (tarred(member("./x"), member("x")), "x: two members of this path"),
    "duplicate folder": (
        tarred(member("./x", kind=tarfile.DIRTYPE), member("./x/", kind=tarfile.DIRTYPE)),
        "x: two members of this path",
    ),
    "character device": (
        tarred(member("./x", kind=tarfile.CHRTYPE)),
        "x: character device in the package",
    ),
    "block device": (tarred(member("./x", kind=tarfile.BLKTYPE)), "x: block device in the package"),
    "pipe": (tarred(member("./x", kind=tarfile.FIFOTYPE)), "x: named pipe in the package"),
    "contiguous file": (
        tarred(member("./x", kind=tarfile.CONTTYPE)),
        "x: tar member of type b'7' in the package",
    ),
    "sparse file": (field(156, b"S"), "a: tar member of type b'S' in the package"),
    "global header": (field(156, b"g"), "a: tar member of type b'g' in the package"),
    "link to nothing": (
        tarred(member("./x", kind=tarfile.SYMTYPE)),
        "x: link without a target",
    ),
    "link with data": (
        field(156, b"2", data=field(157, b"y")),
        "a: data after something that is not a file",
    ),
    "whiteout": (
        tarred(member("./usr/lib/.wh.libc.so.6")),
        'usr/lib/.wh.libc.so.6: a name that begins with ".wh.": in an image it would remove '
        "another file",
    ),
    "file named like a folder": (
        field(0, b"./a/"),
        "./a/: a file whose name ends with a slash",
    ),
    "NUL in a name": (
        extension(tarfile.GNUTYPE_LONGNAME, b"a\0b\0") + FIRST,
        "path with a NUL or a line end: b'a\\x00b'",
    ),
    "NUL in a PAX path": (pax(b"path=a\0b"), "path with a NUL or a line end: b'a\\x00b'"),
    "line end in a name": (field(0, b"./a\nb"), "path with a NUL or a line end: b'./a\\nb'"),
    "name that is not UTF-8": (field(0, b"./\xff"), "path that is not UTF-8: b'./\\xff'"),
    "long name": (
        extension(tarfile.GNUTYPE_LONGNAME, b"n" * 256) + FIRST,
        f"{'n' * 80}...: path that is too long",
    ),
    "long path": (
        extension(tarfile.GNUTYPE_LONGNAME, b"n/" * 2049 + b"n") + FIRST,
        f"{'n/' * 40}...: path that is too long",
    ),
    "xattr": (
        pax(b"SCHILY.xattr.security.capability=x"),
        "pax record b'SCHILY.xattr.security.capability' is not understood",
    ),
    "PAX size": (pax(b"size=9"), "pax record b'size' is not understood"),
    "PAX owner": (pax(b"uid=0"), "pax record b'uid' is not understood"),
    "PAX sparse": (pax(b"GNU.sparse.major=1"), "pax record b'GNU.sparse.major' is not understood"),
    "PAX twice": (
        pax(b"path=x", b"path=y"),
        "pax record b'path' is empty, or there twice",
    ),
    "PAX empty": (pax(b"path="), "pax record b'path' is empty, or there twice"),
    "PAX length": (extension(tarfile.XHDTYPE, b"99 path=x\n") + FIRST, "unreadable pax header"),
    "PAX length in other words": (
        extension(tarfile.XHDTYPE, b"0010 path=\n") + FIRST,
        "unreadable pax header",
    ),
    "two extensions": (
        extension(tarfile.GNUTYPE_LONGNAME, b"x\0") * 2 + FIRST,
        "two extension headers for one member",
    ),
    "PAX and GNU": (
        pax(b"path=x", then=extension(tarfile.GNUTYPE_LONGNAME, b"y\0") + FIRST),
        "two extension headers for one member",
    ),
    "extension of nothing": (
        extension(tarfile.GNUTYPE_LONGNAME, b"x\0") + bytes(1024),
        "the tar ends after an extension header",
    ),
    "large extension": (
        extension(tarfile.GNUTYPE_LONGNAME, b"x" * 65537) + FIRST,
        "an extension header of 65537 bytes",
    ),
    "checksum": (field(0, b"./b", check=False), "tar header with a wrong checksum"),
    "magic": (field(257, b"tarus"), "not a tar header: b'tarus  \\x00'"),
    "negative size": (field(124, b"-0000000001\0"), "unreadable number in a tar header"),
    "size with underscores": (field(124, b"0000_000001\0"), "unreadable number in a tar header"),
    "size beyond": (field(124, b"00000077777\0"), "truncated tar"),
    "size in base 256": (field(124, b"\x80" + b"\x7f" * 11), "truncated tar"),
    "padding": (FIRST[:513] + b"x" + FIRST[514:], "bytes in the padding after a member"),
    "trailing data": (FIRST + b"x", "data after the end of the tar"),
    "trailing member": (FIRST[:1024] + bytes(512) + FIRST, "data after the end of the tar"),
    "no end": (FIRST[:1024], "truncated tar"),
    "cut": (FIRST[:700], "truncated tar"),
}


@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_hostile_tars(tmp_path: Path, case: str) -> None:
    data, message = HOSTILE_TARS[case]
    deb = make_deb("hello", data=("data.tar", data))
    assert refused(tmp_path, deb) == f"hello.deb: {message}"


def test_the_tar_that_the_hostile_ones_are_made_of_is_good(tmp_path: Path) -> None:
    for data in (FIRST, field(0, b"./a"), pax(b"mtime=1"), pax(b"path=" + b"p/" * 90 + b"p")):
        assert len(entries(tmp_path / "x", make_deb("hello", data=("data.tar", data)))) == 1


def ar_member(name: bytes, data: bytes, size: bytes | None = None, magic: bytes = b"`\n") -> bytes:
    length = b"%-10d" % len(data) if size is None else size
    return b"%-16s%-12d%-6d%-6d%-8s%s%s" % (name, 0, 0, 0, b"100644", length, magic) + data


HEAD = b"!<arch>\n" + ar_member(b"debian-binary", b"2.0\n")
CONTROL, DATA = ar_member(b"control.tar", OUTER[1][1]), ar_member(b"data.tar", FIRST)
# What -> (the whole package, the message after its name).
HOSTILE_ARS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not an ar archive"),
    "a zip": (b"PK\x03\x04", "not an ar archive"),
    "no control": (HEAD + DATA, "not a Debian package\nfound: debian-binary, data.tar"),
    "another order": (
        HEAD + DATA + CONTROL,
        "not a Debian package\nfound: debian-binary, data.tar, control.tar",
    ),
    "two data members": (
        HEAD + CONTROL + DATA + DATA,
        "not a Debian package\nfound: debian-binary, control.tar, data.tar, data.tar",
    ),
    "a member before": (
        b"!<arch>\n" + ar_member(b"x", b"") + HEAD[8:] + CONTROL + DATA,
        "not a Debian package\nfound: x, debian-binary, control.tar, data.tar",
    ),
    "a signature": (
        HEAD + CONTROL + DATA + ar_member(b"_gpgorigin", b""),
        "not a Debian package\nfound: debian-binary, control.tar, data.tar, _gpgorigin",
    ),
    "another format": (
        HEAD.replace(b"2.0\n", b"2.1\n") + CONTROL + DATA,
        "not a Debian package of format 2.0",
    ),
    "trailing bytes": (HEAD + CONTROL + DATA + b"x", "damaged ar header"),
    "cut": (HEAD + CONTROL + DATA[:-9], "data.tar: truncated ar member"),
    "magic": (HEAD + CONTROL + ar_member(b"data.tar", FIRST, magic=b"xx"), "damaged ar header"),
    "negative size": (
        HEAD + CONTROL + ar_member(b"data.tar", FIRST, b"-1        "),
        "damaged ar header",
    ),
    "size in other digits": (
        HEAD + CONTROL + ar_member(b"data.tar", FIRST, "²         ".encode("latin-1")),
        "damaged ar header",
    ),
    "size beyond": (
        HEAD + CONTROL + ar_member(b"data.tar", FIRST, b"9999999999"),
        "data.tar: truncated ar member",
    ),
    "byte between members": (
        HEAD + ar_member(b"control.tar", OUTER[1][1][:-1]) + b"x" + DATA,
        "control.tar: bytes between ar members",
    ),
    "control without control": (
        HEAD + ar_member(b"control.tar", tarred(member("./md5sums"))) + DATA,
        "no control file in the package",
    ),
    "another compression": (
        HEAD + CONTROL + ar_member(b"data.tar.lzma", b""),
        "data.tar.lzma is compressed in a way that is not known\n"
        "expected: none, gz, xz or zst\nfound: lzma",
    ),
    "large control": (
        ar(
            [
                ("debian-binary", b"2.0\n"),
                ("control.tar.xz", lzma.compress(bytes(64 * 1024**2 + 1), preset=0)),
                ("data.tar", FIRST),
            ]
        ),
        "control.tar.xz unpacks to more than 67108864 bytes",
    ),
}


@pytest.mark.parametrize("case", HOSTILE_ARS)
def test_hostile_ars(tmp_path: Path, case: str) -> None:
    data, message = HOSTILE_ARS[case]
    assert refused(tmp_path, data) == f"hello.deb: {message}"


def test_the_ar_that_the_hostile_ones_are_made_of_is_good(tmp_path: Path) -> None:
    assert len(entries(tmp_path / "x", HEAD + CONTROL + DATA)) == 1


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mllock.lock.debian.deb.MAX_UNPACKED", 1 << 20)
    bomb = bytes(64 << 20)
    zstd = zstandard.ZstdCompressor().compress
    packings = ((".xz", lzma.compress), (".gz", gzip.compress), (".zst", zstd))
    for name, pack in ((f"data.tar{suffix}", pack) for suffix, pack in packings):
        deb = make_deb("hello", data=(name, pack(bomb)))
        assert refused(tmp_path, deb) == f"hello.deb: {name} unpacks to more than 1048576 bytes"
    monkeypatch.setattr("mllock.lock.debian.deb.MAX_MEMBERS", 2)
    many = tarred(*(member(f"./{n}") for n in range(3)))
    assert refused(tmp_path, make_deb("hello", data=("data.tar", many))) == (
        "hello.deb: more than 2 members"
    )


def test_a_dictionary_that_needs_much_memory(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(FIRST, format=lzma.FORMAT_XZ, preset=0))
    # xz-file-format.txt 5.3.1: the size of the dictionary is one byte of the block's header.
    at = packed.index(b"\x21\x01") + 2
    packed[at] = 36  # 1 GiB
    header = packed[12 : 12 + (packed[12] + 1) * 4]
    packed[12 + len(header) - 4 : 12 + len(header)] = zlib.crc32(
        bytes(packed[12 : 12 + len(header) - 4])
    ).to_bytes(4, "little")
    deb = make_deb("hello", data=("data.tar.xz", bytes(packed)))
    assert refused(tmp_path, deb) == ("hello.deb: damaged data.tar.xz: Memory usage limit exceeded")
    # RFC 8878 3.1.1.1.2: the window of a frame without a size of content is one byte.
    frame = bytearray(zstandard.ZstdCompressor(write_content_size=False).compress(FIRST * 9))
    assert frame[4] & 0x20 == 0
    frame[5] = 18 << 3  # 256 MiB
    assert refused(tmp_path, make_deb("hello", data=("data.tar.zst", bytes(frame)))) == (
        "hello.deb: damaged data.tar.zst: zstd decompressor error: Frame requires too much memory"
        " for decoding"
    )
