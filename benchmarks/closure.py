"""Debian packages chosen anew, with everything in the cache: mllock's closure beside apt's.

    python benchmarks/closure.py [--suite bookworm] [--runs 5] [--json FILE]

Needs, once, the mirror of this machine's apt sources. mllock asks it each time for the three signed
InRelease files, verifies them, chooses, hashes every package and examines its scripts; apt-get
--simulate only chooses, from indexes that it read before. Both get the same names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import Silent, median_seconds, print_table, write_json

from mllock.lock.debian import DebianResolver
from mllock.lock.debian.suites import SUITES
from mllock.lock.ports import SystemRequest, Upgrade
from mllock.store.cache import Cache
from mllock.store.fetch import HttpFetcher

TARGET = 0.5
REQUESTS = {
    "base": (),
    "libgomp1": ("libgomp1",),
    "opencv": ("ffmpeg", "libgl1", "libsm6", "libxext6"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", choices=sorted(SUITES), default="bookworm")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    suite = SUITES[arguments.suite]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder), Silent())
        resolver = DebianResolver(HttpFetcher(cache, Silent()), cache, os.environ, Silent())

        def resolve(names: tuple[str, ...]) -> int:
            request = SystemRequest(
                base=f"debian:{suite.name}",
                python=suite.python,
                packages=names,
                platform="linux/amd64",
                mirror=None,
                pins={},
                upgrade=Upgrade(),
            )
            return len(resolver.resolve(request).packages)

        for title, names in REQUESTS.items():
            started = time.perf_counter()
            count = resolve(names)
            cold = time.perf_counter() - started
            warm = median_seconds(lambda names=names: resolve(names), arguments.runs)
            apt = [*names, f"python{suite.python}"]
            rows.append(
                {
                    "request": title,
                    "packages": count,
                    "first": cold,
                    "warm": warm,
                    "apt --simulate": median_seconds(lambda apt=apt: _apt(apt), arguments.runs),
                }
            )
    print_table(rows)
    write_json(arguments.json, rows)
    slow = [row["request"] for row in rows if row["request"] != "opencv" and row["warm"] > TARGET]
    print(f"target: the closure of a base, warm, under {TARGET} s" + (": missed" if slow else ""))
    return 1 if slow else 0


def _apt(names: list[str]) -> None:
    command = ["apt-get", "install", "--simulate", "--no-install-recommends", *names]
    subprocess.run(command, capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
