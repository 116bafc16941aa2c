"""The tree digest against raw sha256 of the same bytes, and against sha256sum.

    python benchmarks/hash.py [--scale 0.1] [--runs 5] [--json PATH] [--folder FOLDER]

Two trees: 2 GB in 4 files, and 50,000 small files (200 to 8,000 bytes). "raw" is hashlib in as
many forked processes as there are cores, over paths that are already listed: it opens, reads and
hashes, and keeps nothing. "one core" is the same in this process. The tree digest also walks,
checks names and kinds, watches for changes, and makes the manifest and its digest. Runs of the
contestants alternate, so that a busy machine is busy for all of them; medians are compared. The
files were just written: all read from the page cache, none from the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from common import print_table, write_json

from mllock.data.scan import scan

_CHUNK = 1024 * 1024
CORES = len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", metavar="PATH", help="write the result there as well")
    parser.add_argument("--folder", help="where to make the files (about 2.3 GB)")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for title, make in (("large", make_large), ("small", make_small)):
            root = Path(name, title)
            files, size = make(root, options.scale)
            rows += compare(f"{files} files, {size / 1e6:.0f} MB", root, options.runs)
            shutil.rmtree(root)
    print_table(rows)
    write_json(options.json, rows)


def make_large(root: Path, scale: float) -> tuple[int, int]:
    size = int(500_000_000 * scale)
    block = random.Random(0).randbytes(_CHUNK)
    root.mkdir()
    for number in range(4):
        with open(root / f"part-{number}.bin", "wb") as file:
            left = size
            while left:
                left -= file.write(block[: min(left, _CHUNK)])
    return 4, 4 * size


def make_small(root: Path, scale: float) -> tuple[int, int]:
    source = random.Random(0)
    count = int(50_000 * scale)
    total = 0
    for number in range(count):
        folder = root / f"group-{number // 100:03}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        data = source.randbytes(source.randint(200, 8000))
        (folder / f"image-{number:05}.bin").write_bytes(data)
        total += len(data)
    return count, total


def compare(title: str, root: Path, runs: int) -> Iterator[dict[str, object]]:
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    sizes = sum(os.path.getsize(path) for path in paths)
    group = 1 if len(paths) < 100 else 500
    groups = [paths[start : start + group] for start in range(0, len(paths), group)]

    def raw() -> None:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(CORES, mp_context=context) as pool:
            for _ in pool.map(hash_group, groups):
                pass

    def sha256sum() -> None:
        subprocess.run(
            ["xargs", "-0", "-P", str(CORES), "-n", str(group), "sha256sum"],
            input="\0".join(paths).encode(),
            stdout=subprocess.DEVNULL,
            check=True,
        )

    contestants: dict[str, Callable[[], object]] = {
        f"raw sha256, {CORES} cores": raw,
        "tree digest": lambda: scan(root, name="data").digest,
        f"sha256sum, xargs -P {CORES}": sha256sum,
        "raw sha256, one core": lambda: hash_group(paths),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    # The first round warms caches.
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    reference = next(iter(medians.values()))
    for name, seconds in medians.items():
        yield {
            "tree": title,
            "what": name,
            "seconds": seconds,
            "MB/s": sizes / seconds / 1e6,
            "ratio to raw": seconds / reference,
        }


def hash_group(paths: list[str]) -> None:
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            digest.digest()


if __name__ == "__main__":
    sys.exit(main())
