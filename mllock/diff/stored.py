"""Arrays where they lie in a file: safetensors, npy and npz, named, typed, and read in pieces.

Headers come from anywhere: their size is bounded before they are read, and what they promise has to
be there to the byte, with nothing over. Nothing is unpickled: an array of objects is bytes. Nothing
is held whole: memory does not grow with a file. Raises ArchiveError that names the file.

- safetensors: https://github.com/huggingface/safetensors, "Format"
- npy: NEP 1; npz: a zip of npy files, stored or deflated
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from mllock.errors import ArchiveError

if TYPE_CHECKING:
    import numpy.typing as npt
    from _typeshed import WriteableBuffer

__all__ = ["SUFFIXES", "Stored", "stored_arrays"]

SUFFIXES = (".safetensors", ".npy", ".npz")

# The largest published models have headers of about a megabyte.
MAX_HEADER = 16 * 1024 * 1024
MAX_NPY_HEADER = 10_000
MAX_ARRAYS = 100_000
PIECE = 4 * 1024 * 1024

_NAMES = {
    "BF16": "<u2",
    "BOOL": "?",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "I8": "i1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "U8": "u1",
}
# Types that numpy has no name for are compared as bytes.
_BYTES = frozenset(("F8_E4M3", "F8_E5M2", "F8_E8M0"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One array. `dtype` is for people; `item` is the bytes of an element, 0 where they have no
    fixed size; `size` those of the array; `order` is how an array of rows lies in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    item: int
    size: int
    order: str = "C"
    opened: Callable[[], IO[bytes]]
    numbers: Callable[[bytes], npt.NDArray[Any]] | None = None

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]"

    def pieces(self, size: int) -> Iterator[bytes]:
        """Its bytes in order, `size` at a time. Raises ArchiveError if they are not there."""
        left = self.size
        try:
            with self.opened() as file:
                while left > 0:
                    data = file.read(min(size, left))
                    while len(data) < min(size, left):
                        more = file.read(min(size, left) - len(data))
                        if not more:
                            raise ArchiveError("ends in the middle of an array", key=self.name)
                        data += more
                    left -= len(data)
                    yield data
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ArchiveError(f"a damaged archive: {error}", key=self.name) from None


def stored_arrays(file: BinaryIO, name: str) -> Mapping[str, Stored]:
    """The arrays of an open file, by name; the file stays the caller's, and open while they are
    read. An npy file has one, with no name."""
    try:
        if name.endswith(".safetensors"):
            return _safetensors(file)
        if name.endswith(".npz"):
            return _npz(file)
        return {"": _npy("", os.fstat(file.fileno()).st_size, lambda: _at(file, 0))}
    except ArchiveError as error:
        error.file = name
        raise


class _Reader(io.RawIOBase):
    """A position of one's own in a file that is shared and stays open."""

    def __init__(self, descriptor: int, place: int) -> None:
        self._descriptor, self._place = descriptor, place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}
        base = start[whence] if whence in start else os.fstat(self._descriptor).st_size
        self._place = base + offset
        if self._place < 0:
            raise ArchiveError("a place before the start of the file")
        return self._place

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self._place >= os.fstat(self._descriptor).st_size:
            return 0
        count = os.preadv(self._descriptor, [buffer], self._place)
        self._place += count
        return count


def _at(file: BinaryIO, place: int) -> io.BufferedReader:
    return io.BufferedReader(_Reader(file.fileno(), place))


def _safetensors(file: BinaryIO) -> dict[str, Stored]:
    whole = os.fstat(file.fileno()).st_size
    start = _at(file, 0)
    length = int.from_bytes(start.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER, whole - 8):
        raise ArchiveError("not a safetensors file: the size of its header", found=str(length))
    try:
        header = json.loads(start.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"not a safetensors file: {error}") from None
    if not isinstance(header, dict) or len(header) > MAX_ARRAYS:
        raise ArchiveError("not a safetensors file: its header is no table of arrays")
    header.pop("__metadata__", None)
    arrays, places = {}, []
    for name, entry in header.items():
        match entry:
            case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]} if (
                len(entry) == 3
                and len(shape) <= 64
                and all(type(number) is int and number >= 0 for number in (*shape, begin, end))
                and dtype in _NAMES.keys() | _BYTES
            ):
                places.append((begin, end))
                arrays[name] = _tensor(file, name, dtype, tuple(shape), 8 + length + begin)
                if arrays[name].size != end - begin:
                    raise ArchiveError(
                        "not as large as its shape says",
                        key=name,
                        expected=f"{arrays[name].size} bytes",
                        found=f"{end - begin} bytes",
                    )
            case _:
                raise ArchiveError("not an array of a known type", key=name)
    position = 0
    for begin, end in sorted(places):
        if begin != position:
            raise ArchiveError("arrays overlap, or leave a gap")
        position = end
    if position != whole - 8 - length:
        raise ArchiveError(
            "not as long as its header says",
            expected=f"{8 + length + position} bytes",
            found=f"{whole} bytes",
        )
    return arrays


