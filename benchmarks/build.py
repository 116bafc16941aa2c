"""Python layers: mllock's native way against unpacking with `installer` and `tar | gzip -6`.

    python benchmarks/build.py --wheels DIR [--runs 3] [--json FILE] [--project DIR] [--torch]

DIR is filled with the wheels of build-wheels.txt by `pip download` if it has none. Both ways take
the same wheels in the same run, in turns; medians are printed. The zlib way unpacks with
`installer` into one folder and compresses the output of `tar` with zlib at level 6. The native way
makes layers (one per large wheel, the small ones together) in an empty cache: it verifies RECORD,
CRC and sizes, and takes both digests of each layer, which the other way does not.

With --torch the same once more for torch, the largest wheel of all: from pip's find-links folder
where the machine has one there. With --project (a locked project: its base is taken; as root, with
uv and buildah on PATH) whole images follow, against `docker build` with pip, BuildKit with uv and
buildah, in engines of our own: see peers.py.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import LARGE, Silent, print_table, write_json

from mllock.image.layers import make_layer
from mllock.image.python import merge
from mllock.image.types import Layer
from mllock.image.wheel import PREFIX, wheel_nodes
from mllock.store.cache import Cache

TARGET_SPEED, TARGET_SIZE = 8.0, 1.10
TORCH = "torch==2.13.0"


def download(folder: Path) -> None:
    platforms = ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        + [word for name in platforms for word in ("--platform", name)]
        + ["--python-version", "3.11", "--dest", str(folder)]
        + ["-r", str(Path(__file__).with_name("build-wheels.txt"))],
        check=True,
    )


def torch(folder: Path) -> list[Path]:
    place = folder / "torch"
    if not list(place.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(place), TORCH]
        subprocess.run(command, check=True)
    return sorted(place.glob("*.whl"))


def native(wheels: list[Path], cache: Cache) -> list[Layer]:
    large = [wheel for wheel in wheels if wheel.stat().st_size > LARGE]
    groups = [[wheel] for wheel in sorted(large, key=lambda wheel: -wheel.stat().st_size)]
    groups.append([wheel for wheel in wheels if wheel not in large])
    trees = [merge([(w.name, wheel_nodes(w, w.name)) for w in group]) for group in groups]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda nodes: make_layer(cache, "python", "", nodes), trees))


def unpack(wheels: list[Path], root: Path) -> None:
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    for wheel in wheels:
        name = wheel.name.split("-")[0]
        schemes = {
            scheme: str(root / str(PREFIX.schemes(name)[scheme]))
            for scheme in ("purelib", "platlib", "scripts", "headers", "data")
        }
        target = SchemeDictionaryDestination(schemes, PREFIX.interpreter, "posix")
        with WheelFile.open(wheel) as source:
            install(source, target, {"INSTALLER": b"mllock\n"})


def tar_zlib(root: Path, output: Path) -> None:
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    with subprocess.Popen(["tar", "-C", str(root), "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        with output.open("wb") as file:
            while data := tar.stdout.read(1 << 20):
                file.write(stream.compress(data))
            file.write(stream.flush())
    assert tar.returncode == 0


def check(layers: list[Layer], cache: Cache, root: Path) -> int:
    """Both ways gave the same files, and other tools read ours. Returns the number of files."""
    seen = 0
    for layer in layers:
        path = cache.get(layer.digest)
        assert path is not None
        subprocess.run(["gzip", "-tq"], stdin=path.open("rb"), check=True)
        if shutil.which("pigz"):
            subprocess.run(["pigz", "-tq"], stdin=path.open("rb"), check=True)
        with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            for member in archive:
                if not member.isreg() or member.name.endswith("/RECORD"):
                    continue
                stream = archive.extractfile(member)
                assert stream is not None
                assert stream.read() == (root / member.name).read_bytes(), member.name
                seen += 1
    theirs = [path for path in root.rglob("*") if path.is_file() and path.name != "RECORD"]
    assert seen == len(theirs), f"{seen} files in layers, {len(theirs)} unpacked"
    return seen


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def layers_of(wheels: list[Path], runs: int) -> tuple[dict[str, object], bool]:
    """Both ways: prints a table; answers figures, and whether targets hold."""
    times: dict[str, list[float]] = {"native": [], "unpack": [], "tar": []}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for turn in range(runs):
            root, output = work / f"root{turn}", work / "layer.tar.gz"
            cache = Cache(work / f"cache{turn}", Silent())
            layers: list[Layer] = []
            times["native"].append(seconds(lambda: layers.extend(native(wheels, cache))))  # noqa: B023 - called at once
            times["unpack"].append(seconds(lambda: unpack(wheels, root)))  # noqa: B023 - called at once
            times["tar"].append(seconds(lambda: tar_zlib(root, output)))  # noqa: B023 - called at once
            if turn == 0:
                files = check(layers, cache, root)
                sizes = {"native": sum(layer.size for layer in layers)}
                sizes["zlib"] = output.stat().st_size
                unpacked = sum(layer.unpacked for layer in layers)
            shutil.rmtree(root)
            shutil.rmtree(cache.root)
    fast = statistics.median(times["native"])
    slow = statistics.median(times["unpack"]) + statistics.median(times["tar"])
    rows: list[dict[str, object]] = [
        {"way": "installer, tar | gzip -6 (zlib)", "seconds": slow, "MB": sizes["zlib"] / 1e6},
        {"way": "  of it: tar | gzip -6", "seconds": statistics.median(times["tar"])},
        {"way": "mllock, pass-through", "seconds": fast, "MB": sizes["native"] / 1e6},
    ]
    print(f"{len(wheels)} wheels, {files} files, {unpacked / 1e6:.0f} MB unpacked")
    print_table(rows)
    speed, size = slow / fast, sizes["native"] / sizes["zlib"]
    print(f"{speed:.1f} times as fast (target {TARGET_SPEED:.0f})", end=", ")
    print(f"{size:.3f} of the size (target {TARGET_SIZE:.2f})")
    figures = {
        "wheels": len(wheels),
        "files": files,
        "unpacked": unpacked,
        "seconds": times,
        "bytes": sizes,
        "times_as_fast": speed,
        "of_the_size": size,
    }
    return figures, speed >= TARGET_SPEED and size <= TARGET_SIZE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--torch", action="store_true")
    options = parser.parse_args()
    options.wheels.mkdir(parents=True, exist_ok=True)
    if not list(options.wheels.glob("*.whl")):
        download(options.wheels)
    wheels = sorted(options.wheels.glob("*.whl"))

    found, ok = layers_of(wheels, options.runs)
    large = None
    if options.torch:
        print()
        large, good = layers_of(torch(options.wheels), 1)
        ok = ok and good
    engines = None
    if options.project is not None:
        from peers import compare

        engines, good = compare(options.project, options.wheels, wheels, options.runs)
        ok = ok and good
    write_json(options.json, {"engines": engines, "torch": large, **found})
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
