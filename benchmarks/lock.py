"""Locking Python packages, against the resolvers alone: pip-compile and uv pip compile.

    python benchmarks/lock.py [--runs 3] [--sets sklearn,torch,many] [--resolvers pip-tools,uv]
                              [--cases cold,warm,change,nothing] [--json PATH] [--folder FOLDER]
                              [--latency MS]

Three requirement sets: scikit-learn + pandas + fastapi; a torch stack for the CPU; about 150
packages. Each is locked with either resolver, four times over: cold (no cache at all), warm (full
caches, no package locked), change (full caches, a lock, one dependency more), nothing (a lock that
is current; the peers have no such case and resolve again with their previous output). The peers
write hashes (`--generate-hashes`) for the same Python and platform, from the same indexes, which
are those that pip is set to on this machine (the torch set needs one that has CPU builds). With
pip-tools mllock does more than its peer: it fetches the wheels and pins the bytes that came. uv
alone takes a page of an index that it has for as long as the index says that it lasts; mllock has
every page asked for anew (ADR 0140), so that uv with `--refresh` is timed as well: the same work.

With `--latency 50`, both find the indexes of this machine that are folders behind HTTP, each answer
50 ms late (slow_index.py): an index at the distance of a network, not of a disk.

What is timed of mllock is the command `mllock lock`, start of Python included; the Debian part,
which the peers do not have, is there already: cold and warm begin with a lock of the base alone.
Bytecode of mllock is written by the first run, as an installation does, and what uv keeps of the
interpreter it has seen before. Runs alternate; medians are compared, and what mllock takes beyond
its peer is told in ms: by the clock, and of processors, which is what counts on a machine that
others use as well.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import print_table, write_json
from slow_index import served

SETS: dict[str, tuple[tuple[str, ...], str]] = {
    "sklearn": (("scikit-learn", "pandas", "fastapi", "uvicorn"), "httpx"),
    "torch": (
        ("torch==2.13.0+cpu", "torchvision", "transformers", "accelerate", "safetensors"),
        "einops",
    ),
    "many": (
        (
            *("scikit-learn", "pandas", "fastapi", "uvicorn", "matplotlib", "seaborn", "plotly"),
            *("xgboost", "lightgbm", "statsmodels", "mlflow", "optuna", "dask[dataframe]"),
            *("requests", "httpx", "boto3", "sqlalchemy", "polars", "pytest"),
            *("streamlit", "spacy", "onnx"),
        ),
        "einops",
    ),
}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
RESOLVERS = ("pip-tools", "uv")
CASES = ("cold", "warm", "change", "nothing")
SPEC = """\
[project]
name = "bench"

[environment]
python = "{python}"
platforms = ["{platform}"]
resolver = "{resolver}"
dependencies = [{dependencies}]
"""
# A lock of the base alone, with a base that is there already: the peers have none.
BASE = """\
import os, sys
from mllock.lock.ports import SystemResolution
from mllock.lock.types import Base, DebianPackage, ReleaseIndex
from mllock.workflows import resolving

def there(*_):
    libc = DebianPackage(
        name="libc6",
        version="2.36-9",
        architecture=os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        filename="pool/main/g/glibc/libc6_2.36-9_any.deb",
        size=1,
        sha256="0" * 64,
        layer="base",
    )
    index = ReleaseIndex(
        suite="bookworm", inrelease="sha256:" + "0" * 64, date="now", signed_by=("A",)
    )
    base = Base(
        kind="debian",
        suite="bookworm",
        python=sys.version.split()[0],
        interpreter="/usr/bin/python3",
        indexes=(index,),
    )
    return SystemResolution(base=base, packages=(libc,))

resolving.resolve_system = there
from mllock.cli.main import main
main(["--quiet", "lock"])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sets", default=",".join(SETS), help="which, with commas between")
    parser.add_argument("--resolvers", default=",".join(RESOLVERS), help="which")
    parser.add_argument("--cases", default=",".join(CASES), help="which")
    parser.add_argument("--json", metavar="PATH", help="write the result there as well")
    parser.add_argument("--folder", help="where caches and projects are made (up to 10 GB)")
    parser.add_argument("--latency", type=float, metavar="MS", help="of each answer of an index")
    options = parser.parse_args()
    rows = []
    with _distant(options.latency) as variables:
        os.environ.update(variables)
        for name in options.sets.split(","):
            for resolver in options.resolvers.split(","):
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    rows += _compare(
                        name, resolver, Path(folder), options.runs, options.cases.split(",")
                    )
    print_table(rows)
    write_json(options.json, rows)


def _distant(latency: float | None) -> contextlib.AbstractContextManager[dict[str, str]]:
    """Variables of pip for the indexes of this machine, `latency` ms away."""
    if latency is None:
        return contextlib.nullcontext({})
    from mllock.lock.pip import Pip

    settings = Pip(environ=os.environ, reporter=_silent()).settings(Path.cwd())
    return served(settings, latency / 1000)


