"""The engine part of build.py: mllock against `docker build` with pip and BuildKit with uv.

Same wheels, same base image, same code, same run, in engines of our own (as root): one that unpacks
with pigz and one that may not. Peers get the wheels in their build context, no network and no
cache unless the case is about one. Each way is timed for:

    layout   nothing is cached; the image as files (peers: as an image in their engine, which is
             less work than writing it out, so the ratio is in their favour)
    engine   nothing is cached; the image in the engine, ready to run
    change   one dependency has another version; everything else as before, caches warm
    code     one line of the program changed, caches warm
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from common import LARGE, Silent, print_table

from mllock.engine.docker import connect
from mllock.image.config import assemble
from mllock.image.environment import image_variables
from mllock.image.layers import cached_layer, make_layer
from mllock.image.python import merge
from mllock.image.tree import Node, Stored
from mllock.image.types import Image, ImageConfig, ImagePlan, Layer
from mllock.image.wheel import wheel_nodes
from mllock.store.cache import Cache
from mllock.store.layout import write_layout
from mllock.workflows.load import load_image

__all__ = ["compare"]

CASES = ("layout", "engine", "change", "code")
WAYS = ("mllock", "docker build, pip", "BuildKit, uv")
BASE, TAG = "bench-base:1", "bench:1"

PIP = """FROM bench-base:1
USER 0
COPY wheels/ /wheels/
COPY requirements.txt pip.whl /
RUN python3.11 -m venv --without-pip /opt/venv && /opt/venv/bin/python /pip.whl/pip install \\
    --no-index --no-deps --no-compile --quiet --find-links /wheels -r /requirements.txt
COPY app.py /app/
"""
UV = """FROM bench-base:1
USER 0
RUN --mount=type=bind,source=wheels,target=/wheels --mount=type=bind,source=uv,target=/uv \\
    --mount=type=bind,source=requirements.txt,target=/requirements.txt \\
    --mount=type=cache,target=/uv-cache \\
    UV_CACHE_DIR=/uv-cache /uv venv --quiet --python /usr/bin/python3.11 /opt/venv && \\
    UV_CACHE_DIR=/uv-cache /uv pip install --python /opt/venv/bin/python --quiet --offline \\
    --no-index --no-deps --find-links /wheels -r /requirements.txt
