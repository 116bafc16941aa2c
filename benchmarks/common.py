"""What the benchmarks share: medians, tables, JSON. Not a package: scripts import it by folder."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["LARGE", "Silent", "machine", "median_seconds", "print_table", "write_json"]

# A wheel with more bytes has a layer of its own.
LARGE = 2_000_000


class Silent:
    """A reporter of nothing."""

    def step(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...

    @contextlib.contextmanager
    def progress(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda _: None


def median_seconds(fn: Callable[[], object], runs: int = 5) -> float:
    """The median wall-clock time of `runs` calls."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows with the same keys under their keys; numbers to the right, floats short."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]
    right = [all(isinstance(row.get(name), int | float) for row in rows) for name in names]
    print("  ".join(_pad(name, widths[i], right[i]) for i, name in enumerate(names)).rstrip())
    print("  ".join("-" * width for width in widths))
    for row in cells:
        print("  ".join(_pad(cell, widths[i], right[i]) for i, cell in enumerate(row)).rstrip())


def write_json(path: Path | str | None, value: Any) -> None:
    """Write `value`, with the machine beside it, if a path was asked for."""
    if path is not None:
        text = json.dumps({"machine": machine(), "result": value}, indent=2, sort_keys=True)
        Path(path).write_text(text + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return "" if value is None else str(value)


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
