"""The engine part of build.py: mllock against `docker build` with pip, BuildKit with uv, buildah.

In engines of our own (as root): one that unpacks with pigz and one that may not. Each way of
builders.py is timed for:

    layout   nothing is cached; the image as files (engines: as an image in the engine, which is
             less work than writing it out, so the ratio is in their favour)
    change   one dependency has another version; everything else as before, caches warm
    code     one line of the program changed, caches warm
    ..., engine   the same, and the image is in the engine, ready to run
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from builders import Buildah, Context, Docker, Own, Start
from common import Silent, print_table

__all__ = ["compare", "engine"]

OURS, PIP, UV, BUILDAH = "mllock", "docker, pip", "BuildKit, uv", "buildah, uv"
COMPILED = ", bytecode"
PEERS = {
    "layout": (PIP, UV, BUILDAH),
    "change": (PIP, UV, BUILDAH),
    "code": (PIP, UV, BUILDAH),
    "layout, engine": (PIP, UV),
    "change, engine": (PIP, UV),
    "code, engine": (PIP, UV),
}
# Against BuildKit with uv for what is made from nothing, else against the best peer.
TARGETS = {"layout": 10.0, "change": 10.0, "code": 10.0, "layout, bytecode": 1.5}
TARGET_ENGINE = 1.0
TARGET_CODE_SECONDS = 0.5
# Another version of one large wheel: what "change" replaces.
CHANGED = "scikit-learn==1.8.0"


@contextlib.contextmanager
def engine(folder: Path, *, pigz: bool) -> Iterator[str]:
    """A dockerd of our own; its DOCKER_HOST. Its network is none: nothing here needs one."""
    folder.mkdir(parents=True)
    host = f"unix://{folder}/docker.sock"
    environ = {**os.environ} if pigz else {**os.environ, "MOBY_DISABLE_PIGZ": "1"}
    # In namespaces of its own: an engine without a bridge removes the bridge of the others.
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["dockerd", "--bridge=none", "--iptables=false", "--host", host]
    command += ["--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
    command += ["--pidfile", str(folder / "pid")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(120):
            if (folder / "docker.sock").exists():
                break
            time.sleep(0.25)
        time.sleep(1)
        yield host
    finally:
        # unshare passes no signal on; with it everything in its namespaces ends, mounts included.
        process.kill()
        process.wait(60)


def compare(
    project: Path, folder: Path, wheels: list[Path], runs: int
) -> tuple[dict[str, object], bool]:
    """All cases in both engines: prints tables; answers figures, and whether targets hold."""
    old = next(wheel for wheel in wheels if wheel.name.startswith("scikit_learn-"))
    start = _start(project, wheels, (old, _other(folder)))
    results: dict[str, object] = {}
    ok = True
    with tempfile.TemporaryDirectory() as name:
        for pigz in (True, False):
            work = Path(name) / ("pigz" if pigz else "plain")
            with engine(work / "engine", pigz=pigz) as host:
                times = _measure(work, start, host, runs)
            results["pigz" if pigz else "no pigz"] = times
            print(f"\nengine that unpacks {'with pigz' if pigz else 'by itself'}")
            ok = _print(times) and ok
    return results, ok


Times = dict[str, dict[str, list[float]]]


def _measure(work: Path, start: Start, host: str, runs: int) -> Times:
    own, compiled = Own(work, start, host), Own(work, start, host, bytecode=True)
    own.load_base()
    context = Context(work / "context", start)
    ways: dict[str, Own | Docker | Buildah] = {
        OURS: own,
        PIP: Docker(context, host, "pip", buildkit=False),
        UV: Docker(context, host, "uv", buildkit=True),
        BUILDAH: Buildah(work, context, own),
    }
    times: Times = {case: {name: [] for name in (OURS, *peers)} for case, peers in PEERS.items()}
    bytecode: dict[str, list[float]] = {OURS: [], UV: []}
    uv = Docker(context, host, "uv-bytecode", buildkit=True)
    # In turns, so that what else the machine does is shared.
    for _ in range(runs):
        for case, found in times.items():
            for name, spent in found.items():
                spent.append(ways[name].run(case))
        bytecode[OURS].append(compiled.run("layout"))
        bytecode[UV].append(uv.run("layout"))
    return times | {"layout" + COMPILED: bytecode}


def _print(times: Times) -> bool:
    rows: list[dict[str, object]] = []
    ok = True
    for case, ways in times.items():
        median = {way: statistics.median(spent) for way, spent in ways.items()}
        own = median[OURS]
        best = min(spent for way, spent in median.items() if way != OURS)
        ratio = (median[UV] if case in ("layout", "layout, bytecode") else best) / own
        target = TARGETS.get(case, TARGET_ENGINE)
        good = ratio >= target
        ok = ok and good
        cells = {way: median.get(way) for way in (OURS, PIP, UV, BUILDAH)}
        rows.append({"case": case, **cells, "ratio": ratio, "target": target, "holds": str(good)})
    print_table(rows)
    code = statistics.median(times["code, engine"][OURS])
    print(f"code change loaded in {code:.2f} s (target {TARGET_CODE_SECONDS})")
    return ok and code < TARGET_CODE_SECONDS


def _other(folder: Path) -> Path:
    place = folder / "changed"
    if not list(place.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--python-version", "3.11", "--dest", str(place)]
        command += [
            w for n in ("2_28", "2_27", "2_17") for w in ("--platform", f"manylinux_{n}_x86_64")
        ]
        subprocess.run([*command, CHANGED], check=True)
    return next(place.glob("*.whl"))


def _start(project: Path, wheels: list[Path], changed: tuple[Path, Path]) -> Start:
    """The base and system layers of a locked project, and its lock."""
    from mllock.spec.reader import load_spec
    from mllock.workflows.context import make_context
    from mllock.workflows.environment import environment_of
    from mllock.workflows.lock import current_lock

    ctx = make_context(project, Silent(), os.environ)
    loaded = load_spec(project / "mlproject.toml")
    lock, _ = current_lock(ctx, loaded)
    layers = environment_of(ctx, loaded, lock).layers
    base = tuple(layer for layer in layers if layer.kind in ("base", "system"))
    return Start(lock, base, ctx.cache, wheels, changed)
