"""Zip archives that two readers could understand differently are refused, each for its reason."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile_zip import DESCRIPTOR, UTF8, Entry, zipped

from mllock.errors import ArchiveError
from mllock.image.content import Sources
from mllock.image.tree import Deflated, Node, Packed
from mllock.image.zip import DEFLATED, ZipEntry, read_zip

A = Entry(b"a.txt", b"some text that is long enough")
CRC, SIZE, PACKED = zlib.crc32(A.data), len(A.data), len(A.body)


def read(tmp_path: Path, data: bytes) -> tuple[ZipEntry, ...]:
    path = tmp_path / "x.whl"
    path.write_bytes(data)
    return read_zip(path)


def content(path: Path, entry: ZipEntry) -> bytes:
    place = {"archive": path, "offset": entry.offset, "size": entry.size, "crc": entry.crc}
    made = (
        Deflated(compressed=entry.compressed, **place)
        if entry.method == DEFLATED
        else Packed(**place)
    )
    with Sources() as sources:
        node = Node(path=entry.name, kind="file", mode=0o644, content=made)
        return b"".join(sources.read(node))


WIDE = struct.pack("<2H2Q", 1, 16, 64 * 1024**3 + 1, 64 * 1024**3 + 1)

GOOD = {
    "deflated": zipped(A),
    "stored": zipped(A.but(method=0)),
    "folders": zipped(Entry(b"d/", b"", method=0, mode=0o40755), A.but(name=b"d/a.txt")),
    "zip64 end": zipped(A, zip64=True),
    "utf-8 name": zipped(A.but(name="é.txt".encode(), flags=UTF8)),
    "descriptor, header of zeros": zipped(
        A.but(
            flags=DESCRIPTOR,
            local={"crc": 0, "size": 0, "compressed": 0},
            descriptor=struct.pack("<4sLLL", b"PK\x07\x08", CRC, PACKED, SIZE),
        )
    ),
    "descriptor without signature": zipped(
        A.but(flags=DESCRIPTOR, descriptor=struct.pack("<LLL", CRC, PACKED, SIZE))
    ),
    "descriptor of zip64": zipped(
        A.but(flags=DESCRIPTOR, descriptor=struct.pack("<4sLQQ", b"PK\x07\x08", CRC, PACKED, SIZE))
    ),
    "descriptor of zip64, of an empty file": zipped(
        A.but(
            data=b"",
            flags=DESCRIPTOR,
            descriptor=struct.pack("<4sLQQ", b"PK\x07\x08", 0, len(A.but(data=b"").body), 0),
        ),
        A.but(name=b"next"),
    ),
    "zip64 sizes": zipped(
        A.but(
            extra=struct.pack("<2H2Q", 1, 16, SIZE, PACKED),
            local={"size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF},
            central={"size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF},
        )
    ),
    "empty": zipped(),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_archives_are_read_as_zipfile_reads_them(tmp_path: Path, case: str) -> None:
    entries = read(tmp_path, GOOD[case])
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path) as archive:
        expected = {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}
    assert {entry.name: content(path, entry) for entry in entries} == expected


HOSTILE = {
    "traversal": (zipped(A.but(name=b"../a")), '../a: ".." in path'),
    "hidden traversal": (zipped(A.but(name=b"a/../../b")), 'a/../../b: ".." in path'),
    "absolute": (zipped(A.but(name=b"/etc/passwd")), "/etc/passwd: absolute path"),
    "backslash": (zipped(A.but(name=b"..\\a")), "..\\\\a: backslash in path"),
    "drive": (zipped(A.but(name=b"c:a")), "c:a: drive letter in path"),
    "nul": (zipped(A.but(name=b"a\0.txt")), "a\\x00.txt: character U+0000 in path"),
    "bidi": (
        zipped(A.but(name="a\u202ey.txt".encode(), flags=UTF8)),
        "a\\u202ey.txt: character U+202E in path",
    ),
    "empty name": (zipped(A.but(name=b"")), "empty path"),
    "not utf-8": (zipped(A.but(name=b"\xff", flags=UTF8)), "\\xff: a name that is not UTF-8"),
    "unmarked": (
        zipped(A.but(name="é".encode())),
        "\\xc3\\xa9: a name that is neither ASCII nor marked as UTF-8",
    ),
    "second name": (
        zipped(A.but(extra=struct.pack("<2H", 0x7075, 4) + b"evil")),
        "a.txt: an entry with a second name",
    ),
    "duplicate": (zipped(A, A), "a.txt: the same name twice"),
    "file and folder": (zipped(A, A.but(name=b"a.txt/b")), "a.txt: both a file and a folder"),
    "case": (
        zipped(A, A.but(name=b"A.TXT")),
        'A.TXT: its name and "a.txt" fold together',
    ),
    "case of a folder": (
        zipped(A.but(name=b"d/a"), A.but(name=b"D/b")),
        'D: its name and "d" fold together',
    ),
    "unicode": (
        zipped(
            A.but(name="é".encode(), flags=UTF8),
            A.but(name="e\u0301".encode(), flags=UTF8),
        ),
        'e\u0301: its name and "é" fold together',
    ),
    "symlink": (zipped(A.but(mode=0o120777)), "a.txt: a symbolic link"),
    "device": (zipped(A.but(mode=0o60644)), "a.txt: an entry that is neither file nor folder"),
    "encrypted": (zipped(A.but(flags=1)), "a.txt: an encrypted entry"),
    "strong encryption": (zipped(A.but(flags=0x41)), "a.txt: an encrypted entry"),
    "unknown flag": (zipped(A.but(flags=0x10)), "a.txt: an entry with unknown flags 0x0010"),
    "bzip2": (
        zipped(A.but(method=12)),
        "a.txt: compression method 12; only stored and deflate are read",
    ),
    "folder with content": (zipped(A.but(name=b"d/")), "d/: a folder with content"),
    "stored in two sizes": (
        zipped(A.but(method=0, central={"size": 1})),
        "a.txt: a stored entry of two sizes",
    ),
    "local name": (
        zipped(A.but(local={"name": b"b.txt"})),
        "a.txt: its local header and the central directory disagree",
    ),
    "local size": (
        zipped(A.but(local={"size": 1})),
        "a.txt: its local header and the central directory disagree",
    ),
    "local crc": (
        zipped(A.but(local={"crc": 1})),
        "a.txt: its local header and the central directory disagree",
    ),
    "local zeros without bit 3": (
        zipped(A.but(local={"crc": 0, "size": 0, "compressed": 0})),
        "a.txt: its local header and the central directory disagree",
    ),
    "local method": (
        zipped(A.but(local={"method": 0})),
        "a.txt: its local header and the central directory disagree",
    ),
    "local flags": (
        zipped(A.but(flags=UTF8, local={"flags": 0})),
        "a.txt: its local header and the central directory disagree",
    ),
    "descriptor": (
        zipped(A.but(flags=DESCRIPTOR, descriptor=struct.pack("<LLL", 1, PACKED, SIZE))),
        "a.txt: its data descriptor and the central directory disagree",
    ),
    "no descriptor": (
        zipped(A.but(flags=DESCRIPTOR)),
        "a.txt: its data descriptor and the central directory disagree",
    ),
    "zip64 sizes missing": (
        zipped(A.but(central={"size": 0xFFFFFFFF})),
        "a.txt: an entry whose zip64 sizes cannot be read",
    ),
    "zip64 sizes unasked": (
        zipped(A.but(extra=struct.pack("<2HQ", 1, 8, 5))),
        "a.txt: an entry whose zip64 sizes cannot be read",
    ),
    "leading data": (
        zipped(A, before=b"#!/bin/sh\n"),
        "a.txt: bytes that belong to no entry, or to two, before it",
    ),
    "leading data, offsets shifted": (
        b"#!/bin/sh\n" + zipped(A),
        "bytes before the archive, or around its central directory",
    ),
    "trailing data": (
        zipped(A, after=b"x"),
        "not a zip archive, or one with bytes after its end",
    ),
    "comment": (
        zipped(A, comment=b"hello"),
        "not a zip archive, or one with bytes after its end",
    ),
    "hidden entry": (
        zipped(A.but(after=b"hidden"), A.but(name=b"b")),
        "b: bytes that belong to no entry, or to two, before it",
    ),
    "gap": (zipped(A, gap=b"hidden"), "bytes between the entries and the central directory"),
    "overlap": (
        zipped(A, A.but(name=b"b", central={"offset": 0})),
        "b: bytes that belong to no entry, or to two, before it",
    ),
    "beyond": (
        zipped(
            A.but(
                method=0,
                local={"size": 99, "compressed": 99},
                central={"size": 99, "compressed": 99},
            )
        ),
        "a.txt: its data reach into the central directory",
    ),
    "count": (zipped(A, count=2), "its entries are not 2, as its end says"),
    "smaller count": (
        zipped(A, A.but(name=b"b"), count=1),
        "its entries are not 1, as its end says",
    ),
    "many entries": (
        zipped(A, count=500_001, zip64=True),
        "500001 entries, at most 500000 are read",
    ),
    "large directory": (
        zipped(A, directory_size=128 * 1024 * 1024 + 1, zip64=True),
        "bytes before the archive, or around its central directory",
    ),
    "bomb": (
        zipped(
            A.but(
                central={"size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF, "extra": WIDE},
                local={"size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF, "extra": WIDE},
            )
        ),
        "it unpacks to 68719476737 bytes, at most 68719476736 are read",
    ),
    "ratio": (
        zipped(A.but(local={"size": 1032 * PACKED + 1}, central={"size": 1032 * PACKED + 1})),
        f"a.txt: {PACKED} bytes of deflate are not {1032 * PACKED + 1} bytes of content",
    ),
    "extra field cut": (
        zipped(A.but(extra=struct.pack("<2H", 0x5455, 9) + b"x")),
        "a.txt: an extra field that is cut short",
    ),
    "several disks": (zipped(A, disk=1), "an archive of several disks"),
    "zip64 end elsewhere": (
        zipped(A, zip64=True).replace(b"PK\x06\x06", b"PK\x06\x05"),
        "its zip64 end is not where it says",
    ),
    "two ends": (zipped(A, zip64=True, end_size=1), "its end and its zip64 end disagree"),
    "no local header": (
        zipped(A).replace(b"PK\x03\x04", b"PK\x03\x05"),
        "a.txt: no local header where the central directory says",
    ),
    "directory cut": (
        zipped(A, directory_size=20),
        "bytes before the archive, or around its central directory",
    ),
    "directory damaged": (
        zipped(A).replace(b"PK\x01\x02", b"PK\x01\x03"),
        "its central directory is damaged",
    ),
    "dot": (zipped(A.but(name=b"./a")), './a: "." in path'),
    "double slash": (zipped(A.but(name=b"a//b")), "a//b: empty component in path"),
    "long name": (
        zipped(A.but(name=b"n" * 256)),
        f"{'n' * 256}: name of more than 255 bytes",
    ),
    "long path": (
        zipped(A.but(name=b"n/" * 2050 + b"n")),
        f"{'n/' * 2050}n: path of more than 4096 bytes",
    ),
    "invisible": (
        zipped(A.but(name="a\u200by".encode(), flags=UTF8)),
        "a\\u200by: character U+200B in path",
    ),
    "whiteout": (
        zipped(A, A.but(name=b"pkg/.wh.__init__.py")),
        'pkg/.wh.__init__.py: a name that begins with ".wh.": in an image it would remove another '
        "file",
    ),
    "opaque": (
        zipped(A, A.but(name=b"pkg/.wh..wh..opq")),
        'pkg/.wh..wh..opq: a name that begins with ".wh.": in an image it would remove another '
        "file",
    ),
    "below a whiteout": (
        zipped(A, A.but(name=b"pkg/.wh.a/b.py")),
        'pkg/.wh.a/b.py: a name that begins with ".wh.": in an image it would remove another file',
    ),
    "text": (
        b"hello, this is not an archive at all",
        "not a zip archive, or one with bytes after its end",
    ),
    "nothing": (b"", "not a zip archive"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, case: str) -> None:
    data, message = HOSTILE[case]
    with pytest.raises(ArchiveError) as caught:
        read(tmp_path, data)
    assert str(caught.value) == f"x.whl: {message}"


LIES = {
    "crc": ({"crc": 1}, "its CRC is not what the archive says"),
    "too small": ({"size": 5}, "it is larger than the archive says"),
    "too large": ({"size": 999}, "it is smaller than the archive says"),
}


@pytest.mark.parametrize("case", LIES)
def test_content_that_is_not_as_promised(tmp_path: Path, case: str) -> None:
    lie, message = LIES[case]
    path = tmp_path / "x.whl"
    (entry,) = read(tmp_path, zipped(A.but(local=lie, central=lie)))
    with pytest.raises(ArchiveError) as caught:
        content(path, entry)
    assert str(caught.value) == f"x.whl: a.txt: {message}"


def test_bytes_after_a_deflate_stream_are_refused(tmp_path: Path) -> None:
    # They would be read as another gzip member of the layer.
    hidden = b"\x1f\x8b\x08\x00" + bytes(50)
    longer = {"compressed": PACKED + len(hidden)}
    path = tmp_path / "x.whl"
    (entry,) = read(tmp_path, zipped(A.but(after=hidden, local=longer, central=longer)))
    with pytest.raises(ArchiveError) as caught:
        content(path, entry)
    assert str(caught.value) == (
        "x.whl: a.txt: its deflate stream does not end where the archive says"
    )


def test_a_stream_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    (entry,) = read(tmp_path, zipped(A))
    cut = ZipEntry(
        name="a.txt",
        method=DEFLATED,
        offset=entry.offset,
        compressed=entry.compressed - 3,
        size=entry.size,
        crc=entry.crc,
        mode=0,
    )
    with pytest.raises(ArchiveError, match="its deflate stream does not end where"):
        content(path, cut)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_is_refused_or_means_the_same(tmp_path: Path, data: st.DataObject) -> None:
    good = zipped(A, Entry(b"b/c.txt", b"x" * 40, method=0))
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "x.whl"
    try:
        found = {e.name: content(path, e) for e in read(tmp_path, bytes(changed))}
    except ArchiveError:
        return
    # What passes may have another name (both headers cannot change at once) or time, never content.
    assert sorted(found.values()) == sorted([A.data, b"x" * 40])
