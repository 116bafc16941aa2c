"""`mllock sync` against `uv pip sync`, with the same 50 wheels from a folder, in the same run.

    python benchmarks/sync.py --wheels DIR [--runs 5] [--json FILE]

DIR is filled as by build.py if it has none. Both are typed as a user does, start of the program
included, in turns; medians are printed. "cold": empty caches. "warm": caches, and no environment.
"nothing": the environment is there and right. mllock verifies the sha256 of the wheels that it
unpacks and every file by RECORD; uv is told the hashes (--require-hashes) as well.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from build import download
from common import print_table, write_json
from packaging.utils import parse_wheel_filename

from mllock.lock.format import dump_lock, seal
from mllock.lock.types import PythonPackage, Wheel

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.training import lock_of, make_project

TARGET_SECONDS = 1.0
SPEC = '[project]\nname = "fifty"\n\n[environment]\npython = "3.11"\ndependencies = []\n'


def packages(folder: Path) -> tuple[PythonPackage, ...]:
    found = []
    for path in sorted(folder.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        wheel = Wheel(
            name=path.name,
            path=f"wheels/{path.name}",
            size=path.stat().st_size,
            hashes={"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        )
        found.append(PythonPackage(name=str(name), version=str(version), wheels=(wheel,)))
    return tuple(sorted(found, key=lambda package: package.name))


def seconds(command: list[str], folder: Path, environ: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    if not list(options.wheels.glob("*.whl")):
        download(options.wheels)
    wheels = options.wheels.absolute()
    pinned = packages(wheels)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        project = make_project(root / "project", spec=SPEC)
        lock = lock_of(project, pinned)
        base = msgspec.structs.replace(lock.base, python="3.11.2")
        (project / "mlproject.lock").write_bytes(
            dump_lock(seal(msgspec.structs.replace(lock, base=base)))
        )
        lines = (
            f"{p.name}=={p.version} --hash=sha256:{p.wheels[0].hashes['sha256']}\n" for p in pinned
        )
        (project / "requirements.txt").write_text("".join(lines))
        environ = {
            **os.environ,
            "MLLOCK_CACHE": str(root / "cache"),
            "UV_CACHE_DIR": str(root / "uv"),
            "PIP_FIND_LINKS": str(wheels),
            "PIP_NO_INDEX": "1",
        }
        here = Path(sys.executable).parent
        rows = measured(
            project,
            options.runs,
            {
                "mllock sync": _mllock(here, project, environ),
                "uv pip sync": _uv(here, project, wheels, environ),
            },
        )
    print_table(rows)
    slow = [row for row in rows if row["way"] == "mllock sync" and row["warm"] > TARGET_SECONDS]
    print(f"target: warm under {TARGET_SECONDS} s: {'missed' if slow else 'met'}")
    write_json(options.json, rows)


_Way = tuple[Callable[[], None], Callable[[], float], Callable[[], None]]


def _mllock(here: Path, project: Path, environ: dict[str, str]) -> _Way:
    command = [str(here / "mllock"), "sync", "-q"]
    return (
        lambda: shutil.rmtree(environ["MLLOCK_CACHE"], ignore_errors=True),
        lambda: seconds(command, project, environ),
        lambda: shutil.rmtree(project / ".venv", ignore_errors=True),
    )


def _uv(here: Path, project: Path, wheels: Path, environ: dict[str, str]) -> _Way:
    venv = project / ".uv"
    make = [str(here / "uv"), "venv", "-q", "--python", sys.executable, str(venv)]
    command = [str(here / "uv"), "pip", "sync", "-q", "--python", str(venv), "--require-hashes"]
    command += ["--no-index", "--find-links", str(wheels), "requirements.txt"]

    def run() -> float:
        before = 0.0 if venv.exists() else seconds(make, project, environ)
        return before + seconds(command, project, environ)

    return (
        lambda: shutil.rmtree(environ["UV_CACHE_DIR"], ignore_errors=True),
        run,
        lambda: shutil.rmtree(venv, ignore_errors=True),
    )


def measured(project: Path, runs: int, ways: dict[str, _Way]) -> list[dict[str, object]]:
    times: dict[tuple[str, str], list[float]] = {}
    for number in range(runs):
        for name, (forget, run, remove) in ways.items():
            remove()
            if number < 2:  # the slow one
                forget()
                times.setdefault((name, "cold"), []).append(run())
                remove()
            times.setdefault((name, "warm"), []).append(run())
            times.setdefault((name, "nothing"), []).append(run())
    return [
        {
            "way": name,
            **{
                kind: round(statistics.median(times[name, kind]), 3)
                for kind in ("cold", "warm", "nothing")
            },
        }
        for name in ways
    ]


if __name__ == "__main__":
    main()
