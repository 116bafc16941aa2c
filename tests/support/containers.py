"""Small projects that train in a real engine: a base of busybox, programs in its shell.

`docker_project` is a locked project whose base layer is put into the cache under its key; all that
mllock does with it is real. `Proxy` is an engine's socket somewhere else, as another machine's is.
`leftovers` is what an engine has of a project's runs.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import msgspec
import pytest

from mllock.check.mountinfo import parse_mountinfo
from mllock.engine.docker import DockerEngine
from mllock.engine.types import LABEL
from mllock.errors import EngineError, MllockError
from mllock.image.layers import cached_layer
from mllock.image.types import BUILDER_FORMAT
from mllock.lock.format import dump_lock, seal
from mllock.lock.types import LayerGroup, Layers
from mllock.train.leftovers import owner_of
from mllock.train.runs import RunFolder, list_runs
from mllock.workflows.context import Context
from mllock.workflows.train import TrainResult, train
from support.nodes import file, folder, symlink
from support.training import context, lock_of, make_project, put_wheels

SPEC = """\
[project]
name = "{name}"
version = "1.2.3"

[environment]
python = "3.11"
dependencies = ["tiny-lib"]
variables = {{ {variables} }}

[data.train]
source = "data/train.csv"

{data}
[train]
command = ["sh", "train.sh"]
code = ["**/*.sh"]
model = "out/model"
metrics = "metrics.json"
params = {{ alpha = 0.5 }}
{train}
[serve]
command = ["sh", "serve.sh"]
code = ["serve.sh"]
port = 8080
{serve}
"""

# What a good program does; a test puts its own lines before it.
GOOD = """
mkdir -p out/model
cat data/train.csv > out/model/weights
cat "$MLLOCK_PARAMS" > out/model/params
echo '{"score": 0.5}' > metrics.json
"""


def docker_project(
    place: Path,
    host: str,
    name: str,
    program: str = "",
    *,
    train: str = "",
    data: str = "",
    serve: str = "",
    variables: str = 'OMP_NUM_THREADS = "1"',
    files: Mapping[str, str] | None = None,
) -> Context:
    """A locked project in `place`/project whose commands use the engine at `host`."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox: scripts/test installs it")
    project = make_project(
        place / "project",
        spec=SPEC.format(name=name, train=train, data=data, serve=serve, variables=variables),
        files={"train.sh": program + GOOD, "serve.sh": "", **(files or {})},
    )
    (project / "train.py").unlink()
    ctx = context(project, {"DOCKER_HOST": host, "MLLOCK_ENGINE": ""})
    packages = put_wheels(ctx.cache, {("tiny-lib", "1.0"): {"tiny_lib/__init__.py": b""}})
    groups = tuple(LayerGroup(packages=(package.name,)) for package in packages)
    lock = seal(
        msgspec.structs.replace(
            lock_of(project, packages), layers=Layers(builder_format=BUILDER_FORMAT, python=groups)
        )
    )
    (project / "mlproject.lock").write_bytes(dump_lock(lock))
    key = {"suite": lock.base.suite, "debs": [f"sha256:{deb.sha256}" for deb in lock.system]}
    base = (
        symlink("bin", "usr/bin"),
        folder("etc"),
        folder("usr"),
        folder("usr/bin"),
        file("usr/bin/busybox", Path(busybox).read_bytes(), 0o755),
        *(
            symlink(f"usr/bin/{tool}", "busybox")
            for tool in subprocess.run(
                [busybox, "--list"], capture_output=True, text=True, check=True
            ).stdout.split()
            if tool != "busybox"
        ),
        folder("opt"),
    )
    cached_layer(ctx.cache, "base", f"debian:{lock.base.suite}", key, lambda: base)
    return ctx


def leftovers(engine: DockerEngine, ctx: Context) -> tuple[list[str], list[str]]:
    """Names of containers, and the labels that its volumes have."""
    label = f"mllock.owner={owner_of(ctx.state)}"
    return (
        [container.name for container in engine.containers(label)],
        [labels[LABEL] for labels in engine.volumes(label).values()],
    )


Project = Callable[..., Context]


def go(ctx: Context, *overrides: str) -> TrainResult:
    return train(ctx, overrides=overrides, runtime="docker")


def said(ctx: Context, error: type[MllockError]) -> str:
    """The message, and that no run looks good afterwards."""
    with pytest.raises(error) as caught:
        go(ctx)
    assert [run for run in list_runs(ctx.runs) if run.is_good] == []
    return str(caught.value)


def the_run(ctx: Context) -> RunFolder:
    (run,) = list_runs(ctx.runs)
    return run


def failure(ctx: Context) -> tuple[str, int | None]:
    failed = the_run(ctx).failure()
    assert failed is not None
    return failed.kind, failed.exit_code


def clean(engine: DockerEngine, name: str) -> None:
    """Remove the images of the project `name`, with and without a tag, and their containers."""
    for image in engine.images():
        labels = image.config.get("Labels") or {}
        if labels.get("org.opencontainers.image.title") != name:
            continue
        for tag in image.tags or (image.id,):
            with contextlib.suppress(EngineError):
                engine.untag(tag)


class Proxy:
    """`with Proxy(socket) as host`: the engine's socket on a TCP port of loopback."""

    def __init__(self, engine_host: str) -> None:
        self._target = engine_host.removeprefix("unix://")
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> str:
        self._start(self._accept)
        return f"tcp://127.0.0.1:{self._server.getsockname()[1]}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for end in self._open:
            end.close()

    def _start(self, task: object, *arguments: object) -> None:
        thread = threading.Thread(target=task, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.socket(socket.AF_UNIX)
                self._open += [near, far]
                far.connect(self._target)
                self._start(self._copy, near, far)
                self._start(self._copy, far, near)

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def own_engine(place: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An engine of the test's own, to be killed: its DOCKER_HOST, and its process."""
    if shutil.which("dockerd") is None:
        pytest.skip("no dockerd: scripts/test installs it")
    # Sockets have short names, and pytest's folders long ones.
    short = Path(tempfile.mkdtemp(prefix="mllock-t-"))
    host = f"unix://{short}/docker.sock"
    # In namespaces of its own: an engine without a bridge removes the bridge of the others, and
    # one that is killed leaves mounts and containers behind.
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["dockerd", "--bridge=none", "--iptables=false", "--host", host]
    command += ["--data-root", str(place / "data"), "--exec-root", str(short / "exec")]
    command += ["--pidfile", str(short / "pid")]
    with (
        open(place / "log", "wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while not _answers(host):
                assert process.poll() is None, (place / "log").read_text()
                assert time.monotonic() < deadline, (place / "log").read_text()
                time.sleep(0.1)
            yield host, process
        finally:
            process.terminate()
            process.wait(60)
            _unmount(place)
            _unmount(short)
            shutil.rmtree(short, ignore_errors=True)


def _unmount(place: Path) -> None:
    """What an engine that was killed leaves mounted, the innermost first."""
    listed = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    targets = [f"/{mount.target}" for mount in listed if mount.target]
    for target in sorted(targets, reverse=True):
        if Path(target).is_relative_to(place):
            subprocess.run(["umount", target], check=True)


def _answers(host: str) -> bool:
    done = subprocess.run(["docker", "--host", host, "info"], capture_output=True, check=False)
    return done.returncode == 0
