"""How many rows came and went between two texts of rows: CSV, TSV, JSON lines.

A row is what a reader of the format sees, whatever its line ends; order does not count. Bounded by
the size of what is handed in. Pure.
"""

from __future__ import annotations

import csv
import io
from collections import Counter

__all__ = ["MAX_TABLE", "rows_between"]

MAX_TABLE = 64 * 1024 * 1024
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")


def rows_between(name: str, old: bytes, new: bytes) -> tuple[int, int] | None:
    """Rows added and removed; None for what is no such text."""
    counts = _rows(name, old), _rows(name, new)
    if counts[0] is None or counts[1] is None:
        return None
    return (counts[1] - counts[0]).total(), (counts[0] - counts[1]).total()


def _rows(name: str, data: bytes) -> Counter[int] | None:
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix in _LINES:
        # Hashes and not rows: two different rows are one with a chance of one in 2**64.
        return Counter(hash(line.strip()) for line in data.split(b"\n") if line.strip())
    if suffix not in _DELIMITERS:
        return None
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        reader = csv.reader(text, delimiter=_DELIMITERS[suffix], strict=True)
        return Counter(hash(tuple(row)) for row in reader if row)
    except (UnicodeDecodeError, csv.Error):
        return None
