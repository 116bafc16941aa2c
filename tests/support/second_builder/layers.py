"""Tar and gzip of a layer: sections "Tar" and "Gzip" of the page."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import deflate


@dataclass(frozen=True, kw_only=True)
class Member:
    """`kind` is the typeflag. `stream` is the content as a deflate stream, where a wheel has it."""

    path: str
    kind: str
    mode: int
    data: bytes = b""
    stream: bytes | None = None
    target: str = ""


@dataclass(frozen=True, kw_only=True)
class Layer:
    kind: str
    title: str
    blob: bytes
    diff_id: str
    digest: str


def tar_header(member: Member) -> bytes:
    name = member.path + ("/" if member.kind == "5" else "")
    raw, target = name.encode(), member.target.encode()
    size = len(member.data)
    pax: dict[str, str] = {}
    prefix = b""
    if not name.isascii():
        pax["path"] = name
    elif len(raw) > 100:
        splits = [at for at in range(len(raw)) if raw[at] == 0x2F and 1 <= len(raw) - at - 1 <= 100]
        fitting = [at for at in splits if 1 <= at <= 155]
        if fitting:
            prefix, raw = raw[: fitting[-1]], raw[fitting[-1] + 1 :]
        else:
            pax["path"] = name
    if not member.target.isascii() or len(target) > 100:
        pax["linkpath"] = member.target
    if size > 0o77777777777:
        pax["size"] = str(size)
    block = _block(
        _cut(raw) if "path" in pax else raw,
        member.mode,
        0 if "size" in pax else size,
        member.kind,
        _cut(target) if "linkpath" in pax else target,
        prefix,
    )
    if not pax:
        return block
    body = b"".join(_pax_record(key, pax[key]) for key in sorted(pax))
    return _block(b"PaxHeader", 0o644, len(body), "x", b"", b"") + _padded(body) + block


def _cut(text: bytes) -> bytes:
    return bytes(byte if byte <= 0x7F else ord("?") for byte in text[:100])


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def _pax_record(key: str, value: str) -> bytes:
    body = b" " + key.encode() + b"=" + value.encode() + b"\n"
    digits = 1
    while len(str(len(body) + digits)) != digits:
        digits += 1
    return str(len(body) + digits).encode() + body


def _block(name: bytes, mode: int, size: int, kind: str, target: bytes, prefix: bytes) -> bytes:
    block = bytearray(512)

    def put(at: int, data: bytes) -> None:
        block[at : at + len(data)] = data

    put(0, name)
    put(100, b"%07o\0" % mode)
    put(108, b"0000000\0")
    put(116, b"0000000\0")
    put(124, b"%011o\0" % size)
    put(136, b"00000000000\0")
    put(148, b" " * 8)
    put(156, kind.encode())
    put(157, target)
    put(257, b"ustar\x0000")
    put(329, b"0000000\0")
    put(337, b"0000000\0")
    put(345, prefix)
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


# ----- Gzip -----

HEAD = bytes.fromhex("1f8b08000000000000ff")


def gzip_member(stream: bytes, data: bytes) -> bytes:
    size = len(data) % 2**32
    return HEAD + stream + zlib.crc32(data).to_bytes(4, "little") + size.to_bytes(4, "little")


def gzip_run(data: bytes, level: int) -> bytes:
    pieces = [data[at : at + 1_048_576] for at in range(0, len(data), 1_048_576)]
    return b"".join(gzip_member(bytes(deflate.deflate_compress(p, level)), p) for p in pieces)


def layer(kind: str, title: str, members: Iterable[Member]) -> Layer:
    complete = {member.path: member for member in members}
    for path in list(complete):
        parts = path.split("/")
        for count in range(1, len(parts)):
            parent = "/".join(parts[:count])
            complete.setdefault(parent, Member(path=parent, kind="5", mode=0o755))
    ordered = sorted(complete.values(), key=lambda m: (m.kind == "1", m.path.encode()))
    tar, run, blob = hashlib.sha256(), b"", b""
    level = 1 if kind == "python" else 6
    for member in ordered:
        run += tar_header(member)
        if member.stream is not None and len(member.data) >= 16_384:
            tar.update(run + member.data)
            blob += gzip_run(run, level) + gzip_member(member.stream, member.data)
            run = b""
        else:
            run += member.data
        run += b"\0" * (-len(member.data) % 512)
    run += b"\0" * 1024
    tar.update(run)
    blob += gzip_run(run, level)
    return Layer(
        kind=kind,
        title=title,
        blob=blob,
        diff_id=f"sha256:{tar.hexdigest()}",
        digest=sha256(blob),
    )


def given(kind: str, title: str, blob: bytes) -> Layer:
    return Layer(
        kind=kind,
        title=title,
        blob=blob,
        diff_id=sha256(gzip.decompress(blob)),
        digest=sha256(blob),
    )


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