def _tensor(file: BinaryIO, name: str, dtype: str, shape: tuple[int, ...], place: int) -> Stored:
    import numpy as np

    kind = np.dtype(_NAMES.get(dtype, "u1"))
    numbers: Callable[[bytes], npt.NDArray[Any]] | None
    if dtype == "BF16":
        # The upper half of a float32.
        def numbers(data: bytes) -> npt.NDArray[Any]:
            return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    elif dtype in _BYTES:
        numbers = None
    else:

        def numbers(data: bytes) -> npt.NDArray[Any]:
            return np.frombuffer(data, kind)

    return Stored(
        name=name,
        dtype=dtype if dtype in _BYTES else "bfloat16" if dtype == "BF16" else kind.name,
        shape=shape,
        item=kind.itemsize,
        size=math.prod(shape) * kind.itemsize,
        opened=lambda: _at(file, place),
        numbers=numbers,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _npz(file: BinaryIO) -> dict[str, Stored]:
    _refuse_large_directory(file)
    try:
        archive = zipfile.ZipFile(_at(file, 0))
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise ArchiveError("two arrays of one name")
        return {
            name: _npy(name, entry.file_size, functools.partial(archive.open, entry))
            for entry in entries
            if _plain(entry) and (name := entry.filename.removesuffix(".npy"))
        }
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, UnicodeDecodeError) as error:
        raise ArchiveError(f"not an npz file: {error}") from None


def _plain(entry: zipfile.ZipInfo) -> bool:
    if (
        not entry.filename.endswith(".npy")
        or entry.flag_bits & 1
        or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ):
        raise ArchiveError("not an array, stored or deflated", key=entry.filename)
    return True


def _refuse_large_directory(file: BinaryIO) -> None:
    """The directory of an archive is read whole by zipfile. APPNOTE.TXT, 4.3.14 to 4.3.16."""
    size = os.fstat(file.fileno()).st_size
    tail = _at(file, max(0, size - 65_557)).read(65_557)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) - end < 22:
        raise ArchiveError("not an npz file: no directory at its end")
    length = int.from_bytes(tail[end + 12 : end + 16], "little")
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\6\7":
        record = _at(file, int.from_bytes(tail[end - 12 : end - 4], "little")).read(56)
        length = int.from_bytes(record[40:48], "little") if record[:4] == b"PK\6\6" else size
    if length > MAX_HEADER:
        raise ArchiveError("an archive of too many arrays", found=f"a directory of {length} bytes")


def _npy(name: str, whole: int, opened: Callable[[], IO[bytes]]) -> Stored:
    from tokenize import TokenError

    import numpy as np
    from numpy.lib import format as npy

    with opened() as reader:
        head = io.BytesIO(reader.read(12 + MAX_NPY_HEADER))
    try:
        version = npy.read_magic(head)
        if version not in ((1, 0), (2, 0)):
            raise ArchiveError("a version of npy that is not known", key=name or None)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Python 2 wrote it
            shape, fortran, kind = read(head, max_header_size=MAX_NPY_HEADER)
    except (ValueError, SyntaxError, TokenError, RecursionError, MemoryError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ArchiveError(f"not an npy array: {reason}", key=name or None) from None
    start = head.tell()
    size = math.prod(shape) * kind.itemsize
    plain = not kind.hasobject
    if any(number < 0 for number in shape) or (plain and start + size != whole):
        raise ArchiveError(
            "not as large as its header says",
            key=name or None,
            expected=f"{start + size} bytes",
            found=f"{whole} bytes",
        )
    number = kind.kind in "biufcmM" and plain

    def after() -> IO[bytes]:
        reader = opened()
        reader.read(start)
        return reader

    return Stored(
        name=name,
        dtype=kind.name if plain else "objects (a pickle, which is not read)",
        shape=tuple(shape),
        item=kind.itemsize if plain else 0,
        size=size if plain else whole - start,
        order="Fortran" if fortran and len(shape) > 1 else "C",
        opened=after,
        numbers=(lambda data: np.frombuffer(data, kind)) if number else None,
    )
