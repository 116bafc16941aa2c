"""One layer: what is refused, byte by byte, and what is told of what is accepted."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import nodes
from support.layers import info, packed, tar

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError
from mllock.image.read import Member, merge, read_layer

LONG = "x" * 120


def read(data: bytes, **options):
    return read_layer(iter([data]), "layer", hashed=lambda _: True, **options)


def refused(data: bytes, **options) -> str:
    with pytest.raises(ArchiveError) as caught:
        read(data, **options)
    assert caught.value.file == "layer"
    return caught.value.message


def test_a_layer():
    data = tar([("d", "folder"), ("d/f", "file", "abc", 0o755), ("d/l", "symlink", "/x")])
    layer = read(packed(data), kept=lambda p: p == "d/f", md5=True)
    assert layer.diff_id == sha256_of(data)
    assert layer.unpacked == len(data)
    assert layer.members == {
        "d": Member(kind="folder", mode=0o755, uid=0, gid=0),
        "d/f": Member(kind="file", mode=0o755, uid=0, gid=0, size=3, digest=sha256_of(b"abc")),
        "d/l": Member(kind="symlink", mode=0o777, uid=0, gid=0, target="/x"),
    }
    assert layer.members["d/f"].data == b"abc"
    assert layer.members["d/f"].md5 == hashlib.md5(b"abc").hexdigest()


def test_files_are_hashed_only_where_asked():
    data = packed(tar([("f", "file", "abc")]))
    assert read_layer(iter([data]), "layer").members["f"].digest is None


@given(st.integers(1, 700), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_the_chunks_do_not_matter(size, members):
    data = tar([("a", "file", b"a" * 3000), ("b/" + LONG, "file", b"b" * 513)])
    parts = [
        data[i * len(data) // members : (i + 1) * len(data) // members] for i in range(members)
    ]
    blob = b"".join(map(packed, parts))
    chunks = (blob[i : i + size] for i in range(0, len(blob), size))
    assert read_layer(chunks, "layer") == read_layer(iter([packed(data)]), "layer")


def test_what_our_own_writer_makes():
    made = [
        nodes.folder("app"),
        nodes.file("app/" + "é" * 70, b"1"),
        nodes.file("app/" + LONG, b"2" * 100_000, 0o755),
        nodes.symlink("app/l", LONG),
        nodes.hardlink("app/h", f"app/{LONG}"),
    ]
    made[-1] = type(made[-1])(path="app/h", kind="hardlink", mode=0o755, target=f"app/{LONG}")
    layer = read(nodes.blob(made))
    assert set(layer.members) == {node.path for node in made}
    assert layer.members["app/h"] == layer.members[f"app/{LONG}"]


def test_large_and_small_output_pieces():
    """More output than one piece from very little input: zlib keeps some for later."""
    data = tar([("zeros", "file", bytes(3_500_000))])
    blob = gzip.compress(data, 9)
    for size in (1, 1000, len(blob)):
        chunks = [blob[i : i + size] for i in range(0, len(blob), size)]
        assert read_layer(iter(chunks), "layer").diff_id == sha256_of(data)


def test_bombs():
    blob = packed(tar([("zeros", "file", bytes(1_000_000))]))
    assert refused(blob, max_unpacked=10_000) == "unpacks to more than 10000 bytes"


def test_many_members(monkeypatch):
    monkeypatch.setattr("mllock.image.read.MAX_MEMBERS", 2)
    data = tar([(name, "file", "") for name in "abc"])
    assert refused(packed(data)) == "more than 2 members"


def test_gzip():
    data = tar([("f", "file", "abc")])
    blob = packed(data)
    assert refused(blob[:-1]) == "the gzip stream ends early"
    assert refused(blob + b"\0" * 8).startswith("not a gzip stream")
    assert refused(blob + b"trailing").startswith("not a gzip stream")
    assert refused(data).startswith("not a gzip stream")
    assert refused(zlib.compress(data)).startswith("not a gzip stream")
    assert refused(b"") == "the tar ends early"
    wrong = blob[:-8] + bytes([blob[-8] ^ 1]) + blob[-7:]
    assert refused(wrong).startswith("not a gzip stream")


def test_the_end_of_the_tar():
    data = tar([("f", "file", "abc")])
    assert read(packed(data[:2048])).members.keys() == {"f"}
    assert refused(packed(data[:1536])) == "the tar ends early"
    assert refused(packed(data[:1024])) == "the tar ends early"
    assert refused(packed(data[:1536] + b"x" * 512)) == "one zero block where the tar should end"
    assert refused(packed(data + b"x")) == "data after the end of the tar"
    assert refused(packed(data + data)) == "data after the end of the tar"


REFUSED = [
    ([("../f", "file", "")], "a path that is not plain and relative: '../f'"),
    ([("a/../f", "file", "")], "a path that is not plain and relative: 'a/../f'"),
    ([("/f", "file", "")], "a path that is not plain and relative: '/f'"),
    ([("./f", "file", "")], "a path that is not plain and relative: './f'"),
    ([("a//f", "file", "")], "a path that is not plain and relative: 'a//f'"),
    ([(".", "folder")], "a path that is not plain and relative: '.'"),
    ([("n" * 256, "file", "")], f"name of more than 255 bytes: {'n' * 80!r}..."),
    ([("f", "file", "1"), ("f", "file", "1")], "two members of one path: 'f'"),
    ([("f", "file", "1"), ("f", "folder")], "two members of one path: 'f'"),
    (
        [("f", "file", ""), ("h", "hardlink", "f"), ("h", "hardlink", "f")],
        "two members of one path: 'h'",
    ),
    ([("h", "hardlink", "f")], "'h' is a hard link to 'f', no file before it"),
    ([("h", "hardlink", "h")], "'h' is a hard link to 'h', no file before it"),
    (
        [("h", "hardlink", "../etc/passwd")],
        "'h' is a hard link to '../etc/passwd', no file before it",
    ),
    (
        [("f", "file", ""), ("h", "hardlink", "f", 0o4755)],
        "'h' is a hard link that changes mode or owner",
    ),
    ([("l", "symlink", "/x"), ("l/f", "file", "")], "'l/f' is below 'l', which is a symlink"),
    ([("l/f", "file", ""), ("l", "symlink", "/x")], "'l/f' is below 'l', which is a symlink"),
    ([("f", "file", ""), ("f/g", "file", "")], "'f/g' is below 'f', which is a file"),
    ([(".wh.f", "file", "x")], "'.wh.f' is a whiteout that is no empty file"),
    ([(".wh.f", "folder")], "'.wh.f' is a whiteout that is no empty file"),
    ([(".wh.", "file", "")], "'.wh.' is a whiteout of no name"),
    ([(".wh...", "file", "")], "'.wh...' is a whiteout of no name"),
    ([(".wh..wh.aufs", "file", "")], "'.wh..wh.aufs' is a whiteout of no name"),
    ([(".wh.d/f", "file", "")], "'.wh.d/f' is below a whiteout"),
    ([("f", "file", ""), (".wh.f", "file", "")], "'f' is in a layer together with its whiteout"),
    (
        [("d/f", "file", ""), (".wh.d", "file", "")],
        "'d/f' is in a layer together with its whiteout",
    ),
    ([(".wh.f", "file", ""), (".wh.f", "file", "")], "two whiteouts of one path"),
    (
        [("d/.wh..wh..opq", "file", ""), (".wh.d", "file", "")],
        "a folder that is both opaque and hidden",
    ),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_members_that_are_refused(members, message):
    assert refused(packed(tar(members))) == message


def made(change) -> bytes:
    """A tar of one member, its TarInfo changed, or the whole changed as bytes."""
    member, data = info("f", "file", "abc")
    change(member)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(data))
    return packed(out.getvalue())


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices(kind):
    def change(member):
        member.type, member.size = kind, 0

    assert refused(made(change)) == (f"member 'f' is of type {kind!r}: not a file, folder or link")


@pytest.mark.parametrize("records", [{"mtime": "1.5"}, {"SCHILY.xattr.user.x": "y"}, {"path": "g"}])
def test_pax_records_that_override(records):
    def change(member):
        member.pax_headers = records

    message = refused(made(change))
    assert message.startswith(("a PAX record that is not accepted", "a PAX path where the header"))


def block_of(data: bytes, at: int, value: bytes) -> bytes:
    """The first header with `value` at `at` and a right checksum."""
    block = bytearray(data[:512])
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return packed(bytes(block) + data[512:])


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (257, b"ustar  \0", "not a ustar header: b'ustar  \\x00'"),
        (3, b"hidden", "a tar header with bytes after the end of b'f'"),
        (124, b"\x80\0\0\0\0\0\0\0\0\0\0\x03", "a tar header whose size is "),
        (100, b"7777777\0", "member 'f' has mode 7777777"),
        (100, b"0040644\0", "member 'f' has mode 40644"),
        (157, b"target", "member 'f' is a file with link target 'target'"),
        (0, b"\xff", "a name that is not UTF-8: b'\\xff'"),
        (505, b"x", "bytes in the padding of a header"),
        (156, b"L", "member 'f' is of type b'L': not a file, folder or link"),
        (156, b"g", "member 'f' is of type b'g': not a file, folder or link"),
        (156, b"S", "member 'f' is of type b'S': not a file, folder or link"),
        (156, b"7", "member 'f' is of type b'7': not a file, folder or link"),
        (124, b"-0000000003\0", "a tar header whose size is "),
        (124, b"00000077777\0", "the tar ends early"),
        (0, b"\0", "a path that is not plain and relative: ''"),
        (156, b"5", "member 'f' is a folder with data"),
        (156, b"2", "member 'f' is a symlink with data"),
        (1, b"/", "a path that is not plain and relative: 'f/'"),
    ],
)
def test_headers(at, value, message):
    assert refused(block_of(tar([("f", "file", "abc")]), at, value)).startswith(message)


def test_a_mode_that_says_the_type_as_well():
    """As container engines write it."""
    found = read(block_of(tar([("f", "file", "abc")]), 100, b"0100644\0"))
    assert found.members["f"].mode == 0o644


def test_checksum_and_padding():
    data = tar([("f", "file", "abc")])
    assert refused(packed(b"g" + data[1:])) == "a tar header with a wrong checksum"
    assert refused(packed(data[:600] + b"x" + data[601:])) == "bytes in the padding after a member"


def pax(body: bytes) -> bytes:
    """A PAX header of any bytes before a file."""
    member = tarfile.TarInfo("PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, len(body)
    head = member.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)
    return packed(head + tar([("f", "file", "abc")]))


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    return next(b"%d%s" % (n, rest) for n in range(1000) if len(b"%d%s" % (n, rest)) == n)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (record("path", LONG), None),
        (record("path", LONG) + record("path", LONG), "a PAX record that is not accepted: 'path'"),
        (record("path", LONG + "\0x"), f"a path that is not plain and relative: '{LONG}\\x00x'"),
        (record("path", "/" + LONG), f"a path that is not plain and relative: '/{LONG}'"),
        (record("GNU.sparse.major", "1"), "a PAX record that is not accepted: 'GNU.sparse.major'"),
        (
            record("SCHILY.xattr.security.capability", "x"),
            "a PAX record that is not accepted: 'SCHILY.xattr.security.capability'",
        ),
        (record("path", "../" + LONG), f"a path that is not plain and relative: '../{LONG}'"),
        (record("path", "short"), "a PAX path where the header has room: 'short'"),
        (record("size", "2"), "a PAX size where the header has room: 2"),
        (record("size", "99999999999"), "a PAX size where the header has room: 99999999999"),
        (record("size", "-1"), "a PAX size that is no number: '-1'"),
        (record("uid", "5"), "a PAX uid where the header has room: 5"),
        (record("linkpath", LONG), f"member 'f' is a file with link target '{LONG}'"),
        (b"9 path=x\n", "a PAX path where the header has room: 'x'"),
        (b"8 path=x\n", "a damaged PAX record: b'8 path=x\\n'"),
        (b"11 path=x\n", "a damaged PAX record: b'11 path=x\\n'"),
        (b"x", "a damaged PAX record: b'x'"),
        (b"", "a PAX header of 0 bytes"),
        (record("path", ""), "a PAX record that is not accepted: 'path'"),
    ],
)
def test_pax(body, message):
    if message is None:
        assert read(pax(body)).members.keys() == {LONG}
    else:
        assert refused(pax(body)) == message


def test_kept_files_are_bounded(monkeypatch):
    blob = packed(tar([("f", "file", bytes(64 * 1024 * 1024 + 1))]))
    assert refused(blob, kept=lambda _: True) == (
        "'f' has 67108865 bytes, at most 67108864 are read"
    )


@given(st.binary(max_size=2000))
@settings(max_examples=60, deadline=None)
def test_noise_is_refused_and_nothing_else_is_raised(noise):
    with pytest.raises(ArchiveError):
        read(packed(noise + b"x"))


def test_whiteouts_hide_what_is_below_never_what_is_beside():
    below = read(packed(tar([("d", "folder"), ("d/old", "file", "1"), ("e", "file", "1")])))
    above = read(
        packed(tar([("d/new", "file", "2"), ("d/.wh..wh..opq", "file"), (".wh.e", "file")]))
    )
    assert above.whiteouts == ("e",)
    assert above.opaques == ("d",)
    assert merge([below, above]).keys() == {"d", "d/new"}
