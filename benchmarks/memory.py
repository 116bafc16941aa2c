"""Peak memory of making layers, against 300 MB and the largest file.

    python benchmarks/memory.py [--folder DIR] [--json FILE]

Each case makes wheels or Debian packages in DIR (default: a temporary folder; 2 GB are needed),
builds their layers in a process of its own from a lock with an empty cache, as `mllock build` does,
prints the largest resident set of that process and of those that help it, as if all were at their
largest at once, and removes them. Ends with 1 if a case is beyond its limit.
Compiling to bytecode happens in other processes and is not measured here.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import lzma
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from common import Silent, print_table, write_json

from mllock.core.digest import sha256_of
from mllock.image.build import Packages, build_environment
from mllock.image.layers import cached_layer
from mllock.image.tree import Node
from mllock.lock.types import (
    Base,
    DebianPackage,
    Inputs,
    LayerGroup,
    Layers,
    Lock,
    PythonPackage,
    PythonPins,
    Tool,
    Wheel,
)
from mllock.store.cache import Cache

MB = 1_000_000
TARGET = 300 * MB
BLOCK = 1 << 20
DEBS = "10 Debian packages of 40 MB"

Files = Iterator[tuple[str, int, Callable[[int], bytes]]]


def noise(seed: int) -> Callable[[int], bytes]:
    dice = random.Random(seed)
    return dice.randbytes


def text(size: int) -> bytes:
    return (b"a line that compresses well, as sources and debug symbols do\n" * 20_000)[:size]


def large_entry() -> Iterator[Files]:
    yield iter([("large/model.bin", 300 * MB, text)])


def large_wheel() -> Iterator[Files]:
    # Within what is inflated in one call on two cores, and well above.
    sizes = [40 * MB] * 12 + [200 * MB, 120 * MB]
    yield iter((f"libs/lib{n}.so", size, noise(n)) for n, size in enumerate(sizes))


def many_files() -> Iterator[Files]:
    yield iter((f"many/d{n // 300}/f{n}.txt", 2_000, text) for n in range(30_000))


def large_wheels() -> Iterator[Files]:
    for wheel in range(8):
        yield iter((f"w{wheel}/lib{n}.so", 40 * MB, noise(n)) for n in range(3))


def make_debs(folder: Path) -> list[dict[str, object]]:
    """Ten Debian packages of 40 MB, half noise, as entries of a lock; and base-passwd."""
    master = "usr/share/base-passwd/{}.master"
    line = b"root:*:0:0:root:/root:/bin/bash\n"
    accounts = {master.format("passwd"): line, master.format("group"): b"root:*:0:\n"}
    for number in range(10):
        data = b"".join(noise(number)(BLOCK // 2) + bytes(BLOCK // 2) for _ in range(38))
        path = folder / f"lib{number}.deb"
        write_deb(path, f"lib{number}", {f"usr/lib/lib{number}.so": data})
    write_deb(folder / "base-passwd.deb", "base-passwd", accounts)
    return [
        {
            "name": path.stem,
            "version": "1.0",
            "architecture": "amd64",
            "filename": path.name,
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "layer": "base",
        }
        for path in sorted(folder.glob("*.deb"))
    ]


def write_deb(path: Path, name: str, files: dict[str, bytes]) -> None:
    control = f"Package: {name}\nVersion: 1.0\nArchitecture: amd64\nDescription: x\n".encode()
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": packed({"control": control}),
        "data.tar.xz": packed(files),
    }
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for member, data in members.items():
            file.write(f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
            file.write(data + b"\n" * (len(data) % 2))


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return lzma.compress(out.getvalue(), preset=0)


CASES: dict[str, Callable[[], Iterator[Files]]] = {
    "an entry of 300 MB": large_entry,
    "a wheel of 800 MB": large_wheel,
    "a wheel of 30,000 files": many_files,
    "8 wheels of 120 MB at once": large_wheels,
    DEBS: lambda: iter(()),
}


def make_wheel(folder: Path, name: str, files: Files) -> tuple[PythonPackage, int]:
    """A wheel of streamed content, and the size of its largest file."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    rows: list[str] = []
    largest = 0

    def add(archive: zipfile.ZipFile, name: str, size: int, data: Callable[[int], bytes]) -> None:
        hasher = hashlib.sha256()
        entry = zipfile.ZipInfo(name)
        entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
        entry.file_size = size
        with archive.open(entry, "w") as file:
            for at in range(0, size, BLOCK):
                block = data(min(BLOCK, size - at))
                hasher.update(block)
                file.write(block)
        digest = base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{size}\n")

    meta = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w", compresslevel=1) as archive:
        for place, size, data in files:
            largest = max(largest, size)
            add(archive, place, size, data)
        for key, value in meta.items():
            raw = value.encode()
            add(archive, f"{info}/{key}", len(raw), lambda _, raw=raw: raw)
        archive.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    wheel = Wheel(
        name=path.name,
        path=f"wheels/{path.name}",
        size=path.stat().st_size,
        hashes={"sha256": digest},
    )
    return PythonPackage(name=name, version="1.0", wheels=(wheel,)), largest