COPY app.py /app/
"""


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


class Bench:
    """One engine, one set of wheels, all ways."""

    def __init__(
        self, work: Path, wheels: list[Path], base: tuple[Layer, ...], cache: Cache
    ) -> None:
        self.work, self.wheels, self.base, self.source = work, wheels, base, cache
        self.turn = 0
        self.ours = Cache(work / "warm", Silent())
        self.context = work / "context"

    def prepare(self, host: str, changed: tuple[Path, Path]) -> None:
        """The base image in the engine, and a build context for the peers."""
        self.host, self.docker = host, connect({"DOCKER_HOST": host})
        self.old, self.new = changed
        image = self._assemble(self.base, code=None)
        self._give_base(self.ours)
        load_image(self._ctx(self.ours), self.docker, image, (BASE,))
        shutil.rmtree(self.context, ignore_errors=True)
        (self.context / "wheels").mkdir(parents=True)
        for wheel in self.wheels:
            os.link(wheel, self.context / "wheels" / wheel.name)
        self._tools()
        self._write(self.wheels, 0)

    def _tools(self) -> None:
        """Uv's program and pip's wheel, which the base does not have."""
        uv = shutil.which("uv")
        if uv is None:
            raise SystemExit("uv is not installed: pip install uv, then run with it on PATH")
        shutil.copy(uv, self.context / "uv")
        pip = f"pip=={importlib.metadata.version('pip')}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", pip]
        subprocess.run([*command, "--dest", str(self.work)], check=True)
        shutil.copy(next(self.work.glob("pip-*.whl")), self.context / "pip.whl")

    def _write(self, wheels: list[Path], number: int) -> None:
        text = "".join(f"/wheels/{wheel.name}\n" for wheel in wheels)
        (self.context / "requirements.txt").write_text(text)
        (self.context / "app.py").write_text(f"print({number})\n")
        (self.context / "Dockerfile.pip").write_text(PIP)
        (self.context / "Dockerfile.uv").write_text(UV)

    # What is timed: each returns seconds.

    def run(self, way: str, case: str) -> float:
        self.turn += 1
        if way == "mllock":
            return self._mllock(case)
        return self._peer(way, case)

    def _mllock(self, case: str) -> float:
        if case in ("layout", "engine"):
            cache = Cache(self.work / f"cold{self.turn}", Silent())
            self._give_base(cache)
            number, wheels = 0, self.wheels
        else:
            cache, number, wheels = self.ours, self.turn, self.wheels
            image = self._image(cache, wheels, number)
            load_image(self._ctx(cache), self.docker, image, (TAG,))
            number += 1
            if case == "change":
                wheels = [self.new if wheel == self.old else wheel for wheel in wheels]
        if case == "engine":
            self._forget()
        folder = self.work / f"layout{self.turn}"
        began = time.perf_counter()
        image = self._image(cache, wheels, number)
        if case == "layout":
            write_layout(folder, {"train": image}, {}, cache)
        else:
            load_image(self._ctx(cache), self.docker, image, (TAG,))
        spent = time.perf_counter() - began
        shutil.rmtree(folder, ignore_errors=True)
        if cache is not self.ours:
            shutil.rmtree(cache.root)
        return spent

    def _peer(self, way: str, case: str) -> float:
        self._write(self.wheels, 0)
        buildkit = way.startswith("BuildKit")
        cold = case in ("layout", "engine")
        if cold:
            self._forget()
            if buildkit:
                self._docker("builder", "prune", "--all", "--force")
        else:
            self._build(buildkit, no_cache=False)
            wheels = self.wheels
            if case == "change":
                wheels = [self.new if wheel == self.old else wheel for wheel in wheels]
                target = self.context / "wheels" / self.new.name
                if not target.exists():
                    os.link(self.new, target)
            self._write(wheels, self.turn)
        began = time.perf_counter()
        self._build(buildkit, no_cache=cold)
        return time.perf_counter() - began

    def _build(self, buildkit: bool, *, no_cache: bool) -> None:
        file = "Dockerfile.uv" if buildkit else "Dockerfile.pip"
        words = [
            "build",
            "--quiet",
            "--network=none",
            "--tag",
            TAG,
            "--file",
            str(self.context / file),
        ]
        if no_cache:
            words.append("--no-cache")
        self._docker(*words, str(self.context), buildkit=buildkit)

    def _docker(self, *words: str, buildkit: bool = True) -> None:
        environ = {
            **os.environ,
            "DOCKER_HOST": self.host,
            "DOCKER_BUILDKIT": "1" if buildkit else "0",
        }
        # Debian's own client: newer ones need a plugin for BuildKit.
        client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
        done = subprocess.run(
            [client, *words], env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"docker {' '.join(words)}\n{done.stdout}{done.stderr}")

    def _forget(self) -> None:
        self.docker.untag(TAG)
        self._docker("image", "prune", "--force")

    def _give_base(self, cache: Cache) -> None:
        for layer in self.base:
            path = self.source.get(layer.digest)
            assert path is not None
            cache.put_file(path)

    def _image(self, cache: Cache, wheels: list[Path], number: int) -> Image:
        large = [wheel for wheel in wheels if wheel.stat().st_size > LARGE]
        groups = [[wheel] for wheel in sorted(large, key=lambda wheel: wheel.name)]
        groups.append([wheel for wheel in wheels if wheel not in large])
        with ThreadPoolExecutor() as pool:
            layers = tuple(pool.map(lambda group: self._layer(cache, group), groups))
        return self._assemble((*self.base, *layers), code=(cache, number))

    def _layer(self, cache: Cache, group: list[Path]) -> Layer:
        key = {"wheels": [wheel.name for wheel in group]}
        return cached_layer(
            cache,
            "python",
            "",
            key,
            lambda: merge([(w.name, wheel_nodes(w, w.name)) for w in group]),
        )

    def _assemble(self, layers: tuple[Layer, ...], code: tuple[Cache, int] | None) -> Image:
        if code is not None:
            cache, number = code
            program = Node(
                path="app/app.py",
                kind="file",
                mode=0o644,
                content=Stored(f"print({number})\n".encode()),
            )
            layers = (*layers, make_layer(cache, "code", "code", [program]))
        return assemble(
            ImagePlan(
                kind="train",
                platform="linux/amd64",
                layers=layers,
                config=ImageConfig(command=("python", "app.py"), variables=image_variables({})),
            )
        )

    def _ctx(self, cache: Cache) -> SimpleNamespace:
        return SimpleNamespace(cache=cache, reporter=Silent())


# Another version of one large wheel: what "change" replaces.
CHANGED = "scikit-learn==1.8.0"
TARGETS = {"layout": 8.0, "engine": 1.0}
TARGET_CODE_SECONDS = 0.5


def compare(
    project: Path, folder: Path, wheels: list[Path], runs: int
) -> tuple[dict[str, object], bool]:
    """All cases in both engines: prints tables; answers figures, and whether targets hold."""
    old = next(wheel for wheel in wheels if wheel.name.startswith("scikit_learn-"))
    new = _other(folder)
    base, cache = _base(project)
    results: dict[str, object] = {}
    ok = True
    with tempfile.TemporaryDirectory() as name:
        for pigz in (True, False):
            work = Path(name) / f"pigz-{pigz}"
            with engine(work / "engine", pigz=pigz) as host:
                bench = Bench(work, wheels, base, cache)
                bench.prepare(host, (old, new))
                times = {
                    case: {way: [bench.run(way, case) for _ in range(runs)] for way in WAYS}
                    for case in CASES
                }
            results["pigz" if pigz else "no pigz"] = times
            print(f"\nengine that unpacks {'with pigz' if pigz else 'by itself'}")
            ok = _print(times) and ok
    return results, ok


def _print(times: dict[str, dict[str, list[float]]]) -> bool:
    rows: list[dict[str, object]] = []
    ok = True
    for case, ways in times.items():
        median = {way: statistics.median(spent) for way, spent in ways.items()}
        ratio = median[WAYS[2]] / median[WAYS[0]]
        good = ratio >= TARGETS.get(case, 0.0) and (
            case != "code" or median[WAYS[0]] < TARGET_CODE_SECONDS
        )
        ok = ok and good
        rows.append(
            {
                "case": case,
                **median,
                "uv / mllock": ratio,
                "target": TARGETS.get(case),
                "holds": str(good),
            }
        )
    print_table(rows)
    return ok


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


def _base(project: Path) -> tuple[tuple[Layer, ...], Cache]:
    """The base and system layers of a locked project."""
    from mllock.spec.reader import load_spec
    from mllock.workflows.context import make_context
    from mllock.workflows.environment import environment_of
    from mllock.workflows.lock import current_lock

    ctx = make_context(project, Silent(), os.environ)
    loaded = load_spec(project / "mlproject.toml")
    lock, _ = current_lock(ctx, loaded)
    layers = environment_of(ctx, loaded, lock).layers
    return tuple(layer for layer in layers if layer.kind in ("base", "system")), ctx.cache
