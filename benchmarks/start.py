"""How long mllock takes to start: `--version` and a `lock` with nothing to do, against a bare
interpreter (`python -c pass`) in the same run.

    python benchmarks/start.py --project DIR [--runs 20] [--json FILE]

DIR is a project that has been locked already (for instance by `mllock demo DIR`). Commands take
turns, so that a machine that slows down slows all of them; medians are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGETS = {"mllock --version": 0.15, "mllock lock (nothing to do)": 0.3}


def seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    mllock = str(Path(sys.executable).with_name("mllock"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "mllock --version": [mllock, "--version"],
        "mllock lock (nothing to do)": [mllock, "lock"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(options.runs + 1):
        for name, command in commands.items():
            spent = seconds(command, options.project)
            if turn:  # the first turn warms the page cache
                times[name].append(spent)

    bare = statistics.median(times["python -c pass"])
    rows = [
        {
            "command": name,
            "median_s": statistics.median(values),
            "min_s": min(values),
            "max_s": max(values),
            "ratio_to_bare_python": statistics.median(values) / bare,
            "target_s": TARGETS.get(name),
        }
        for name, values in times.items()
    ]
    print(f"{'command':32}{'median':>9}{'min':>9}{'max':>9}{'x bare':>9}{'target':>9}")
    for row in rows:
        target = f"{row['target_s']:.2f}" if row["target_s"] else "-"
        print(
            f"{row['command']:32}{row['median_s']:9.3f}{row['min_s']:9.3f}{row['max_s']:9.3f}"
            f"{row['ratio_to_bare_python']:9.1f}{target:>9}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