def _compare(
    name: str, resolver: str, folder: Path, runs: int, cases: Sequence[str]
) -> list[dict[str, object]]:
    ours, peer = _Ours(folder / "ours", resolver), _Peer(folder / "peer", resolver)
    contestants: dict[str, _Contestant] = {"peer": peer, "mllock": ours}
    if resolver == "uv":
        contestants["refresh"] = _Peer(folder / "refresh", resolver, "--refresh")
    wanted, more = SETS[name]
    rows: list[dict[str, object]] = []
    for case in cases:
        times: dict[str, list[float]] = {who: [] for who in contestants}
        busy: dict[str, list[float]] = {who: [] for who in contestants}
        asked = (*wanted, more) if case == "change" else wanted
        for _ in range(runs):
            for who, contestant in contestants.items():
                contestant.prepare(case, wanted)
                elapsed, used = _timed(lambda c=contestant, a=asked: c.lock(a))
                times[who].append(elapsed)
                busy[who].append(used)
        seconds = {who: statistics.median(values) for who, values in times.items()}
        mine, anew = seconds["mllock"], seconds.get("refresh")
        used = statistics.median(busy["mllock"]) - statistics.median(busy["peer"])
        rows.append(
            {
                "set": name,
                "packages": ours.packages(),
                "resolver": resolver,
                "case": case,
                "mllock s": mine,
                "peer s": seconds["peer"],
                "ratio": mine / seconds["peer"],
                "ms more": round((mine - seconds["peer"]) * 1000),
                "of CPU": round(used * 1000),
                "--refresh s": anew,
                "its ratio": None if anew is None else mine / anew,
            }
        )
        shown = ", ".join(f"{who} {value:.2f} s" for who, value in seconds.items())
        print(f"{name}, {resolver}, {case}: {shown}", file=sys.stderr)
    return rows


def _timed(fn: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of processors, in the processes that `fn` starts."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    fn()
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return elapsed, used


class _Contestant:
    def __init__(self, folder: Path, resolver: str) -> None:
        self.resolver = resolver
        self.cache, self.project = folder / "cache", folder / "project"
        self.project.mkdir(parents=True)
        self.output = self.project / "output"
        # A setting of developers, with which every start of Python would compile.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self.environ = inherited | {
            "XDG_CACHE_HOME": str(self.cache),
            "MLLOCK_CACHE": str(self.cache / "mllock"),
            "PIP_CACHE_DIR": str(self.cache / "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def prepare(self, case: str, wanted: Sequence[str]) -> None:
        """What `case` begins with."""
        if case == "cold":
            shutil.rmtree(self.cache, ignore_errors=True)
        if case in ("cold", "warm"):
            self.begin()
        else:
            self.lock(wanted)

    def begin(self) -> None:
        """No package is locked."""
        self.output.unlink(missing_ok=True)

    def lock(self, wanted: Sequence[str]) -> None:
        raise SystemExit("a contestant locks")

    def run(self, command: Sequence[str], environ: dict[str, str]) -> None:
        done = subprocess.run(
            command, cwd=self.project, env=environ, capture_output=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)[:200]}\n{done.stderr.decode()[-3000:]}")


class _Ours(_Contestant):
    def __init__(self, folder: Path, resolver: str) -> None:
        super().__init__(folder, resolver)
        self.output = self.project / "mlproject.lock"
        self._write_spec(())
        self.run([sys.executable, "-c", BASE], self.environ)
        self.base = self.output.read_bytes()
        shutil.rmtree(self.cache, ignore_errors=True)

    def begin(self) -> None:
        self.output.write_bytes(self.base)

    def lock(self, wanted: Sequence[str]) -> None:
        self._write_spec(wanted)
        self.run([sys.executable, "-m", "mllock", "--quiet", "lock"], self.environ)

    def _write_spec(self, wanted: Sequence[str]) -> None:
        from mllock.core.platform import host_platform

        text = SPEC.format(
            python=PYTHON,
            platform=host_platform(),
            resolver=self.resolver,
            dependencies=", ".join(f'"{item}"' for item in wanted),
        )
        (self.project / "mlproject.toml").write_text(text)

    def packages(self) -> int:
        from mllock.lock.format import read_lock

        return len(read_lock(self.output).python.packages)


class _Peer(_Contestant):
    def __init__(self, folder: Path, resolver: str, *options: str) -> None:
        super().__init__(folder, resolver)
        self.options = options

    def lock(self, wanted: Sequence[str]) -> None:
        (self.project / "requirements.in").write_text("".join(f"{item}\n" for item in wanted))
        same = (*self.options, "--generate-hashes")
        same += ("--output-file", self.output.name, "requirements.in")
        if self.resolver == "uv":
            import uv

            from mllock.lock.pip import Pip
            from mllock.lock.uv import variables_of

            pip = Pip(environ=self.environ, reporter=_silent())
            settings = pip.settings(self.project)
            command = [str(uv.find_uv_bin()), "pip", "compile", "--only-binary", ":all:"]
            command += ["--python", sys.executable, "--cache-dir", str(self.cache / "uv"), *same]
            self.run(command, variables_of(self.environ, settings))
            return
        command = [sys.executable, "-m", "piptools", "compile", "--allow-unsafe", "--strip-extras"]
        command += ["--cache-dir", str(self.cache / "pip-tools")]
        self.run([*command, "--pip-args", "--only-binary :all:", *same], self.environ)


def _silent() -> object:
    from common import Silent

    return Silent()


if __name__ == "__main__":
    main()
