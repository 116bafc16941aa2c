"""The tar and gzip of a layer: read by others as it was meant, the same from any order."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hostile_zip import Entry, zipped
from support.nodes import blob, file, folder, hardlink, members, symlink

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError, IntegrityError
from mllock.image.gzip import PIECE, GzipSink
from mllock.image.tar import PASS_THROUGH, header, sort_nodes, write_tar
from mllock.image.tree import Deflated, Node, OnDisk, Stored
from mllock.image.zip import read_zip

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)),
    min_size=1,
    max_size=60,
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh."))
PATHS = (
    st.lists(NAMES, min_size=1, max_size=6).map("/".join).filter(lambda p: len(p.encode()) < 900)
)
TREES = st.dictionaries(PATHS, st.tuples(st.binary(max_size=2000), st.integers(0, 0o7777)))


@settings(max_examples=200)
@given(TREES, st.integers(0, 2**40), st.randoms())
def test_tarfile_reads_what_was_written(tree, owner, random) -> None:
    # A path that is a file is no folder: leave out what would be both.
    nodes = [
        Node(path=path, kind="file", mode=mode, uid=owner, gid=owner + 1, content=Stored(data))
        for path, (data, mode) in tree.items()
    ]
    random.shuffle(nodes)
    found = members(blob(nodes))
    assert list(found) == sorted(tree, key=str.encode)
    for path, (data, mode) in tree.items():
        member, read = found[path]
        assert (read, member.mode, member.uid, member.gid) == (data, mode, owner, owner + 1)
        assert (member.mtime, member.uname, member.gname, member.isreg()) == (0, "", "", True)
    random.shuffle(nodes)
    assert blob(nodes) == blob(sort_nodes(nodes))


@given(PATHS, PATHS)
def test_links_and_folders(path, target) -> None:
    for node in (symlink(path, target), hardlink(path, target)):
        member = tarfile.TarInfo.frombuf(header(node)[-512:], "utf-8", "strict")
        assert member.islnk() == (node.kind == "hardlink")
        data = header(node) + bytes(1024)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            (member,) = archive.getmembers()
        assert (member.name, member.linkname) == (path, target)
    with tarfile.open(fileobj=io.BytesIO(header(folder(path)) + bytes(1024))) as archive:
        (member,) = archive.getmembers()
    assert (member.name, member.isdir(), member.mode) == (path, True, 0o755)


def test_ustar_where_it_is_enough() -> None:
    """No PAX header for what ustar can say: 100 bytes of name, 155 of prefix."""
    assert len(header(file("a" * 100))) == 512
    assert len(header(file("p" * 155 + "/" + "n" * 100))) == 512
    assert len(header(file("p" * 156 + "/" + "n" * 100))) == 512 * 3
    assert len(header(file("a" * 101))) == 512 * 3
    assert len(header(folder("a" * 99))) == 512
    assert len(header(file("é"))) == 512 * 3
    assert len(header(symlink("a", "b" * 101))) == 512 * 3
    big = OnDisk(path=Path("x"), size=8 * 2**30, digest="sha256:0")
    assert len(header(Node(path="a", kind="file", mode=0o644, content=big))) == 512 * 3


def test_headers_are_what_gnu_tar_writes() -> None:
    """Byte for byte what Python's own ustar writer makes of the same member."""
    for node in (file("a/b", b"x"), folder("a"), symlink("l", "a"), hardlink("h", "a/b")):
        info = tarfile.TarInfo(node.path + ("/" if node.kind == "folder" else ""))
        info.mode, info.size = node.mode, 1 if node.content else 0
        info.type = {"file": b"0", "folder": b"5", "symlink": b"2", "hardlink": b"1"}[node.kind]
        info.linkname = node.target or ""
        theirs = info.tobuf(tarfile.USTAR_FORMAT)
        # Python leaves the device numbers empty and ends the checksum as we do.
        blank = slice(329, 345)
        ours = bytearray(header(node))
        assert bytes(ours[blank]) == b"0000000\x000000000\0"
        ours[blank] = theirs[blank]
        ours[148:156] = theirs[148:156]
        assert bytes(ours) == theirs


def test_hard_links_come_last() -> None:
    nodes = [hardlink("a", "z"), file("z"), folder("b")]
    assert [node.path for node in sort_nodes(nodes)] == ["b", "z", "a"]


def test_a_path_twice() -> None:
    with pytest.raises(ArchiveError) as caught:
        blob([file("a"), folder("a")])
    assert str(caught.value) == "a: a layer holds this path twice"


