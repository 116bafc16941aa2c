"""The ways to build one image that build.py compares: each makes it and answers with seconds.

All have the same base (our base and system layers), the same wheels, the same program. mllock makes
the environment as its commands do, from a lock of these wheels, in a cache that holds the wheels
and the base. Peers get the wheels in their build context, have no network, and no cache unless the
case is about one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import msgspec
from common import Silent
from packaging.utils import parse_wheel_filename

from mllock.core.digest import from_hex
from mllock.engine.docker import connect
from mllock.image.build import Packages, build_environment
from mllock.image.config import assemble
from mllock.image.environment import image_variables
from mllock.image.layers import make_layer
from mllock.image.tree import Node, Stored
from mllock.image.types import Image, ImageConfig, ImagePlan, Layer
from mllock.lock.layers import assign, python_budget
from mllock.lock.types import Lock, PythonPackage, Wheel
from mllock.store.cache import Cache
from mllock.store.layout import write_layout
from mllock.workflows.load import load_image

__all__ = ["BASE", "Buildah", "Context", "Docker", "Own", "Start"]

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
    --no-index --no-deps --find-links /wheels{compile} -r /requirements.txt
COPY app.py /app/
"""


# buildah 1.28 takes a step from its cache whatever is in its mounts: what may change is copied.
BUILDAH = (
    UV.format(compile="")
    .replace("USER 0\n", "USER 0\nCOPY requirements.txt /requirements.txt\n")
    .replace("    --mount=type=bind,source=requirements.txt,target=/requirements.txt \\\n", "")
)


class Start:
    """What every way begins with: the base, the wheels, and one wheel in another version."""

    def __init__(
        self,
        lock: Lock,
        base: tuple[Layer, ...],
        source: Cache,
        wheels: list[Path],
        changed: tuple[Path, Path],
    ) -> None:
        self.lock, self.base, self.source, self.wheels = lock, base, source, wheels
        self.old, self.new = changed
        self.packages = {path: _package(path) for path in (*wheels, self.new)}

    def changed(self) -> list[Path]:
        return [self.new if wheel == self.old else wheel for wheel in self.wheels]

    def lock_of(self, wheels: list[Path], *, bytecode: bool) -> Lock:
        packages = sorted((self.packages[path] for path in wheels), key=lambda p: p.name)
        layers = assign(packages, python_budget(60, bytecode=bytecode))
        inputs = self.lock.inputs
        return msgspec.structs.replace(
            self.lock,
            python=msgspec.structs.replace(self.lock.python, packages=tuple(packages)),
            layers=msgspec.structs.replace(self.lock.layers, python=layers),
            inputs=msgspec.structs.replace(
                inputs, environment=inputs.environment | {"bytecode": bytecode, "overlaps": []}
            ),
        )

    def cache(self, place: Path) -> Cache:
        """A cache that has the base and the wheels, and none of what is made of them."""
        cache = Cache(place, Silent())
        for layer in self.base:
            path = self.source.get(layer.digest)
            assert path is not None
            cache.put_file(path)
        for path in self.packages:
            cache.put_file(path)
        for entry in self.source.folder("layers").iterdir():
            if any(layer.digest in entry.read_text() for layer in self.base):
                shutil.copy2(entry, cache.folder("layers"))
        return cache


