"""Two files of arrays, compared by name, shape, type and largest difference, piece by piece.

Values are compared as numbers: integers exactly, floats in double precision, two NaN alike. What is
no number, or has no fixed size, is compared as bytes. Numpy is an extra, and imported where used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from mllock.diff.stored import PIECE, Stored, stored_arrays

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ArrayChange", "compare_arrays", "in_words"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayChange:
    """One array that is not the same. `differing` of its `count` elements differ, by at most
    `largest`; None where that was not looked at (other shapes) or means nothing (no numbers)."""

    name: str
    change: Literal["added", "removed", "changed"]
    old: str | None = None
    new: str | None = None
    count: int = 0
    differing: int | None = None
    largest: float | None = None
    nan: int = 0
    note: str = ""


def compare_arrays(a: BinaryIO, b: BinaryIO, name: str) -> tuple[ArrayChange, ...]:
    """All arrays that differ, by name. Raises ArchiveError for a file that is not as it says."""
    return tuple(_compared(stored_arrays(a, name), stored_arrays(b, name)))


def in_words(change: ArrayChange) -> str:
    """One line."""
    name = change.name or "the array"
    if change.old is None or change.new is None:
        return f"{name}  {change.change}  {change.new or change.old}"
    kind = change.new if change.old == change.new else f"{change.old} -> {change.new}"
    said = []
    if change.differing is not None:
        said.append(f"{change.differing} of {change.count} values differ")
    if change.largest is not None:
        said.append(f"largest difference {change.largest:g}")
    if change.nan:
        said.append(f"{change.nan} NaN on one side only")
    return "  ".join(part for part in (name, kind, ", ".join(said), change.note) if part)


def _compared(a: Mapping[str, Stored], b: Mapping[str, Stored]) -> Iterator[ArrayChange]:
    for name in sorted({*a, *b}):
        old, new = a.get(name), b.get(name)
        if old is None or new is None:
            yield ArrayChange(
                name=name,
                change="added" if old is None else "removed",
                old=None if old is None else str(old),
                new=None if new is None else str(new),
            )
        elif (found := _pair(old, new)) is not None:
            yield found


def _pair(old: Stored, new: Stored) -> ArrayChange | None:
    said = {"name": old.name, "change": "changed", "old": str(old), "new": str(new)}
    if old.shape != new.shape:
        return ArrayChange(**said)  # type: ignore[arg-type] # the four above
    if old.order != new.order:
        return ArrayChange(**said, note=f"stored in {old.order} order, now {new.order}")  # type: ignore[arg-type]
    if old.numbers is None or new.numbers is None or 0 in (old.item, new.item):
        return _as_bytes(old, new, said)
    tally = _Tally()
    step = max(1, PIECE // max(old.item, new.item))
    same_bytes = old.item == new.item
    for left, right in zip(old.pieces(step * old.item), new.pieces(step * new.item), strict=True):
        if left == right and old.dtype == new.dtype:
            continue
        same_bytes = False
        tally.add(old.numbers(left), new.numbers(right))
    if same_bytes and old.dtype == new.dtype:
        return None
    return ArrayChange(
        **said,  # type: ignore[arg-type]
        count=old.count,
        differing=tally.differing,
        largest=tally.largest if tally.differing > tally.nan else None,
        nan=tally.nan,
        note="" if tally.differing else "the same values, written otherwise",
    )


def _as_bytes(old: Stored, new: Stored, said: Mapping[str, Any]) -> ArrayChange | None:
    if old.dtype != new.dtype:
        return ArrayChange(**said)
    if old.item == 0:
        same = old.size == new.size and all(
            left == right for left, right in zip(old.pieces(PIECE), new.pieces(PIECE), strict=True)
        )
        return None if same else ArrayChange(**said, note="the bytes differ")
    import numpy as np

    differing, step = 0, max(1, PIECE // old.item) * old.item
    for left, right in zip(old.pieces(step), new.pieces(step), strict=True):
        if left != right:
            rows = (np.frombuffer(data, "u1").reshape(-1, old.item) for data in (left, right))
            differing += int(np.count_nonzero((next(rows) != next(rows)).any(axis=1)))
    return ArrayChange(**said, count=old.count, differing=differing) if differing else None


@dataclass(slots=True)
class _Tally:
    differing: int = 0
    nan: int = 0
    largest: float = 0.0

    def add(self, old: npt.NDArray[Any], new: npt.NDArray[Any]) -> None:
        import numpy as np

        old, new = _comparable(old, new)
        with np.errstate(all="ignore"):
            differ = old != new
            if old.dtype.kind in "fc":
                missing = np.isnan(old), np.isnan(new)
                differ &= ~(missing[0] & missing[1])
                one = missing[0] ^ missing[1]
                self.nan += int(np.count_nonzero(one))
                measured = differ & ~one
            else:
                measured = differ
            self.differing += int(np.count_nonzero(differ))
            if measured.any():
                self.largest = max(self.largest, _largest(old[measured], new[measured]))


def _comparable(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Both as one type that holds either: integers stay integers where one type holds both."""
    import numpy as np

    old, new = (_plain(array) for array in (old, new))
    if "c" in (old.dtype.kind, new.dtype.kind):
        return old.astype("c16"), new.astype("c16")
    if "f" not in (old.dtype.kind, new.dtype.kind):
        common = np.result_type(old.dtype, new.dtype)
        return old.astype(common), new.astype(common)
    return old.astype("f8"), new.astype("f8")


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Times as integers, truth as 0 and 1, and this machine's order of bytes."""
    if array.dtype.kind in "mM":
        return array.astype(array.dtype.newbyteorder("=")).view("i8")
    return array.astype("i8") if array.dtype.kind == "b" else array


def _largest(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> float:
    import numpy as np

    if old.dtype.kind in "iu":
        # Modulo 2**64 the difference of the larger and the smaller is exact.
        wide = "i8" if old.dtype.kind == "i" else "u8"
        high, low = (pick(old, new).astype(wide).view("u8") for pick in (np.maximum, np.minimum))
        return float((high - low).max())
    found = float(np.abs(old - new).max())
    return math.inf if math.isnan(found) else found