@pytest.mark.parametrize(
    "path", [".wh.a", "app/.wh.serve.py", "app/.wh..wh..opq", "app/.wh..wh.plnk", "app/.wh.x/a"]
)
def test_a_name_that_would_remove_another_file(path: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        blob([file("a"), file(path)])
    assert str(caught.value) == f"{path}: in a layer, this name would remove another file"


def test_names_that_only_look_like_removals() -> None:
    names = [".wh", ".whx", "a.wh.b", "x/.wha", "x.wh./b"]
    assert [n.path for n in sort_nodes([file(name) for name in names])] == sorted(names)


# ----- gzip -----


def members_of_gzip(data: bytes) -> list[bytes]:
    """The uncompressed content of each member."""
    out = []
    while data:
        stream = zlib.decompressobj(31)
        out.append(stream.decompress(data) + stream.flush())
        assert data[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        data = stream.unused_data
    return out


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3 * PIECE), max_size=5), st.binary(min_size=1, max_size=9))
def test_pieces_do_not_follow_writes(sizes, pattern) -> None:
    """The division is by the bytes, not by how they came; with a pool it is the same."""
    text = (pattern * (sum(sizes) // len(pattern) + 1))[: sum(sizes)]
    blobs = []
    with ThreadPoolExecutor(2) as pool:
        for cuts, executor in ((sizes, None), ([sum(sizes)], None), (sizes, pool)):
            out = io.BytesIO()
            sink = GzipSink(out, executor)
            at = 0
            for size in cuts:
                sink.write(text[at : at + size])
                at += size
            written = sink.finish()
            blobs.append(out.getvalue())
            assert written.diff_id == sha256_of(text)
            assert (written.size, written.unpacked) == (len(out.getvalue()), len(text))
    assert blobs[0] == blobs[1] == blobs[2]
    assert b"".join(members_of_gzip(blobs[0])) == text
    assert all(len(member) == PIECE for member in members_of_gzip(blobs[0])[:-1])


def passed(tmp_path: Path, data: bytes) -> Node:
    path = tmp_path / "x.whl"
    path.write_bytes(zipped(Entry(b"a", data)))
    (entry,) = read_zip(path)
    content = Deflated(
        archive=path,
        offset=entry.offset,
        compressed=entry.compressed,
        size=entry.size,
        crc=entry.crc,
        digest=sha256_of(data),
    )
    return Node(path="a", kind="file", mode=0o644, content=content)


def noise(size: int) -> bytes:
    import random

    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, PASS_THROUGH - 1, PASS_THROUGH, 5_000_000])
def test_large_deflate_streams_are_copied(tmp_path: Path, size: int) -> None:
    node = passed(tmp_path, noise(size // 2) + bytes(size - size // 2))
    layer = blob([node, file("b", b"after")])
    raw = (tmp_path / "x.whl").read_bytes()[node.content.offset :][: node.content.compressed]
    assert (raw in layer) == (size >= PASS_THROUGH)
    assert members(layer)["a"][1] == noise(size // 2) + bytes(size - size // 2)
    assert len(members_of_gzip(layer)) == (3 if size >= PASS_THROUGH else 1)


def hidden_member(data: bytes, junk: int) -> bytes:
    """What a hostile wheel would put after a deflate stream: a trailer that fits, and a member."""
    entry = Entry(b"a", data)
    trailer = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    hidden = trailer + gzip.compress(b"hidden") if junk > 8 else trailer[:junk]
    longer = {"compressed": len(entry.body) + len(hidden)}
    return zipped(entry.but(after=hidden, local=longer, central=longer))


@pytest.mark.parametrize("junk", [1, 7, 8, 9])
@pytest.mark.parametrize("size", [100, 100_000])
def test_no_member_can_be_smuggled_in(tmp_path: Path, junk: int, size: int) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(hidden_member(noise(size), junk))
    (entry,) = read_zip(path)
    content = Deflated(
        archive=path,
        offset=entry.offset,
        compressed=entry.compressed,
        size=entry.size,
        crc=entry.crc,
    )
    with pytest.raises(ArchiveError) as caught:
        blob([Node(path="a", kind="file", mode=0o644, content=content)])
    assert caught.value.message == "its deflate stream does not end where the archive says"


def test_a_trailer_that_repeats_itself(tmp_path: Path) -> None:
    # CRC and size may stand in the content of an honest wheel: then zlib decides.
    data = noise(40_000)
    body = Entry(b"a", data)
    for period in (1, 2, 4):
        trailer = (zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little"))[
            :period
        ]
        longer = {"compressed": len(body.body) + period}
        path = tmp_path / "x.whl"
        path.write_bytes(zipped(body.but(after=trailer, local=longer, central=longer)))
        (entry,) = read_zip(path)
        content = Deflated(
            archive=path,
            offset=entry.offset,
            compressed=entry.compressed,
            size=entry.size,
            crc=entry.crc,
        )
        with pytest.raises(ArchiveError):
            blob([Node(path="a", kind="file", mode=0o644, content=content)])


def test_both_inflaters_give_the_same_layer(tmp_path: Path, monkeypatch) -> None:
    node = passed(tmp_path, noise(50_000) + bytes(5_000_000))
    expected = blob([node])
    monkeypatch.setattr("mllock.image.content.AT_ONCE", 0)
    assert blob([node]) == expected


@pytest.mark.tools
def test_other_readers(tmp_path: Path) -> None:
    nodes = [passed(tmp_path, noise(3_000_000)), file("b", bytes(2 * PIECE)), folder("c")]
    path = tmp_path / "layer.gz"
    path.write_bytes(blob(nodes))
    plain = gzip.decompress(path.read_bytes())
    for command in (["gzip", "-t"], ["gzip", "-dc"], ["pigz", "-t"], ["pigz", "-dc"]):
        assert shutil.which(command[0]), f"{command[0]} is needed"
        done = subprocess.run([*command, str(path)], capture_output=True, check=True)
        assert done.stderr == b""
        assert command[1] == "-t" or done.stdout == plain
    with tempfile.TemporaryDirectory() as folder_:
        subprocess.run(["tar", "-xzf", str(path), "-C", folder_], check=True)
        assert (Path(folder_) / "a").read_bytes() == noise(3_000_000)


def test_a_file_that_changed_since_it_was_hashed(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"trained")
    for changed in (b"trainee", b"train", b"trained!"):
        content = OnDisk(path=path, size=7, digest=sha256_of(b"trained"))
        node = Node(path="m", kind="file", mode=0o644, content=content)
        assert members(blob([node]))["m"][1] == b"trained"
        path.write_bytes(changed)
        with pytest.raises(IntegrityError) as caught:
            blob([node])
        assert caught.value.message == "the file is not what it was when it was hashed"
        path.write_bytes(b"trained")


def test_the_end_is_two_blocks() -> None:
    out = io.BytesIO()
    sink = GzipSink(out)
    write_tar([], sink)
    assert sink.finish().unpacked == 1024
