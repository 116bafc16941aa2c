"""A world whose serving image is in the real engine and runs: what attacks on containers are on.

The image is the tiny world's, on a base with busybox, whose "python" sleeps: it is what a container
runs, and never what a test looks at. Its record says that the run was trained in the image. Tests
type what an attacker would type: the docker command.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mllock.check.types import Report
from mllock.engine.docker import connect
from mllock.workflows.build import build_images
from mllock.workflows.load import load_image
from support.nodes import file, folder, symlink
from support.world import BASE, OTHER, RUN, SPEC, World, make_world

# No shell of the engine's: everything that runs is in the image, as in a real one.
PYTHON = (
    b"#!/usr/bin/busybox sh\ntrap 'exit 0' TERM\nwhile :; do /usr/bin/busybox sleep 0.2; done\n"
)
RUNS = (
    *(node for node in BASE if node.path != "usr/bin/python3.11"),
    symlink("bin", "usr/bin"),
    symlink("sbin", "usr/sbin"),
    folder("usr/sbin"),
    folder("tmp", 0o1777),
    folder("etc"),
    file("etc/hosts", b"127.0.0.1 localhost\n"),
    file("usr/bin/busybox", Path(shutil.which("busybox") or os.devnull).read_bytes(), 0o755),
    file("usr/bin/python3.11", PYTHON, 0o755),
)
SERVED = f'{SPEC}runtime-variables = ["API_KEY", "PYTHONUNBUFFERED"]\n'
SITE = "/opt/venv/lib/python3.11/site-packages"
MODEL = "/app/out/model"


@dataclass(slots=True)
class Attacked:
    """`tag` names the image, `older` that of the run before; containers and images that were made
    are removed by `clean`."""

    world: World
    host: str
    tag: str
    older: str
    containers: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.host, "MLLOCK_ENGINE": ""}

    def docker(self, *arguments: str, stdin: bytes = b"") -> str:
        """Type `docker ARGUMENTS`; what it prints."""
        done = subprocess.run(
            ["docker", *arguments],
            env={**os.environ, "DOCKER_HOST": self.host},
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr.decode())
        return done.stdout.decode().strip()

    def create(self, *options: str, command: tuple[str, ...] = (), image: str = "") -> str:
        """A container that does not run yet; its name."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        self.containers.append(name)
        self.docker(
            "create", "--network", "none", "--name", name, *options, image or self.tag, *command
        )
        return name

    def run(self, *options: str, command: tuple[str, ...] = (), image: str = "") -> str:
        name = self.create(*options, command=command, image=image)
        self.docker("start", name)
        return name

    def shell(self, container: str, script: str) -> None:
        """What somebody types who got in as root."""
        self.docker("exec", "--user", "0", container, "/usr/bin/busybox", "sh", "-c", script)

    def put(self, container: str, path: str, data: bytes, mode: int = 0o644) -> None:
        """`docker cp - CONTAINER:DIR`: time, owner and mode as they were."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            info = tarfile.TarInfo(path.rpartition("/")[2])
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))
        place = f"{container}:{path.rpartition('/')[0] or '/'}"
        self.docker("cp", "-", place, stdin=out.getvalue())

    def new_tag(self) -> str:
        """A name for an image, which is then removed with the others."""
        self.images.append(f"t-{uuid.uuid4().hex[:12]}:serve")
        return self.images[-1]

    def check(self, target: str, **options: Any) -> Report:
        return self.world.check(target, environ=self.environ, **options)

    def clean(self) -> None:
        for name in self.containers:
            self.docker("rm", "--force", "--volumes", name)
        for image in self.images:
            self.docker("rmi", "--force", image)


@pytest.fixture(scope="session")
def loaded(engine_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """The world and its image: not to be changed."""
    if shutil.which("busybox") is None:
        pytest.skip("no busybox: scripts/test installs it")
    world = make_world(
        tmp_path_factory.mktemp("attacked"), spec=SERVED, base=RUNS, runtime="docker"
    )
    attacked = Attacked(world=world, host=engine_host, tag="", older="")
    attacked.tag, attacked.older = attacked.new_tag(), attacked.new_tag()
    load(attacked, attacked.older, OTHER)
    load(attacked, attacked.tag, RUN)
    yield attacked
    attacked.clean()


def load(attacked: Attacked, tag: str, run: str) -> None:
    """Build the serving image (of `run`) of the attacked world and give it to the engine."""
    ctx = attacked.world.context()
    engine = connect({"DOCKER_HOST": attacked.host})
    try:
        (built,) = build_images(ctx, kinds=("serve",), run_id=run).images
        load_image(ctx, engine, built.image, (tag,))
    finally:
        engine.close()


@pytest.fixture
def attacked(loaded: Attacked) -> Iterator[Attacked]:
    """The same for one test: what it makes in the engine is removed."""
    mine = replace(loaded, containers=[], images=[])
    yield mine
    mine.clean()


@pytest.fixture
def own(loaded: Attacked, tmp_path: Path) -> Iterator[Attacked]:
    """With a copy of project, keys and cache of its own, to be broken."""
    world = loaded.world.copy(tmp_path / "own")
    shutil.copytree(loaded.world.root / "cache", world.root / "cache")
    mine = replace(loaded, world=world, containers=[], images=[])
    yield mine
    mine.clean()
