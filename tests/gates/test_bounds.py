"""Small files that unpack to large ones: readers hold a part of them, or refuse them."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mllock.errors import DataError
from mllock.gates import lines
from tests.support.tables import opened

ROWS = 8_000_000
# VmHWM, because a child's ru_maxrss begins with what its parent has.
PROGRAM = """
from pathlib import Path
from mllock.gates.open import open_file

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

table = open_file("t", Path("t.parquet"), shown="t.parquet")
before = peak()
print(sum(batch.frame.height for batch in table.batches()), peak() - before)
"""


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_ROW", 1 << 20)
    monkeypatch.setattr(lines, "BLOCK", 1 << 18)
    with pytest.raises(DataError) as caught:
        opened(tmp_path, "t.csv.gz", gzip.compress(b"a" * (50 << 20)))
    assert str(caught.value) == (
        "t.csv.gz: a row of more than 1 MiB\n"
        "hint: is a quote not closed, or are there no line ends?"
    )


def test_a_group_of_rows_that_is_all_of_a_file_is_not_unpacked_at_once(tmp_path: Path) -> None:
    columns = {f"n{n}": pl.Series([n]).new_from_index(0, ROWS) for n in range(4)}
    pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet", row_group_size=ROWS)
    assert (tmp_path / "t.parquet").stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    rows, megabytes = map(int, done.stdout.split())
    assert rows == ROWS
    # All of it would be 256 MB.
    assert megabytes < 100
