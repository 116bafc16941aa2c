"""What an ELF file says about how it is run: for which machine, by which loader, with what.

Read from bytes that may lie, without running anything: 64-bit little-endian files only, every
offset checked against the length. Not for symbols or sections; the dynamic table is found through
the program headers, as a loader finds it (System V gABI, chapters 4 and 5). Pure; raises
ArchiveError without place: the caller knows the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mllock.errors import ArchiveError

__all__ = ["Elf", "machine_of", "read_elf"]

# e_machine, in the words of `os.uname().machine`.
_MACHINES = {62: "x86_64", 183: "aarch64"}
_MAX_ENTRIES = 4096
_MAX_NAME = 4096

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_LOAD, _DYNAMIC_SEGMENT, _INTERP = 1, 2, 3
_END, _NEEDED, _STRINGS, _RPATH, _RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True, kw_only=True, slots=True)
class Elf:
    """`machine` is "x86_64", "aarch64" or a number; `needed` are names of libraries, `paths` the
    folders that the file itself names for them ("$ORIGIN" not replaced)."""

    machine: str
    interpreter: str | None
    needed: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def machine_of(data: bytes) -> str | None:
    """What the beginning of a file says: the machine it is for, in the words of `_MACHINES`; None
    if it is no 64-bit little-endian ELF file, or for none of these."""
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < 20:
        return None
    return _MACHINES.get(struct.unpack_from("<H", data, 18)[0])


def read_elf(data: bytes) -> Elf:
    """Raises ArchiveError if `data` is no ELF file that is understood here."""
    if data[:4] != b"\x7fELF":
        raise ArchiveError("not an ELF file")
    if data[4:6] != b"\x02\x01":
        raise ArchiveError("not a 64-bit little-endian ELF file")
    header = _unpack(_HEADER, data, 0)
    machine, table, width, count = header[2], header[5], header[9], header[10]
    if width != _PROGRAM.size or count > _MAX_ENTRIES:
        raise ArchiveError("an ELF file with a damaged program header")
    segments = []
    for number in range(count):
        fields = _unpack(_PROGRAM, data, table + number * width)
        segments.append(
            _Segment(kind=fields[0], offset=fields[2], address=fields[3], size=fields[5])
        )
    needed: list[str] = []
    paths: list[str] = []
    for tag, value in _dynamic(data, segments):
        if tag == _NEEDED:
            needed.append(value)
        elif tag in (_RPATH, _RUNPATH):
            paths += [part for part in value.split(":") if part]
    interpreters = [_string(data, s.offset) for s in segments if s.kind == _INTERP]
    return Elf(
        machine=_MACHINES.get(machine, str(machine)),
        interpreter=interpreters[0] if interpreters else None,
        needed=tuple(needed),
        paths=tuple(paths),
    )


def _dynamic(data: bytes, segments: list[_Segment]) -> list[tuple[int, str]]:
    """(tag, string) of the entries of the dynamic table that name something."""
    entries: list[tuple[int, int]] = []
    for segment in segments:
        if segment.kind != _DYNAMIC_SEGMENT:
            continue
        for number in range(min(segment.size // _DYNAMIC.size, _MAX_ENTRIES)):
            tag, value = _unpack(_DYNAMIC, data, segment.offset + number * _DYNAMIC.size)
            if tag == _END:
                break
            entries.append((tag, value))
    tables = [value for tag, value in entries if tag == _STRINGS]
    named = [(tag, value) for tag, value in entries if tag in (_NEEDED, _RPATH, _RUNPATH)]
    if not named:
        return []
    if len(tables) != 1:
        raise ArchiveError("an ELF file without names for its libraries")
    for segment in segments:
        if segment.kind == _LOAD and 0 <= tables[0] - segment.address < segment.size:
            start = segment.offset + tables[0] - segment.address
            return [(tag, _string(data, start + value)) for tag, value in named]
    raise ArchiveError("an ELF file without names for its libraries")


def _unpack(form: struct.Struct, data: bytes, at: int) -> tuple[int, ...]:
    if at + form.size > len(data):
        raise ArchiveError("an ELF file that ends early")
    return form.unpack_from(data, at)


def _string(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + _MAX_NAME) if at < len(data) else -1
    if end == -1:
        raise ArchiveError("an ELF file with a name that does not end")
    try:
        return data[at:end].decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError("an ELF file with a name that is not UTF-8") from None
