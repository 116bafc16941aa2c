"""Tars as engines write them: what tarfile writes in each format is read back, and what could be
misread is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest

from mllock.errors import ArchiveError
from mllock.image.read_tar import Source
from mllock.image.stream_tar import StreamMember, stream_members

LONG = "d/" + "n" * 120 + "/" + "m" * 120
FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}


def read(data: bytes, size: int = 7) -> dict[str, tuple[StreamMember, bytes]]:
    """All members with their bytes, from a stream of small chunks."""
    source = Source(data[at : at + size] for at in range(0, len(data), size))
    return {m.path: (m, b"".join(source.pieces(m.size))) for m in stream_members(source)}


def members() -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for name, kind, data, target in (
        ("./", tarfile.DIRTYPE, b"", ""),
        ("./d/", tarfile.DIRTYPE, b"", ""),
        ("d/a", tarfile.REGTYPE, b"x" * 700, ""),
        ("d/empty", tarfile.REGTYPE, b"", ""),
        ("d/link", tarfile.SYMTYPE, b"", "../etc/passwd"),
        ("d/hard", tarfile.LNKTYPE, b"", "./d/a"),
        ("d/null", tarfile.CHRTYPE, b"", ""),
        ("d/fifo", tarfile.FIFOTYPE, b"", ""),
        ("d/é\u202e", tarfile.REGTYPE, b"y", ""),
    ):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(data), target
        info.mode, info.uid, info.gid, info.mtime = 0o104755, 10001, 7, 1_700_000_000
        yield info, data


def packed(form: str, *more: tuple[str, dict[str, str]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[form]) as archive:
        for info, data in members():
            archive.addfile(info, io.BytesIO(data))
        for name, pax in more:
            info = tarfile.TarInfo(name)
            info.pax_headers = pax
            archive.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1, 511, 512, 10240])
def test_every_format(form: str, size: int) -> None:
    found = read(packed(form), size)
    kinds = {path: member.kind for path, (member, _) in found.items()}
    assert kinds == {
        "d": "folder",
        "d/a": "file",
        "d/empty": "file",
        "d/link": "symlink",
        "d/hard": "hardlink",
        "d/null": "device",
        "d/fifo": "fifo",
        "d/é\u202e": "file",
    }
    member, data = found["d/a"]
    assert data == b"x" * 700
    assert (member.mode, member.uid, member.gid) == (0o4755, 10001, 7)
    assert (found["d/link"][0].target, found["d/hard"][0].target) == ("../etc/passwd", "d/a")


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_what_has_no_room_in_a_header(form: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[form]) as archive:
        info = tarfile.TarInfo(LONG)
        info.uid, info.gid, info.size = 2**31, 2**24, 3
        archive.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, LONG
        archive.addfile(link)
    found = read(out.getvalue())
    member, data = found[LONG]
    assert (member.uid, member.gid, data) == (2**31, 2**24, b"abc")
    assert found["l"][0].target == LONG


def test_attributes_and_names_that_are_not_utf8() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a\udcff"))
    assert list(read(out.getvalue())) == ["a\udcff"]
    data = packed("pax", ("x", {"SCHILY.xattr.security.capability": "c", "mtime": "1.5"}))
    assert read(data)["x"][0].xattrs == ("security.capability",)


def header(**fields: object) -> bytes:
    info = tarfile.TarInfo("x")
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


END = bytes(1024)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header()[:-1] + b"x" + END, "a tar header with a wrong checksum"),
        (header(type=b"S") + END, "member 'x' is of type b'S', which is not known"),
        (header(type=b"g") + END, "member 'x' is of type b'g', which is not known"),
        (header(name="/etc/x") + END, "a path that is not plain and relative: '/etc/x'"),
        (header(name="a/../b") + END, "a path that is not plain and relative: 'a/../b'"),
        (header(name="a//b") + END, "a path that is not plain and relative: 'a//b'"),
        (header(type=tarfile.DIRTYPE, size=5) + END, "member 'x/' is a folder with data"),
        (header(size=600) + bytes(512), "the tar ends early"),
        (header(), "the tar ends early"),
        (header() + END + b"x", "data after the end of the tar"),
        (
            2 * (header(type=b"L", size=2) + b"y\0".ljust(512, b"\0")) + header() + END,
            "two extension headers of one kind for one member",
        ),
        (header(type=b"L", size=100_000) + END, "an extension header of 100000 bytes"),
        (
            packed("pax", ("x", {"GNU.sparse.realsize": "1000000000000"})),
            "a PAX record that is not known: 'GNU.sparse.realsize'",
        ),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        read(data)
    assert str(caught.value) == message
