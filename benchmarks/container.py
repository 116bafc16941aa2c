"""`check container:` against `docker export | sha256sum`, which reads as much and knows nothing.

    python benchmarks/container.py [--megabytes 500] [--files 15000] [--runs 5] [--json PATH]

An image of the given size, mostly in a few large files and otherwise in many small ones, as Python
packages are, in the engine that DOCKER_HOST names; one container of it that does not run. "first"
is a check with an empty cache of listings, which reads the layers of the layout once; "again" is
every later one. Memory is the peak of the whole process. Runs alternate; medians are compared.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from common import print_table, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.nodes import file, folder
from support.world import BASE, RUN, SPEC, make_world

from mllock.engine.docker import connect
from mllock.image.tree import Node
from mllock.workflows.build import build_images
from mllock.workflows.load import load_image

LARGE = 8
SMALL = (500, 2_000, 8_000, 20_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--files", type=int, default=15_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="mllock-bench-"))
    tag = f"bench-{uuid.uuid4().hex[:12]}:serve"
    try:
        base = (*BASE, *nodes(arguments.megabytes * 10**6, arguments.files))
        world = make_world(root / "w", spec=SPEC, base=base, runtime="docker")
        engine = connect(os.environ)
        ctx = world.context()
        (built,) = build_images(ctx, kinds=("serve",), run_id=RUN).images
        load_image(ctx, engine, built.image, (tag,))
        made = docker("create", "--network", "none", tag)
        try:
            rows = measure(root / "w", made, tag, arguments.runs)
        finally:
            docker("rm", "--force", made)
            docker("rmi", "--force", tag)
            engine.close()
    finally:
        shutil.rmtree(root)
    print_table(rows)
    write_json(arguments.json, rows)


def nodes(size: int, count: int) -> Iterator[Node]:
    chance = random.Random(1)
    pool = chance.randbytes(1 << 24)
    yield folder("usr/share")
    left = size
    for number in range(count):
        length = chance.choice(SMALL)
        start = chance.randrange(len(pool) - length)
        left -= length
        if number % 100 == 0:
            yield folder(f"usr/share/p{number // 100}")
        yield file(f"usr/share/p{number // 100}/m{number}.py", pool[start : start + length])
    for number in range(LARGE):
        yield file(f"usr/share/lib{number}.so", chance.randbytes(max(left // LARGE, 0)))


def measure(world: Path, container: str, tag: str, runs: int) -> list[dict[str, object]]:
    times: dict[str, list[float]] = {name: [] for name in ("pipe", "again", "image", "save")}
    memory: dict[str, int] = {}
    first, memory["first"] = check(world, f"container:{container}")
    for _ in range(runs):
        times["pipe"].append(pipe("export", container))
        seconds, memory["again"] = check(world, f"container:{container}")
        times["again"].append(seconds)
        times["save"].append(pipe("save", tag))
        seconds, memory["image"] = check(world, f"image:{tag}")
        times["image"].append(seconds)
    median = {name: statistics.median(found) for name, found in times.items()}
    return [
        row("docker export | sha256sum", median["pipe"], median["pipe"], None),
        row("check container:, first", first, median["pipe"], memory["first"]),
        row("check container:, again", median["again"], median["pipe"], memory["again"]),
        row("docker save | sha256sum", median["save"], median["save"], None),
        row("check image:", median["image"], median["save"], memory["image"]),
    ]


def row(name: str, seconds: float, against: float, memory: int | None) -> dict[str, object]:
    return {
        "what": name,
        "seconds": seconds,
        "times": seconds / against,
        "MB": None if memory is None else memory // 1024,
    }


def pipe(command: str, name: str) -> float:
    start = time.perf_counter()
    with subprocess.Popen(["docker", command, name], stdout=subprocess.PIPE) as reading:
        subprocess.run(["sha256sum"], stdin=reading.stdout, stdout=subprocess.DEVNULL, check=True)
    assert reading.returncode == 0
    return time.perf_counter() - start


# The peak of the process itself: what wait4 says would count this one, which was forked.
PROGRAM = """
import re, sys
from mllock.cli.main import run
code = run(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


def check(world: Path, target: str) -> tuple[float, int]:
    """Seconds of the whole command, and the peak of its memory in KiB."""
    environ = os.environ | {
        "XDG_CONFIG_HOME": str(world / "config"),
        "MLLOCK_CACHE": str(world / "cache"),
    }
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--project", str(world / "project"), "check", target],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, int(done.stderr.split()[-1])


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
