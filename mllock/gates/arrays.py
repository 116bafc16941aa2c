"""NumPy's files: arrays whose first dimension is the rows. Nothing in them is ever executed.

`.npy`: one dimension is the column `value`, two are columns `0`, `1`, ...; a structured array has
the columns that its fields name. `.npz`: the same for each array in it, by its name (`y`, `X.0`,
`X.1`), all with as many rows. Three or more dimensions are one column: the sha256 of the bytes of
each item, as of an image. Arrays of Python objects are pickles, and refused. Read as a stream, a
few rows at a time. Raises DataError.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mllock.errors import DataError
from mllock.gates.lines import check_magic
from mllock.gates.one_form import halves
from mllock.gates.parts import OneFile

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["ArraysPart"]

# Columns of a two-dimensional array: an image that was flattened has thousands.
MAX_COLUMNS = 16_384
# What is in Fortran's order cannot be read row by row.
MAX_WHOLE = 1 << 30
_BLOCK = 16 * 1024 * 1024


class _Array:
    """One array in a file: what its header says."""

    def __init__(self, name: str, stream: IO[bytes], shown: str) -> None:
        import numpy as np

        self.name = name
        label = f"{shown}: {name}" if name else shown
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            header = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            header = np.lib.format.read_array_header_2_0(stream)
        else:
            raise DataError(f"version {version[0]}.{version[1]} of NumPy's format", file=label)
        self.shape, self.fortran, self.dtype = header
        if self.dtype.hasobject:
            raise DataError(
                "an array of Python objects, which is a pickle",
                file=label,
                hint="save it with a type of its own: numbers, text of fixed width, or fields",
            )
        if not self.shape:
            raise DataError("a single value, not rows", file=label, hint="save an array")
        self.rows = int(self.shape[0])
        self.width = self.dtype.itemsize
        for size in self.shape[1:]:
            self.width *= int(size)
        if self.width > _BLOCK * 4:
            raise DataError(f"a row of more than {_BLOCK * 4 >> 20} MiB", file=label)
        if self.fortran and len(self.shape) > 1 and self.width * self.rows > MAX_WHOLE:
            raise DataError(
                "more than 1 GiB in Fortran's order, which cannot be read row by row",
                file=label,
                hint="save numpy.ascontiguousarray(array)",
            )
        self.label = label
        self.columns = self._columns()

    def _columns(self) -> dict[str, pl.DataType]:
        prefix = f"{self.name}." if self.name else ""
        if self.dtype.names is not None and len(self.shape) == 1:
            fields = {prefix + f: self.dtype[f] for f in self.dtype.names}
            if any(kind.names is not None or kind.shape for kind in fields.values()):
                raise DataError("fields within fields", file=self.label, hint="save plain fields")
            return {name: _polars_type(kind, self.label) for name, kind in fields.items()}
        if self.dtype.names is not None or len(self.shape) > 2:
            return {f"{prefix}sha256" if prefix else "sha256": _text()}
        kind = _polars_type(self.dtype, self.label)
        if len(self.shape) == 1:
            return {self.name or "value": kind}
        if self.shape[1] > MAX_COLUMNS:
            raise DataError(
                f"{self.shape[1]} columns", file=self.label, expected=f"at most {MAX_COLUMNS}"
            )
        return {f"{prefix}{place}": kind for place in range(self.shape[1])}

    def frame(self, block: NDArray[Any]) -> dict[str, pl.Series]:
        """Columns of some rows."""
        names = list(self.columns)
        if self.dtype.names is not None and len(self.shape) == 1:
            found = [block[field] for field in self.dtype.names]
        elif self.dtype.names is not None or len(self.shape) > 2:
            import polars as pl

            digests = [hashlib.sha256(item.tobytes()).hexdigest() for item in block]
            return {names[0]: pl.Series(digests, dtype=pl.String)}
        elif len(self.shape) == 1:
            found = [block]
        else:
            found = [block[:, place] for place in range(len(names))]
        return {
            name: _series(values, self.columns[name])
            for name, values in zip(names, found, strict=True)
        }


class ArraysPart(OneFile):
    """One .npy or .npz file. Headers are read when it is made."""

    def __init__(self, path: Path, *, file: str, shown: str) -> None:
        super().__init__(path, file=file, shown=shown)
        self._packed = path.suffix.lower() == ".npz"
        with self._opened() as streams:
            arrays = [array for array, _ in streams]
        self._schema: dict[str, pl.DataType] = {}
        for array in arrays:
            for name, kind in array.columns.items():
                if name in self._schema:
                    raise DataError(f"two columns with the name {name!r}", file=shown)
                self._schema[name] = kind
        if not self._schema:
            raise DataError("no columns", file=shown, hint="put columns there, or another source")
        if len({array.rows for array in arrays}) > 1:
            raise DataError(
                "arrays with different numbers of rows",
                file=shown,
                found=", ".join(f"{array.name}: {array.rows}" for array in arrays),
                hint="save those that belong together in one file, others in another source",
            )
        self._rows = arrays[0].rows

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        return self._schema

    def frames(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        import polars as pl

        wanted = set(columns)
        with self._opened() as streams:
            used = [(array, stream) for array, stream in streams if wanted & set(array.columns)]
            widest = max((array.width for array, _ in used), default=1)
            step = max(1, min(rows, _BLOCK // max(widest, 1)))
            readers = [(array, _blocks(array, stream, step)) for array, stream in used]
            for first in range(0, self._rows, step):
                height = min(step, self._rows - first)
                series: dict[str, pl.Series] = {}
                for array, blocks in readers:
                    series |= array.frame(next(blocks))
                if columns:
                    yield pl.DataFrame({name: series[name] for name in columns})
                else:
                    yield pl.DataFrame(height=height)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[list[tuple[_Array, IO[bytes]]]]:
        """Every array with its bytes, the header read."""
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(self._path.open("rb"))
                start = file.read(64)
                file.seek(0)
                if not start:
                    raise DataError(
                        "an empty file", file=self._shown, hint="put rows there, or another source"
                    )
                magic = b"PK" if self._packed else b"\x93NUMPY"
                if not start.startswith(magic):
                    check_magic(start, self._shown, "NumPy")
                    raise DataError("not what its name says", file=self._shown, expected="NumPy")
                streams = self._members(file, stack) if self._packed else [("", file)]
                yield [(_Array(name, stream, self._shown), stream) for name, stream in streams]
            except (
                ValueError,
                EOFError,
                zipfile.BadZipFile,
                zlib.error,
                NotImplementedError,
                RuntimeError,
            ) as error:
                lines = str(error).splitlines() or ["no reason given"]
                raise DataError(
                    f"cannot be read as NumPy's: {lines[0]}",
                    file=self._shown,
                    hint="write it again",
                ) from None
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise DataError(f"cannot be read: {reason}", file=self._shown) from error

    def _members(
        self, file: IO[bytes], stack: contextlib.ExitStack
    ) -> Iterator[tuple[str, IO[bytes]]]:
        archive = stack.enter_context(zipfile.ZipFile(file))
        names = archive.namelist()
        if not names:
            raise DataError("no arrays", file=self._shown, hint="put rows there, or another source")
        if len(names) > 256:
            raise DataError(f"{len(names)} arrays", file=self._shown, expected="at most 256")
        for name in names:
            if not name.endswith(".npy"):
                raise DataError(f"{name!r} is no array", file=self._shown, hint="leave it out")
            yield name.removesuffix(".npy"), stack.enter_context(archive.open(name))


def _blocks(array: _Array, stream: IO[bytes], rows: int) -> Iterator[NDArray[Any]]:
    import numpy as np

    if array.fortran and len(array.shape) > 1:
        data = _exactly(stream, array.width * array.rows, array.label)
        whole = np.frombuffer(data, array.dtype).reshape(array.shape, order="F")
        for first in range(0, array.rows, rows):
            yield whole[first : first + rows]
        return
    for first in range(0, array.rows, rows):
        count = min(rows, array.rows - first)
        data = _exactly(stream, array.width * count, array.label)
        yield np.frombuffer(data, array.dtype).reshape((count, *array.shape[1:]))


def _exactly(stream: IO[bytes], size: int, label: str) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise DataError("shorter than its header says", file=label, hint="write it again")
    return data


def _text() -> pl.DataType:
    import polars as pl

    return pl.String()


def _polars_type(dtype: np.dtype[Any], label: str) -> pl.DataType:
    import polars as pl

    kind, size = dtype.kind, dtype.itemsize
    found: pl.DataType | None = None
    if kind == "b":
        found = pl.Boolean()
    elif kind in "iu":
        found = pl.UInt64() if kind == "u" and size == 8 else pl.Int64()
    elif kind == "f" and size <= 8:
        found = pl.Float64() if size == 8 else pl.Float32()
    elif kind in "US":
        found = pl.String() if kind == "U" else pl.Binary()
    elif kind == "M":
        found = pl.Datetime("us")
    if found is None:
        raise DataError(
            f"a type that gates do not read: {dtype}",
            file=label,
            expected="booleans, numbers, text or times",
        )
    return found


def _series(values: NDArray[Any], dtype: pl.DataType) -> pl.Series:
    import numpy as np
    import polars as pl

    if isinstance(dtype, pl.Boolean):
        return pl.Series(np.ascontiguousarray(values))
    if isinstance(dtype, pl.Float32):
        if values.dtype.itemsize == 2:
            return pl.Series(halves(values)).fill_nan(None)
        return pl.Series(np.ascontiguousarray(values, np.float32)).fill_nan(None)
    if isinstance(dtype, pl.Float64):
        return pl.Series(np.ascontiguousarray(values, np.float64)).fill_nan(None)
    if isinstance(dtype, pl.Int64 | pl.UInt64):
        kind = np.int64 if isinstance(dtype, pl.Int64) else np.uint64
        return pl.Series(np.ascontiguousarray(values, kind))
    if isinstance(dtype, pl.Datetime):
        return pl.Series(np.ascontiguousarray(values, "datetime64[us]"))
    return pl.Series(values.tolist(), dtype=dtype)