def _package(path: Path) -> PythonPackage:
    name, version, _, _ = parse_wheel_filename(path.name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    wheel = Wheel(
        name=path.name,
        path=f"wheels/{path.name}",
        size=path.stat().st_size,
        hashes={"sha256": digest},
    )
    return PythonPackage(name=name, version=str(version), wheels=(wheel,))


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


class Own:
    """mllock. `host` is the engine that images are loaded into."""

    def __init__(self, work: Path, start: Start, host: str, *, bytecode: bool = False) -> None:
        self._work, self._start, self._bytecode = work, start, bytecode
        self._docker = connect({"DOCKER_HOST": host})
        self._host = host
        self._warm = start.cache(work / f"warm-{bytecode}")
        self._turn = 0

    def run(self, case: str) -> float:
        self._turn += 1
        folder = self._work / f"layout-{self._bytecode}-{self._turn}"
        wheels = self._start.wheels
        if case.startswith("layout"):
            cache, number = self._start.cache(self._work / f"cold-{self._turn}"), 0
            forget(self._host)
        else:
            cache, number = self._warm, self._turn
            self._build(cache, wheels, number, folder, layout=not case.endswith("engine"))
            number += 1
            if case.startswith("change"):
                wheels = self._start.changed()
        to_layout = not case.endswith("engine")
        spent = seconds(lambda: self._build(cache, wheels, number, folder, layout=to_layout))
        shutil.rmtree(folder, ignore_errors=True)
        if cache is not self._warm:
            shutil.rmtree(cache.root)
        return spent

    def base_image(self) -> Image:
        return _assemble(self._start.base)

    def load_base(self) -> None:
        ctx = SimpleNamespace(cache=self._warm, reporter=Silent())
        load_image(ctx, self._docker, self.base_image(), (BASE,))

    def layout_of_base(self, folder: Path) -> None:
        write_layout(folder, {"base": self.base_image()}, {}, self._warm)

    def _build(
        self, cache: Cache, wheels: list[Path], number: int, folder: Path, *, layout: bool
    ) -> None:
        lock = self._start.lock_of(wheels, bytecode=self._bytecode)

        def get(packages: object) -> Mapping[str, Path]:
            pinned = [package.wheels[0] for package in lock.python.packages]
            paths = cache.get_all(from_hex(wheel.hashes["sha256"]) for wheel in pinned)
            found = zip(pinned, paths.values(), strict=True)
            return {wheel.name: path for wheel, path in found if path is not None}

        packages = Packages(wheels=get, debs=_none)
        layers = build_environment(lock, packages, cache, Silent())
        program = Node(
            path="app/app.py",
            kind="file",
            mode=0o644,
            content=Stored(f"print({number})\n".encode()),
        )
        image = _assemble((*layers, make_layer(cache, "code", "code", [program])))
        if layout:
            write_layout(folder, {"train": image}, {}, cache)
        else:
            ctx = SimpleNamespace(cache=cache, reporter=Silent())
            load_image(ctx, self._docker, image, (TAG,))


def _none(_: object) -> Mapping[str, Path]:
    raise AssertionError("the base is there")


def _assemble(layers: tuple[Layer, ...]) -> Image:
    return assemble(
        ImagePlan(
            kind="train",
            platform="linux/amd64",
            layers=layers,
            config=ImageConfig(command=("python", "app.py"), variables=image_variables({})),
        )
    )


class Context:
    """The build context of the peers."""

    def __init__(self, folder: Path, start: Start) -> None:
        self.folder, self.start = folder, start
        (folder / "wheels").mkdir(parents=True)
        for wheel in start.packages:
            os.link(wheel, folder / "wheels" / wheel.name)
        uv = shutil.which("uv")
        if uv is None:
            raise SystemExit("uv is not installed: pip install uv, then run with it on PATH")
        shutil.copy(uv, folder / "uv")
        pip = f"pip=={importlib.metadata.version('pip')}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", pip]
        subprocess.run([*command, "--dest", str(folder.parent)], check=True)
        shutil.copy(next(folder.parent.glob("pip-*.whl")), folder / "pip.whl")
        for name, text in (
            ("pip", PIP),
            ("uv", UV.format(compile="")),
            ("buildah", BUILDAH),
            ("uv-bytecode", UV.format(compile=" --compile-bytecode")),
        ):
            (folder / f"Dockerfile.{name}").write_text(text)
        self.write(start.wheels, 0)

    def write(self, wheels: list[Path], number: int) -> None:
        text = "".join(f"/wheels/{wheel.name}\n" for wheel in wheels)
        (self.folder / "requirements.txt").write_text(text)
        (self.folder / "app.py").write_text(f"print({number})\n")


class Docker:
    """`docker build`, with BuildKit or without."""

    def __init__(self, context: Context, host: str, file: str, *, buildkit: bool) -> None:
        self._context, self._host, self._file, self._buildkit = context, host, file, buildkit
        self._turn = 0

    def run(self, case: str) -> float:
        self._turn += 1
        context = self._context
        context.write(context.start.wheels, 0)
        cold = case.startswith("layout")
        if cold:
            forget(self._host)
        else:
            self._build(cold=False)
            changed = case.startswith("change")
            wheels = context.start.changed() if changed else context.start.wheels
            context.write(wheels, self._turn)
        return seconds(lambda: self._build(cold=cold))

    def _build(self, *, cold: bool) -> None:
        words = ["build", "--quiet", "--network=none", "--tag", TAG]
        words += ["--file", str(self._context.folder / f"Dockerfile.{self._file}")]
        words += ["--no-cache"] if cold else []
        docker(self._host, *words, str(self._context.folder), buildkit=self._buildkit)


def docker(host: str, *words: str, buildkit: bool = True) -> None:
    environ = os.environ | {"DOCKER_HOST": host, "DOCKER_BUILDKIT": "1" if buildkit else "0"}
    # Debian's own client: newer ones need a plugin for BuildKit.
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    _run([client, *words], environ)


def forget(host: str) -> None:
    """The engine has the base, and nothing that was built."""
    connect({"DOCKER_HOST": host}).untag(TAG)
    docker(host, "image", "prune", "--force")
    docker(host, "builder", "prune", "--all", "--force")


class Buildah:
    """buildah, which has no daemon; its storage is its own. `layout` is pushed into a folder."""

    def __init__(self, work: Path, context: Context, own: Own) -> None:
        self._work, self._context, self._turn = work / "buildah", context, 0
        self._storage = ["--root", str(self._work / "root"), "--runroot", str(self._work / "run")]
        own.layout_of_base(self._work / "base")
        self._call("pull", "--quiet", f"oci:{self._work / 'base'}:base")
        base = own.base_image().config_digest.removeprefix("sha256:")
        self._call("tag", base, BASE)

    def run(self, case: str) -> float:
        self._turn += 1
        context = self._context
        context.write(context.start.wheels, 0)
        folder = self._work / f"layout-{self._turn}"
        if case == "layout":
            self._call("rmi", "--prune", "--force")

            def build() -> None:
                self._build("--no-cache")
                self._call("push", "--quiet", TAG, f"oci:{folder}:x")

            spent = seconds(build)
            shutil.rmtree(folder)
            return spent
        self._build("--layers")
        changed = case.startswith("change")
        wheels = context.start.changed() if changed else context.start.wheels
        context.write(wheels, self._turn)
        return seconds(lambda: self._build("--layers"))

    def _build(self, *words: str) -> None:
        file = self._context.folder / "Dockerfile.buildah"
        # chroot: without a cgroup or network of its own, which others must make for each step.
        options = ["build", "--quiet", "--isolation", "chroot", "--pull-never", "--tag", TAG]
        self._call(*options, *words, "--file", str(file), str(self._context.folder))

    def _call(self, *words: str) -> None:
        _run(["buildah", *self._storage, *words], {**os.environ})


def _run(command: list[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
