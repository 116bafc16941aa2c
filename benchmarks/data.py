"""Locking data: mllock against DVC, as they are typed.

    python benchmarks/data.py [--scale 0.2] [--runs 3] [--tree small] [--dvc DVC] [--folder FOLDER]

DVC is installed into an environment of the benchmark's own, unless `--dvc` names one. Two trees, as
in hash.py: 4 large files (2 GB), and 50,000 small ones; by default a fifth of each, which takes
five minutes, nearly all of them DVC's. Three things are timed, each a new process:

    new         data that neither has seen: `mllock lock`, `dvc add`
    one file    one file has other bytes: `mllock lock`, `dvc add`
    nothing     nothing changed: `mllock lock`, `dvc status`

`dvc add` also puts the data into its cache, by copies or, as in "dvc, hard links", without any; the
faster of the two is the one to beat. mllock leaves local data where it is and hashes with sha256,
DVC with md5. The rest of mllock's lock (Debian, Python) is there already and is kept. Contestants
take turns, and medians are compared; beside them the time of all processors, which a busy machine
changes less. "floor" is a Python that starts, without mllock, and asks for the status of every
file: who looks at each file from Python does not take less. "mllock, one file" is the same lock of
a source with one file, so that what is ours of "nothing" is told from what the files take: it less
that, and less the floor. With the small tree the floor alone is more than a twentieth of DVC's time
(docs/adr/0153): 20x would need data that is not looked at. The files were just written: all read
from the page cache. Both run from their bytecode, as installed programs do.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import print_table, write_json
from hash import make_large, make_small

# The small locked project of the tests: no network is needed to make it.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.lock_project import SPEC, LockProject

OURS = "mllock"
FLOOR = "floor"
ONE = "mllock, one file"
TARGETS = {"new": 10.0, "one file": 10.0, "nothing": 20.0}
# With so many files and nothing changed.
TARGET_SECONDS = 0.4
FILES = 50_000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=0.2, help="share of the full size")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tree", choices=("large", "small"), help="default: both")
    parser.add_argument("--json", metavar="PATH", help="write the result there as well")
    parser.add_argument("--folder", help="where to make the files (about 1 GB, at full size 5)")
    parser.add_argument("--dvc", help="the dvc to compare with; default: the newest, installed")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    ok = True
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        dvc = options.dvc or install(Path(name, "venv"))
        version = subprocess.run([dvc, "--version"], capture_output=True, text=True, check=True)
        print(f"DVC {version.stdout.strip()}\n")
        for title, make in (("large", make_large), ("small", make_small)):
            if options.tree not in (None, title):
                continue
            folder = Path(name, title)
            folder.mkdir()
            files, size = make(folder / "data", options.scale)
            times = measure(folder, dvc, options.runs)
            rows += table(f"{files} files, {size / 1e6:.0f} MB", times)
            ok = judge(title, times, files) and ok
            shutil.rmtree(folder)
    print_table(rows)
    write_json(options.json, rows)
    return 0 if ok else 1


def install(venv: Path) -> str:
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin/python"), "-m", "pip", "install", "-q", "dvc"], check=True)
    return str(venv / "bin/dvc")


def installed() -> dict[str, str]:
    """The environment, without the word that keeps bytecode from being written."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


# (seconds, seconds of all processors) of each run
Took = tuple[float, float]
Times = dict[str, dict[str, list[Took]]]


class Mllock:
    """A project whose lock has everything but the data."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._project = LockProject(folder)
        self.data = self._project.folder / "data"
        self._project.lock()
        self._before = self._project.path.read_bytes()
        self._project.write(SPEC.replace("train.csv", "data"))
        self._environ = {**installed(), "MLLOCK_CACHE": str(folder / "cache")}

    def forget(self) -> None:
        shutil.rmtree(self._project.folder / ".mllock")
        self._project.path.write_bytes(self._before)

    def add(self) -> None:
        self._run("lock", "--quiet")

    status = add

    def _run(self, *words: str) -> None:
        command = [sys.executable, "-m", "mllock", *words]
        subprocess.run(
            command,
            cwd=self._project.folder,
            env=self._environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )


class Dvc:
    """`links`: how data gets into its cache."""

    def __init__(self, folder: Path, program: str, links: str) -> None:
        folder.mkdir()
        self._folder, self._program, self._links = folder, program, links
        self.data = folder / "data"
        # Its state is outside of the project; no word to anybody.
        self._environ = {
            **installed(),
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "DVC_NO_ANALYTICS": "1",
        }
        self._new()

    def _new(self) -> None:
        self._run("init", "--no-scm", "--quiet")
        self._run("config", "cache.type", self._links)

    def forget(self) -> None:
        for name in (".dvc", "site"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        (self._folder / "data.dvc").unlink(missing_ok=True)
        self._new()

    def add(self) -> None:
        self._run("add", "--quiet", "data")

    def status(self) -> None:
        self._run("status", "--quiet")

    def _run(self, *words: str) -> None:
        subprocess.run(
            [self._program, *words],
            cwd=self._folder,
            env=self._environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )


# By descriptor: the quickest of six ways to ask, a sixth quicker than by path.
STATUS = """
import os, sys
waiting = sys.argv[1:]
while waiting:
    folder = waiting.pop()
    descriptor = os.open(folder, os.O_RDONLY)
    with os.scandir(descriptor) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(os.path.join(folder, entry.name))
            else:
                entry.stat(follow_symlinks=False)
    os.close(descriptor)
