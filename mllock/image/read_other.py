"""Layers of bases: tars that any tool wrote.

A base is pinned by digest, so what is in it does not have to be written in mllock's way: GNU and
PAX headers, times and names of owners, "./" before paths are read as engines read them. Refused is
what engines do not agree on, or has no place in a layer: devices, FIFOs, sparse files, paths that
are absolute, lead outside or are not UTF-8. Raises ArchiveError without place.
"""

from __future__ import annotations

from collections.abc import Iterator

from mllock.errors import ArchiveError
from mllock.image.read_tar import BLOCK, Header, Source, strict_header, strict_pax
from mllock.image.stream_tar import RawMember, StreamMember, loose_member, raw_member

__all__ = ["other_headers"]


def other_headers(source: Source, loose: list[str]) -> Iterator[Header]:
    """The members in order. Between two of them the caller takes the member's `size` bytes.

    `loose` gets the first reason why `mllock.image.read_tar` would refuse this tar, if there is
    one: who may hold a layer to be mllock's own decides by it.
    """
    while True:
        raw = raw_member(source)
        if raw is None:
            break
        header = _strictly(raw, loose)
        if header is None:
            member = loose_member(raw)
            if member is None:
                continue
            header = _header(member)
        yield header
        padding = source.take(-header.size % BLOCK)
        if padding.count(0) != len(padding):
            _note(loose, "bytes in the padding after a member")
    rest = b""
    for chunk in source.drain():
        rest = rest or bytes(chunk[:BLOCK])
        if chunk.count(0) != len(chunk):
            raise ArchiveError("data after the end of the tar")
    if not rest:
        _note(loose, "one zero block where the tar should end")


def _strictly(raw: RawMember, loose: list[str]) -> Header | None:
    """The member as the strict reader reads it, or None with the reason in `loose`."""
    pax: dict[str, str] = {}
    try:
        for kind, data, padding in raw.extensions:
            if kind != b"x":
                _note(loose, f"a member of type {kind!r}: not a file, folder or link")
                return None
            pax = strict_pax(Source(iter([data + padding])), len(data))
        return strict_header(raw.block, pax)
    except ArchiveError as error:
        _note(loose, error.message)
        return None


def _note(loose: list[str], reason: str) -> None:
    if not loose:
        loose.append(reason)


def _header(member: StreamMember) -> Header:
    for text in (member.path, member.target or ""):
        if not text.isprintable() and _is_bad(text):
            raise ArchiveError(f"a name that is not UTF-8, or has a NUL: {text[:200]!r}")
    if member.kind == "device" or member.kind == "fifo":
        raise ArchiveError(f"{member.path!r} is a {member.kind}: not a file, folder or link")
    if member.kind in ("symlink", "hardlink") and not member.target:
        raise ArchiveError(f"{member.path!r} is a {member.kind} without target")
    return Header(
        path=member.path,
        kind=member.kind,
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        size=member.size,
        target=member.target,
    )


def _is_bad(text: str) -> bool:
    return "\0" in text or any(0xD800 <= ord(char) <= 0xDFFF for char in text)
