"""The Debian base: mllock's against mmdebstrap's, of the same packages.

    python benchmarks/base.py --project DIR [--runs 3] [--json FILE]    # a project that is locked

Needs root, mmdebstrap, dpkg-scanpackages and, once, the mirror of this machine's apt sources. Both
have every package on disk: mmdebstrap in a repository of its own, mllock in its cache. mmdebstrap
writes a tar, not compressed; mllock writes the compressed layer of a registry, with both digests.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import Silent, print_table, write_json

from mllock.core.digest import from_hex
from mllock.image.build import Packages, build_environment
from mllock.lock.debian.mirror import find_archives
from mllock.lock.format import read_lock
from mllock.lock.types import DebianPackage, Lock
from mllock.store.cache import Cache
from mllock.workflows.context import make_context

TARGET = 8.0
# What runs maintainer scripts, which a base of mllock's does without.
MORE = ("dpkg", "perl-base", "usr-is-merged")
HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ctx = make_context(options.project, Silent(), os.environ)
    lock = read_lock(options.project / "mlproject.lock")
    lock = lock_of_base(lock)
    times: dict[str, list[float]] = {"mllock": [], "mmdebstrap": []}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        repository = prepare(lock, work)
        for _ in range(options.runs):
            times["mllock"].append(own(lock, ctx.cache, work / "cache"))
            times["mmdebstrap"].append(bootstrap(lock, work / "root.tar", repository))
    rows = [{"way": way, "seconds": statistics.median(spent)} for way, spent in times.items()]
    print_table(rows)
    ratio = statistics.median(times["mmdebstrap"]) / statistics.median(times["mllock"])
    print(f"{len(lock.system)} packages: {ratio:.1f} times as fast (target {TARGET:.0f})")
    write_json(options.json, {"seconds": times, "ratio": ratio, "packages": len(lock.system)})
    return 0 if ratio >= TARGET else 1


def lock_of_base(lock: Lock) -> Lock:
    """The lock of a project with this base, and nothing on it."""
    import msgspec

    return msgspec.structs.replace(
        lock,
        system=tuple(deb for deb in lock.system if deb.layer == "base"),
        python=msgspec.structs.replace(lock.python, packages=()),
        layers=msgspec.structs.replace(lock.layers, python=()),
    )


def own(lock: Lock, source: Cache, place: Path) -> float:
    cache = Cache(place, Silent())
    for deb in lock.system:
        path = source.get(from_hex(deb.sha256))
        if path is None:
            raise SystemExit("a package is not in the cache: run mllock build in the project")
        cache.put_file(path)

    def debs(packages: object) -> dict[str, Path]:
        return {deb.filename: verified(cache, deb) for deb in lock.system}

    began = time.perf_counter()
    build_environment(lock, Packages(wheels=lambda _: {}, debs=debs), cache, Silent())
    spent = time.perf_counter() - began
    shutil.rmtree(place)
    return spent


def verified(cache: Cache, deb: DebianPackage) -> Path:
    path = cache.get(from_hex(deb.sha256))
    assert path is not None
    return path


def prepare(lock: Lock, work: Path) -> list[str]:
    """A repository of every package that mmdebstrap takes; the lines that name it."""
    debs = work / "debs"
    debs.mkdir()
    archives = find_archives(lock.base.suite, None, os.environ)
    sources = [f"deb {archive.url} {archive.suite} main" for archive in archives]
    copied = f'--customize-hook=cp "$1"/var/cache/apt/archives/*.deb {debs}'
    bootstrap(lock, work / "first.tar", sources, copied, "--skip=essential/unlink,cleanup/apt")
    with (debs / "Packages").open("wb") as index:
        subprocess.run(
            ["dpkg-scanpackages", "--multiversion", "."],
            cwd=debs,
            stdout=index,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    return [f"deb [trusted=yes] copy:{debs} ./"]


def bootstrap(lock: Lock, out: Path, sources: list[str], *words: str) -> float:
    include = ",".join([*(f"{deb.name}={deb.version}" for deb in lock.system), *MORE])
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=custom", "--format=tar"]
    command += [f"--hook-dir={HOOKS}", f"--include={include}", *words]
    command += ['--aptopt=APT::Install-Recommends "false"', str(lock.base.suite), str(out)]
    began = time.perf_counter()
    subprocess.run(
        [*command, *sources],
        env=os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        check=True,
    )
    spent = time.perf_counter() - began
    out.unlink()
    return spent


if __name__ == "__main__":
    sys.exit(main())
