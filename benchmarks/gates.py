"""The data gates against pandas and duckdb: the same questions about the same two splits.

    pip install pandas pyarrow duckdb
    python benchmarks/gates.py [--rows 10000000] [--format csv] [--ways mllock,pandas,duckdb]
                               [--python PYTHON] [--folder DIR] [--json FILE]
    python benchmarks/gates.py --keys 100000000

Makes a train and a test split of 20 columns, 4 to 1, in DIR (default: a temporary folder; 10
million rows are 2 GB of CSV, 1 GB of Parquet), with rows, keys and groups planted in both; each way
answers in a process of its own: rows that are in both exactly and after normalising, keys, groups,
time, columns that are constant or missing, how the label is distributed. Way by way it is asked
that the answers are what was planted. Prints seconds, peak memory and ratios; ends with 1 if
mllock is not TARGET_TIME times as fast as pandas with less than TARGET_MEMORY of its memory.
PYTHON is one that has the peers, if this one does not. `--keys N` compares only keys, of N rows of
Parquet in all, by mllock alone, and ends with 1 beyond TARGET_KEYS bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from common import print_table, write_json

TARGET_TIME = 5.0
TARGET_MEMORY = 1 / 3
TARGET_KEYS = 4_000_000_000
WAYS = ("mllock", "pandas", "duckdb")
BLOCK = 500_000
DAY = 86_400_000_000


def split(first: int, rows: int, seed: int) -> pl.DataFrame:
    """Rows of 20 columns; keys, groups and times go up from `first`."""
    dice = np.random.default_rng([seed, first])
    number = np.arange(first, first + rows)
    columns: dict[str, Any] = {
        "id": number,
        "patient": pl.Series("patient", number // 4).cast(pl.String) + "-p",
        "day": pl.Series("day", number // 1000 * DAY).cast(pl.Datetime("us")).cast(pl.Date),
        "label": dice.choice(["yes", "no", "maybe"], rows, p=[0.5, 0.3, 0.2]),
    }
    columns |= {f"f{n}": dice.normal(size=rows).round(6) for n in range(8)}
    columns |= {f"i{n}": dice.integers(0, 10 ** (n + 2), rows) for n in range(3)}
    for n, many in enumerate((12, 300, 5000)):
        values = pl.Series(f"c{n}", dice.integers(0, many, rows)).cast(pl.String)
        columns[f"c{n}"] = "Category " + values
    columns["constant"] = pl.Series("constant", ["v1"]).new_from_index(0, rows)
    columns["empty"] = pl.Series("empty", [None], dtype=pl.String).new_from_index(0, rows)
    return pl.DataFrame(columns)


def planted(train: pl.DataFrame, test: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """A test split with some rows, keys and groups of a train split. Answers are counts of rows."""
    part = min(train.height, test.height) // 1000
    same = test.columns[1:]
    copied = pl.concat([test[:part].select("id"), train[:part].select(same)], how="horizontal")
    other = pl.concat(
        [test[part : 2 * part].select("id"), train[part : 2 * part].select(same)], how="horizontal"
    ).with_columns(c0=pl.col("c0").str.to_uppercase() + " ")
    keys = test[2 * part : 3 * part].with_columns(id=train["id"][2 * part : 3 * part])
    groups = test[3 * part : 4 * part].with_columns(patient=train["patient"][3 * part : 4 * part])
    found = pl.concat([copied, other, keys, groups, test[4 * part :]])
    answers = {"rows": part, "normalised": part, "keys": part, "groups": 3 * part}
    return found, answers | {"time": 2 * part, "constant": 2, "missing": 2}


def write(folder: Path, rows: int, ending: str, seed: int) -> dict[str, int]:
    """Both splits in blocks, so that making them is no matter of memory; what is planted."""
    folder.mkdir(parents=True, exist_ok=True)
    answers: dict[str, int] = {}
    train_rows = rows * 4 // 5
    first_train = split(0, min(BLOCK, train_rows), seed)
    for name, start, end in (("train", 0, train_rows), ("test", train_rows, rows)):
        blocks = (split(first, min(BLOCK, end - first), seed) for first in range(start, end, BLOCK))
        path = folder / f"{name}.{ending}"
        writer = None
        with path.open("wb") as out:
            for number, block in enumerate(blocks):
                if name == "test" and number == 0:
                    block, answers = planted(first_train, block)  # noqa: PLW2901
                if ending == "csv":
                    block.write_csv(out, include_header=number == 0)
                else:
                    place = folder / f"{name}-{number}.part"
                    block.write_parquet(place, row_group_size=BLOCK // 4)
                    writer = writer or []
                    writer.append(place)
        if writer is not None:
            pl.scan_parquet(writer).sink_parquet(path, row_group_size=BLOCK // 4)
            for place in writer:
                place.unlink()
    return answers


def run(way: str, folder: Path, ending: str, python: str) -> dict[str, Any]:
    program = Path(__file__).with_name("gates_ways.py")
    executable = sys.executable if way.startswith("mllock") else python
    done = subprocess.run(
        [executable, str(program), way, str(folder), ending],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(
    folder: Path, rows: int, ending: str, ways: Sequence[str], python: str
) -> tuple[dict[str, Any], bool]:
    answers = write(folder, rows, ending, seed=7)
    size = sum(path.stat().st_size for path in folder.glob(f"*.{ending}"))
    print(f"\n{rows} rows of 20 columns, {ending}, {size / 1e9:.2f} GB")
    found = {way: run(way, folder, ending, python) for way in ways}
    for way, result in found.items():
        wrong = {
            n: (v, result["answers"][n]) for n, v in answers.items() if result["answers"][n] != v
        }
        if wrong:
            raise SystemExit(f"{way} answers otherwise (expected, found): {wrong}")
    for path in folder.glob(f"*.{ending}"):
        path.unlink()
    return found, shown(found)


def shown(found: Mapping[str, Mapping[str, Any]]) -> bool:
    own = found["mllock"]
    print_table(
        [
            {
                "way": way,
                "seconds": result["seconds"],
                "cpu seconds": result["cpu"],
                "peak MB": result["peak"] / 1e6,
                "times mllock's time": result["seconds"] / own["seconds"],
                "times its memory": result["peak"] / own["peak"],
            }
            for way, result in found.items()
        ]
    )
    if "pandas" not in found:
        return True
    other = found["pandas"]
    quick = other["seconds"] >= TARGET_TIME * own["seconds"]
    small = own["peak"] <= TARGET_MEMORY * other["peak"]
    print(f"target {TARGET_TIME:g} x pandas: {quick}; a third of its memory: {small}")
    return quick and small


def keys(folder: Path, rows: int) -> tuple[dict[str, Any], bool]:
    """Two splits of nothing but a key, in pieces; the last of test are of train."""
    shared = rows // 10_000
    train_rows = rows * 4 // 5
    step = 5_000_000
    for name, start, end in (
        ("train", 0, train_rows),
        ("test", train_rows - shared, rows - shared),
    ):
        (folder / name).mkdir(parents=True)
        for number, first in enumerate(range(start, end, step)):
            # In no order, as keys are; each once.
            ids = np.arange(first, min(first + step, end), dtype=np.uint64)
            ids = ids * np.uint64(0x9E3779B97F4A7C15) % np.uint64(2**61 - 1)
            frame = pl.DataFrame({"id": ids.astype(np.int64)})
            frame.write_parquet(folder / name / f"{number:04}.parquet", row_group_size=1_000_000)
    size = sum(path.stat().st_size for path in folder.glob("*/*.parquet"))
    print(f"{rows} keys, parquet, {size / 1e9:.2f} GB")
    result = run("mllock-keys", folder, "", sys.executable)
    print(f"{result['seconds']:.1f} s, peak {result['peak'] / 1e6:.0f} MB, {result['answers']}")
    return result, result["peak"] <= TARGET_KEYS and result["answers"]["keys"] >= shared


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--format", choices=("csv", "parquet", "both"), default="both")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--keys", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        if args.keys:
            found, ok = keys(folder, args.keys)
            results: dict[str, Any] = {"keys": found}
        else:
            endings = ("csv", "parquet") if args.format == "both" else (args.format,)
            ok, results = True, {}
            for ending in endings:
                ways = tuple(args.ways.split(","))
                results[ending], good = compare(folder, args.rows, ending, ways, args.python)
                ok = ok and good
    write_json(args.json, results)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
