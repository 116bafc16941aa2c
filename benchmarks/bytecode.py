"""A cold start with mllock's bytecode against pip's own compiled tree, and without bytecode.

    python benchmarks/bytecode.py --project DIR [--program TEXT] [--runs 15] [--json FILE]

DIR is a project with `[environment] bytecode = true` that was built (`mllock build train`). Its
training image is unpacked three times: as it is; without its bytecode layers, then compiled by its
own Python as pip compiles what it installs and Debian what it installs (py_compile, times in the
headers); and without any bytecode. Each start is a new process under chroot that may not write, as
a user who is not root; they take turns. Ratios are of medians: of wall-clock time, and of the
processor time, which says more on a busy machine. The last lines are what compiling costs. Needs
root, for chroot.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from common import print_table, write_json

from mllock.store.layout_reader import LayoutImage, open_layout

PROGRAM = "import sklearn.linear_model, sklearn.ensemble, pandas, fastapi, uvicorn"
TARGET = 1.1
LIBRARIES = ("/usr/lib/python3.11", "/opt/venv/lib/python3.11/site-packages")
NAMES = {"mllock": "mllock's bytecode", "pip": "compiled as pip does", "none": "no bytecode"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--program", default=PROGRAM)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    layout = arguments.project / ".mllock" / "oci"
    image = open_layout(layout).image("train")
    place = Path(tempfile.mkdtemp(prefix="mllock-bench-"))
    try:
        roots = {name: place / name for name in NAMES}
        for name, root in roots.items():
            unpack(layout, image, root, bytecode=name == "mllock")
        compiling = seconds(roots["pip"], "-m", "compileall", "-q", "-f", *LIBRARIES)
        rows = measure(roots, arguments.program, arguments.runs)
        print_table(rows)
        ratio = rows[0]["processor s"] / rows[1]["processor s"]
        print(f"\nmllock / pip: {ratio:.3f} of processor time, target {TARGET}")
        print(f"compileall: {compiling[1]:.1f} s of processor time, on one core")
        sizes = {name: size_of(root) for name, root in roots.items()}
        for name, size in sizes.items():
            print(f"{NAMES[name]}: {size / 1e6:.1f} MB in .pyc files")
        write_json(arguments.json, {"starts": rows, "compileall": compiling, "bytes": sizes})
    finally:
        shutil.rmtree(place)


def unpack(layout: Path, image: LayoutImage, root: Path, *, bytecode: bool) -> None:
    """The image's layers; those of bytecode are known by the history that mllock writes."""
    root.mkdir()
    for layer, entry in zip(image.layers, image.config_value["history"], strict=True):
        if entry["created_by"].startswith("mllock bytecode:") and not bytecode:
            continue
        blob = layout / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")
        with tarfile.open(blob, "r:gz") as archive:
            archive.extractall(root, filter="fully_trusted")


def measure(roots: dict[str, Path], program: str, runs: int) -> list[dict[str, float | str]]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in roots}
    for turn in range(runs + 1):
        for name, root in roots.items():
            spent = seconds(root, "-B", "-c", program)
            if turn:  # the first turn warms the page cache
                found[name].append(spent)
    return [
        {
            "start": NAMES[name],
            "median s": statistics.median(wall for wall, _ in times),
            "min s": min(wall for wall, _ in times),
            "processor s": statistics.median(cpu for _, cpu in times),
        }
        for name, times in found.items()
    ]


def seconds(root: Path, *arguments: str) -> tuple[float, float]:
    """(wall-clock time, processor time) of the image's Python with these arguments."""
    user = () if "compileall" in arguments else ("--userspec=10001:10001",)
    before, began = processor(), time.perf_counter()
    subprocess.run(
        ["chroot", *user, root, "/opt/venv/bin/python", "-W", "ignore", *arguments],
        env={"PATH": "/opt/venv/bin:/usr/bin:/usr/sbin"},
        check=True,
    )
    return time.perf_counter() - began, processor() - before


def processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def size_of(root: Path) -> int:
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(root)
        for name in names
        if name.endswith(".pyc")
    )


if __name__ == "__main__":
    main()