"""


def status_only(data: Path) -> None:
    subprocess.run([sys.executable, "-I", "-S", "-c", STATUS, str(data)], check=True)


def measure(folder: Path, dvc: str, runs: int) -> Times:
    """Each contestant has a copy of the data: DVC makes links of it."""
    contestants: dict[str, Mllock | Dvc] = {
        OURS: Mllock(folder / "mllock"),
        "dvc": Dvc(folder / "dvc", dvc, "copy"),
        "dvc, hard links": Dvc(folder / "links", dvc, "hardlink"),
    }
    times: Times = {case: {name: [] for name in contestants} for case in TARGETS}
    times["nothing"] |= {FLOOR: [], ONE: []}
    one = Mllock(folder / "one")
    one.data.mkdir()
    (one.data / "file").write_bytes(b"x")
    one.add()
    # The first look may have been at a file of the very moment.
    clock(one.add)
    for run in range(runs + 1):
        for name, contestant in contestants.items():
            if contestant.data.exists():
                shutil.rmtree(contestant.data)
            shutil.copytree(folder / "data", contestant.data)
            contestant.forget()
            took = {
                "new": clock(contestant.add),
                "nothing": clock(contestant.status),
            }
            change(contestant.data, run)
            took["one file"] = clock(contestant.add)
            for case, seconds in took.items():
                times[case][name].append(seconds)
        times["nothing"][FLOOR].append(clock(lambda: status_only(folder / "data")))
        times["nothing"][ONE].append(clock(one.status))
    # The first round warms caches.
    return {case: {name: t[1:] for name, t in found.items()} for case, found in times.items()}


def change(data: Path, run: int) -> None:
    """Other bytes in one file; as a new file, because DVC's may be a link into its cache."""
    path = min(path for path in data.rglob("*") if path.is_file())
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(b"%d" % run + content[1:])


def clock(action: Callable[[], None]) -> Took:
    time.sleep(0.05)  # files of the very moment are looked at twice
    start, used = time.perf_counter(), processors()
    action()
    return time.perf_counter() - start, processors() - used


def processors() -> float:
    """Seconds that the processes had which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def median(values: list[Took], which: int = 0) -> float:
    return statistics.median(value[which] for value in values)


def table(tree: str, times: Times) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for case, found in times.items():
        ours = median(found[OURS])
        for name, values in found.items():
            seconds = median(values)
            rows.append(
                {
                    "tree": tree,
                    "case": case,
                    "what": name,
                    "seconds": seconds,
                    "times mllock": seconds / ours,
                    "processors": median(values, 1),
                }
            )
    return rows


def judge(title: str, times: Times, files: int) -> bool:
    ok = True
    for case, found in times.items():
        medians = {name: median(values) for name, values in found.items()}
        ours = medians.pop(OURS)
        floor = medians.pop(FLOOR, None)
        medians.pop(ONE, None)
        ratio = min(medians.values()) / ours
        fast = ratio >= TARGETS[case]
        print(f"{title}, {case}: DVC's time is {ratio:.1f} of ours, {_word(fast, TARGETS[case])}")
        ok = ok and fast
        if floor is not None:
            best = min(medians.values()) / floor
            print(f"{title}, {case}: DVC's time is {best:.1f} of the floor's, {floor:.3f} s")
        if case == "nothing" and files == FILES:
            used = median(found[OURS], 1)
            quick = used <= TARGET_SECONDS
            print(f"{title}, {case}: {used:.3f} s of processors, {_word(quick, TARGET_SECONDS)}")
            least, command = median(found[FLOOR], 1), median(found[ONE], 1)
            print(
                f"    the command with one file {command:.3f} s, a Python that looks {least:.3f} s"
            )
            ok = ok and quick
    return ok


def _word(holds: bool, target: float) -> str:
    return f"target {target:g} {'holds' if holds else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
