"""The merged tree of a base, and what layers of a base must not hold: whole messages."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from support.base_image import BaseImage, Files, blobs, elf, layer, link, tree_of
from support.reporter import Recorder

from mllock.errors import ArchiveError, IntegrityError
from mllock.image.base_tree import LayerBlob, open_tree
from mllock.store.cache import Cache

LONG = "usr/share/" + "n" * 90 + "/" + "m" * 120


@pytest.mark.parametrize("packing", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_layers_of_any_writer_and_packing(tmp_path: Path, packing: str, format: int) -> None:  # noqa: A002
    below = {"usr/bin/tool": b"old", "etc/a": b"A", LONG: b"long", "usr/bin/é": b"name"}
    above = {"usr/bin/tool": b"new", "etc/.wh.a": b"", "etc/b": link("/usr/bin/tool")}
    tree = tree_of(
        tmp_path, layer(below, format=format), layer(above, format=format), packing=packing
    )
    assert tree.read(["usr/bin/tool", LONG, "usr/bin/é", "etc/a", "etc/b", "usr"]) == {
        "usr/bin/tool": b"new",
        LONG: b"long",
        "usr/bin/é": b"name",
    }
    assert tree.file("etc/b") == "usr/bin/tool"
    assert tree.file("/etc/../etc/./b") == "usr/bin/tool"
    assert tree.file("etc/a") is None
    assert tree.file("usr") is None


def test_either_name_of_a_hard_link_has_the_bytes(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        {"bin/a": b"same", "bin/b": link("./bin/a", tarfile.LNKTYPE), "bin/c": b"other"},
        {"bin/a": b"changed"},
    )
    # The mode of a hard link is that of its file, as tools write it.
    assert tree.read(["bin/a", "bin/b"]) == {"bin/a": b"changed", "bin/b": b"same"}


def test_nodes_have_the_contents_that_were_asked_for(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"etc/passwd": b"root", "bin/run": b"#!"})
    nodes = tree.nodes({"etc/passwd"})
    assert {path: node.content is not None for path, node in nodes.items()} == {
        "etc": False,
        "etc/passwd": True,
        "bin": False,
        "bin/run": False,
    }


def test_loops_of_links_lead_nowhere(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"a": link("b"), "b": link("a")})
    assert tree.follow("a/x") is None


def device(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type = kind
    return info


def sparse() -> bytes:
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_SPARSE
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def raw(*names: bytes) -> bytes:
    out = b""
    for name in names:
        info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
        out += info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return out + bytes(1024)


HOSTILE: dict[str, tuple[Files | bytes, str]] = {
    "device": (
        {"dev/null": device(tarfile.CHRTYPE)},
        "'dev/null' is a device: not a file, folder or link",
    ),
    "fifo": ({"run/p": device(tarfile.FIFOTYPE)}, "'run/p' is a fifo: not a file, folder or link"),
    "sparse": (sparse(), "member 'x' is of type b'S', which is not known"),
    "absolute": ({"/etc/x": b""}, "a path that is not plain and relative: '/etc/x'"),
    "traversal": ({"../x": b""}, "a path that is not plain and relative: './../x'"),
    "not UTF-8": (raw(b"a\xff"), "a name that is not UTF-8, or has a NUL: 'a\\udcff'"),
    "twice": (raw(b"a", b"./a"), "two members of one path: 'a'"),
    "hard link out of the layer": (
        {"a": link("etc/shadow", tarfile.LNKTYPE)},
        "'a' is a hard link to 'etc/shadow', no file before it",
    ),
    "below a link": (
        {"lib": link("/etc"), "lib/x": b""},
        "'lib/x' is below 'lib', which is a symlink",
    ),
    "whiteout with data": ({"etc/.wh.a": b"x"}, "'etc/.wh.a' is a whiteout that is no empty file"),
    "cut": (layer({"a": b"x" * 5000})[:3000], "the tar ends early"),
    "not a tar": (b"x" * 2048, "a tar header whose checksum is b'xxxxxxxx'"),
    "trailing": (layer({"a": b""}) + b"x" * 512, "data after the end of the tar"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_layers(tmp_path: Path, content: Files | bytes, message: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        tree_of(tmp_path, content)
    assert caught.value.message == message
    assert str(caught.value.file).startswith("layer sha256:")


def test_a_file_that_goes_through_a_link_of_a_lower_layer(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        tree_of(tmp_path, {"lib": link("usr/lib")}, {"lib/x": b""})
    assert str(caught.value) == "'lib/x' goes through 'lib', which is a symlink"


def test_what_is_no_gzip_and_no_zstd(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", Recorder())
    digest = cache.put_bytes(gzip.compress(layer({"a": b""}))[:-20])
    for packing, message in (
        ("gzip", "the gzip stream ends early"),
        ("zstd", "not a zstd stream: zstd decompress error: Unknown frame descriptor"),
    ):
        blob = LayerBlob(
            digest=digest,
            diff_id=digest,
            media_type=f"application/vnd.oci.image.layer.v1.tar+{packing}",
        )
        with pytest.raises(ArchiveError) as caught:
            open_tree(cache, [blob])
        assert caught.value.message == message


def test_a_zstd_bomb_is_not_unpacked_at_once(tmp_path: Path) -> None:
    """64 GiB of zeros in a few megabytes would be; a tar of zeros ends where it begins."""
    import zstandard

    packed = io.BytesIO()
    with zstandard.ZstdCompressor(level=3).stream_writer(packed, closefd=False) as writer:
        writer.write(layer({"a": b"x"}))
        for _ in range(64):
            writer.write(bytes(1024 * 1024))
        writer.write(b"end")
    cache = Cache(tmp_path / "cache", Recorder())
    digest = cache.put_bytes(packed.getvalue())
    assert len(packed.getvalue()) < 64 * 1024
    blob = LayerBlob(
        digest=digest,
        diff_id=digest,
        media_type="application/vnd.oci.image.layer.v1.tar+zstd",
    )
    with pytest.raises(ArchiveError) as caught:
        open_tree(cache, [blob])
    assert caught.value.message == "data after the end of the tar"


def test_a_layer_that_the_config_does_not_name(tmp_path: Path) -> None:
    image = BaseImage(layers=[{"bin/python3": elf()}])
    (blob,) = blobs(image)
    cache = Cache(tmp_path / "cache", Recorder())
    for data in image.blobs.values():
        cache.put_bytes(data)
    wrong = LayerBlob(digest=blob.digest, diff_id=blob.digest, media_type=blob.media_type)
    with pytest.raises(ArchiveError) as caught:
        open_tree(cache, [wrong])
    assert str(caught.value) == (
        f"layer {blob.digest}: the layer is not the one that the config of the base names\n"
        f"expected: {blob.digest}\nfound: {blob.diff_id}"
    )


def test_a_layer_that_is_gone(tmp_path: Path) -> None:
    (blob,) = blobs(BaseImage(layers=[{"a": b""}]))
    with pytest.raises(IntegrityError) as caught:
        open_tree(Cache(tmp_path / "cache", Recorder()), [blob])
    assert str(caught.value) == (
        f"{blob.digest}: a layer of the base is gone from the cache\n"
        "hint: run the same command again: it is fetched again"
    )
