"""What stands behind the end of a deflate stream is refused, however it is dressed.

A gzip file may be several members, so bytes after the end of a stream that is passed through would
become a part of the layer.
"""

from __future__ import annotations

import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from mllock.core.digest import sha256_of
from mllock.errors import ArchiveError
from mllock.image.content import GZIP_HEADER, Sources
from mllock.image.tree import Deflated, Node


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def trailer(data: bytes) -> bytes:
    return struct.pack("<LL", zlib.crc32(data), len(data))


def entry(place: Path, stream: bytes, size: int, crc: int, digest: str | None) -> Node:
    place.write_bytes(stream)
    content = Deflated(
        archive=place, offset=0, compressed=len(stream), size=size, crc=crc, digest=digest
    )
    return Node(path="a", kind="file", mode=0o644, content=content)


def at_once(node: Node) -> bytes | None:
    assert isinstance(node.content, Deflated)
    with Sources() as sources:
        made = sources.member(node.content)
    return None if made is None else bytes(made[1])


def in_pieces(node: Node) -> bytes | None:
    assert isinstance(node.content, Deflated)
    with Sources() as sources:
        try:
            return b"".join(plain for _, plain in sources.inflate(node, node.content))
        except ArchiveError:
            return None


@pytest.mark.parametrize("size", [40, 20_480])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_second_member(tmp_path: Path, size: int, recorded: bool) -> None:
    """With the CRC of the second in the zip, and the first one's digest in RECORD."""
    seen, hidden = os.urandom(size), os.urandom(size)
    stream = deflated(seen) + trailer(seen) + GZIP_HEADER + deflated(hidden)
    digest = sha256_of(seen) if recorded else None
    node = entry(tmp_path / "a", stream, size, zlib.crc32(hidden), digest)
    assert at_once(node) is None
    with pytest.raises(ArchiveError), Sources() as sources:
        list(sources.read(node))


@pytest.mark.parametrize("stream", [b"", b"\x03", b"\x03\x00junk", deflated(b"x"), b"\x03\x00\x00"])
def test_an_empty_file_is_looked_at(tmp_path: Path, stream: bytes) -> None:
    node = entry(tmp_path / "a", stream, 0, 0, None)
    with pytest.raises(ArchiveError), Sources() as sources:
        list(sources.read(node))


def test_an_empty_file(tmp_path: Path) -> None:
    node = entry(tmp_path / "a", deflated(b""), 0, 0, None)
    with Sources() as sources:
        assert b"".join(sources.read(node)) == b""


def test_both_decoders_take_the_same_streams(tmp_path: Path) -> None:
    """Whole streams, cut ones, with bytes behind them, with another CRC or size."""
    chance = random.Random(20261126)
    place = tmp_path / "a"
    taken = refused = 0
    for _ in range(3000):
        data = chance.randbytes(chance.choice((0, 1, 7, 300))) * chance.choice((1, 1, 40))
        stream = deflated(data)
        size, crc = len(data), zlib.crc32(data)
        digest = sha256_of(data) if chance.random() < 0.5 else None
        match chance.randrange(8):
            case 0:
                stream = stream[: chance.randrange(len(stream))]
            case 1:
                stream += chance.randbytes(chance.randrange(1, 20))
            case 2:
                stream += trailer(data) + chance.randbytes(chance.randrange(12))
            case 3:
                other = chance.randbytes(len(data))
                stream += trailer(data) + GZIP_HEADER + deflated(other)
                crc = zlib.crc32(other)
            case 4:
                crc ^= 1
            case 5:
                size += chance.choice((-1, 1)) if size else 1
            case _:
                pass
        node = entry(place, stream, size, crc, digest)
        found, expected = at_once(node), in_pieces(node)
        assert found in (None, expected), (stream, size, crc)
        taken += found is not None
        refused += expected is None
    assert taken > 500
    assert refused > 500
