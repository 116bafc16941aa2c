"""Where rows end and values begin in a piece of CSV: quotes, separators and line ends, counted.

Vectorised: no loop over bytes or rows. Without quotes everything is a count; with quotes, a mark
is inside of a value if the number of quotes before it is odd, which holds as long as quotes stand
around whole values only; `wrong_quote` finds what breaks that. Pure.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Marks", "first_row_end", "last_row_end"]

_QUOTE, _LF, _CR = 0x22, 0x0A, 0x0D


def last_row_end(data: bytes) -> int:
    """The length of the whole rows that `data` begins with."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1
    ends = Marks(data, ",").row_ends
    return int(ends[-1]) + 1 if len(ends) else 0


def first_row_end(data: bytes) -> int:
    """The length of the first row; all of it, if it does not end."""
    end = data.find(b"\n") + 1
    if b'"' not in data[: end or None]:
        return end or len(data)
    ends = Marks(data, ",").row_ends
    return int(ends[0]) + 1 if len(ends) else len(data)


class Marks:
    """The marks of whole rows."""

    def __init__(self, data: bytes, separator: str) -> None:
        self.data = data
        self._separator = ord(separator)
        self._quoted = b'"' in data

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        import numpy as np

        return np.frombuffer(self.data, np.uint8)

    @cached_property
    def _quotes(self) -> NDArray[np.int64]:
        return self._places(_QUOTE)

    @cached_property
    def row_ends(self) -> NDArray[np.int64]:
        """Where line ends are that end a row or a blank line."""
        return self._outside(self._places(_LF))

    @cached_property
    def lines(self) -> int:
        """How many line ends there are, in values as well."""
        return self.data.count(b"\n")

    def separators(self) -> int:
        """How many there are between values."""
        import numpy as np

        if not self._quoted:
            return int(np.count_nonzero(self._bytes == self._separator))
        return len(self._outside(self._places(self._separator)))

    def rows_before(self, place: int) -> int:
        """How many rows end before `place`, blank lines not counted."""
        import numpy as np

        ends = self.row_ends[: np.searchsorted(self.row_ends, place)]
        return len(ends) - int(np.count_nonzero(self._lengths(ends) == 0))

    def other_length(self, separators: int, before: int | None) -> tuple[int, int] | None:
        """The first row with another number of separators: where it starts and how many it has. Of
        rows that end before `before`; without it of all, also one that is not ended."""
        import numpy as np

        ends = self.row_ends if before is None else self.row_ends[self.row_ends < before]
        starts = np.concatenate((np.zeros(1, np.int64), ends + 1))
        if before is None and self.data[int(starts[-1]) :].strip(b"\r"):
            ends = np.append(ends, len(self.data))
        starts = starts[: len(ends)]
        marks = self._outside(self._places(self._separator))
        counts = np.searchsorted(marks, ends) - np.searchsorted(marks, starts)
        wrong = np.flatnonzero((counts != separators) & (self._lengths(ends) > 0))
        return (int(starts[wrong[0]]), int(counts[wrong[0]])) if len(wrong) else None

    def without_blank_lines(self) -> tuple[bytes, int]:
        """The rows, and how many they are."""
        import numpy as np

        data = self.data
        open_end = not data.endswith(b"\n") and bool(data.strip(b"\r"))
        starts = data.startswith((b"\n", b"\r\n"))
        returns = b"\r" in data and b"\n\r\n" in data
        if not (starts or returns or b"\n\n" in data):
            body = data if open_end else data[: data.rfind(b"\n") + 1]
            count = len(self.row_ends) if self._quoted else self.lines
            return body, count + open_end
        ends = self.row_ends
        lengths = self._lengths(ends)
        keep = np.ones(len(data), bool)
        for place, back in ((ends[lengths == 0], 0), (ends[lengths == 0] - 1, 1)):
            inside = place[place >= 0]
            drop = inside[self._bytes[inside] == (_CR if back else _LF)]
            keep[drop] = False
        if not open_end:
            keep[data.rfind(b"\n") + 1 :] = False
        body = self._bytes[keep].tobytes()
        return body, int(np.count_nonzero(lengths)) + open_end

    def wrong_quote(self) -> int | None:
        """The first quote that neither begins, ends nor is twice within a quoted value."""
        import numpy as np

        if not self._quoted:
            return None
        quotes = self._quotes
        before = self._bytes[np.maximum(quotes - 1, 0)]
        after = self._bytes[np.minimum(quotes + 1, len(self.data) - 1)]
        begins = np.isin(before, (self._separator, _LF, _QUOTE)) | (quotes == 0)
        ends = np.isin(after, (self._separator, _LF, _CR, _QUOTE)) | (quotes == len(self.data) - 1)
        # A quote before an opening one has to be the other half of a doubled one.
        is_open = np.arange(len(quotes)) % 2 == 0
        wrong = np.where(is_open, ~begins, ~ends)
        if len(quotes) % 2:
            wrong[-1] = True
        found = np.flatnonzero(wrong)
        return int(quotes[found[0]]) if len(found) else None

    def _places(self, byte: int) -> NDArray[np.int64]:
        import numpy as np

        found: NDArray[np.int64] = np.flatnonzero(self._bytes == byte)
        return found

    def _outside(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those that no quotes are around."""
        import numpy as np

        if not self._quoted or not len(places):
            return places
        found: NDArray[np.int64] = places[np.searchsorted(self._quotes, places) % 2 == 0]
        return found

    def _lengths(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """The lengths of the lines that end there, without a carriage return before the end."""
        import numpy as np

        if not len(ends):
            return ends
        starts = np.concatenate((np.zeros(1, ends.dtype), ends[:-1] + 1))
        returns = self._bytes[np.maximum(ends - 1, 0)] == _CR
        lengths: NDArray[np.int64] = ends - starts - (returns & (ends > starts))
        return lengths