def lock_of(packages: tuple[PythonPackage, ...]) -> Lock:
    """A lock with a layer for each package, as large ones have."""
    return Lock(
        content_digest=sha256_of(b""),
        tool=Tool(mllock="0", resolver="none", resolver_version="0"),
        inputs=Inputs(
            digest=sha256_of(b""),
            environment={"platforms": ["linux/amd64"]},
            data={},
            builder={},
        ),
        base=Base(
            kind="debian",
            suite="bookworm",
            python="3.11.2",
            interpreter="/usr/bin/python3.11",
            indexes=(),
        ),
        system=(),
        python=PythonPins(environments=(), requires_python="==3.11.*", packages=packages),
        data={},
        layers=Layers(
            builder_format=0,
            python=tuple(LayerGroup(packages=(package.name,)) for package in packages),
        ),
    )


def build(wheels: Path, scratch: Path) -> None:
    """In a process of its own: layers of all wheels, then the peak on standard output."""
    packages = tuple(
        PythonPackage(
            name=item["name"],
            version="1.0",
            wheels=(Wheel(**item["wheel"]),),
        )
        for item in json.loads((wheels / "packages.json").read_text())
    )
    system = tuple(DebianPackage(**item) for item in json.loads((wheels / "debs.json").read_text()))
    cache = Cache(scratch, Silent())
    nothing = (Node(path="usr", kind="folder", mode=0o755),)
    key = {"suite": "bookworm", "debs": []}
    cached_layer(cache, "base", "debian:bookworm", key, lambda: nothing)
    debs = {path.name: path for path in wheels.glob("*.deb")}
    files = {path.name: path for path in wheels.glob("*.whl")}
    before = peak()
    build_environment(
        msgspec.structs.replace(lock_of(packages), system=system),
        Packages(wheels=lambda _: files, debs=lambda _: debs),
        cache,
        Silent(),
    )
    # Of the helpers, one for each further core, the largest is known.
    helpers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    others = helpers * min(len(packages) - 1, (os.cpu_count() or 1) - 1)
    print(json.dumps({"before": before, "peak": peak() + others}))


def peak() -> int:
    # Not getrusage(2), which counts what the process was before it became this program.
    (line,) = re.findall(
        r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE
    )
    return int(line) * 1024


def measure(name: str, folder: Path) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=folder) as root:
        wheels = Path(root) / "wheels"
        wheels.mkdir()
        made = [
            make_wheel(wheels, f"wheel{number}", files)
            for number, files in enumerate(CASES[name]())
        ]
        told = [
            {
                "name": package.name,
                "wheel": {
                    "name": package.wheels[0].name,
                    "path": package.wheels[0].path,
                    "size": package.wheels[0].size,
                    "hashes": dict(package.wheels[0].hashes),
                },
            }
            for package, _ in made
        ]
        (wheels / "packages.json").write_text(json.dumps(told))
        debs = make_debs(wheels) if name == DEBS else []
        (wheels / "debs.json").write_text(json.dumps(debs))
        done = subprocess.run(
            [sys.executable, __file__, "--child", str(wheels), str(Path(root) / "cache")],
            stdout=subprocess.PIPE,
            check=True,
        )
    found = json.loads(done.stdout)
    largest = max((size for _, size in made), default=40 * MB)
    limit = TARGET + largest
    return {
        "case": name,
        "before MB": found["before"] / MB,
        "peak MB": found["peak"] / MB,
        "limit MB": limit / MB,
        "cores": os.cpu_count(),
        "": "" if found["peak"] <= limit else "BEYOND",
    }


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        build(Path(sys.argv[2]), Path(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [measure(name, arguments.folder) for name in CASES]
    print_table(rows)
    write_json(arguments.json, rows)
    return 1 if any(row[""] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
