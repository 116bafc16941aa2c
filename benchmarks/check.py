"""`mllock check` against the commands that read the same bytes and prove less.

    python benchmarks/check.py --project DIR [--runs 3] [--json FILE] [--model-gb 2]

DIR is a project that has been locked (for instance by `mllock demo DIR`). A copy of it is trained
on the host with a model of 180 MB; its serving image is checked as a running container (of about
500 MB) against `docker export | sha256sum`, and in a registry against `skopeo copy` to a layout.
Then a model of 2 GB is checked as a folder against `model_signing verify`. Peak memory is of the
largest single process. As root, with dockerd, docker-registry, skopeo and model_signing on PATH.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import print_table, write_json
from peers import engine

MLLOCK = Path(sys.executable).with_name("mllock")
TARGET_CONTAINER, TARGET_MEMORY_MB = 1.3, 250

TRAIN = """import json, pathlib, random
random.seed(1)
model = pathlib.Path("model")
model.mkdir(exist_ok=True)
with open(model / "weights.bin", "wb") as file:
    for _ in range({megabytes}):
        file.write(random.randbytes(1 << 20))
pathlib.Path("metrics.json").write_text(json.dumps({{"rows": 1}}))
"""


class Timed:
    """Wall-clock seconds and peak memory of a command, and how it ended."""

    def __init__(self, command: str, environ: dict[str, str], cwd: Path) -> None:
        began = time.perf_counter()
        process = subprocess.Popen(
            [
                "bash",
                "-o",
                "pipefail",
                "-c",
                command if set("|&") & set(command) else f"exec {command}",
            ],
            env=environ,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        self.output = process.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = self.code = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        self.seconds = time.perf_counter() - began
        self.megabytes = usage.ru_maxrss / 1024


def compare(
    what: str,
    ours: str,
    theirs: str,
    accepted: tuple[int, ...],
    environ: dict[str, str],
    cwd: Path,
    runs: int,
) -> dict[str, object]:
    """Both commands in turns; the first run of each is not counted."""
    found: dict[str, list[Timed]] = {ours: [], theirs: []}
    for turn in range(runs + 1):
        for command, times in found.items():
            timed = Timed(command, environ, cwd)
            if timed.code not in (accepted if command == ours else (0,)):
                raise SystemExit(f"{command}: exit code {timed.code}\n{timed.output}")
            if turn:
                times.append(timed)
    seconds = {c: statistics.median(t.seconds for t in times) for c, times in found.items()}
    return {
        "what": what,
        "mllock check": seconds[ours],
        "peer": seconds[theirs],
        "ratio": seconds[ours] / seconds[theirs],
        "peak MB": max(t.megabytes for t in found[ours]),
        "command of the peer": theirs.rsplit("&&", maxsplit=1)[-1].strip()[:60],
    }


def project_of(source: Path, place: Path, megabytes: int, environ: dict[str, str]) -> Path:
    shutil.copytree(source, place, ignore=shutil.ignore_patterns(".mllock"))
    (place / "train.py").write_text(TRAIN.format(megabytes=megabytes))
    # Nothing is asked of this model: its program only has to run.
    (place / "serve.py").write_text("import time\n\ntime.sleep(1 << 20)\n")
    spec = (place / "mlproject.toml").read_text().splitlines(keepends=True)
    kept = [line for line in spec if not line.startswith("probes =")]
    (place / "mlproject.toml").write_text("".join(kept))
    run(["train", "--runtime", "host"], place, environ)
    return place


def run(arguments: list[str], folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        [str(MLLOCK), *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"mllock {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """docker-registry on a free port of loopback; HOST:PORT."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n"
        f"http:\n  addr: 127.0.0.1:{port}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def images(
    project: Path, work: Path, environ: dict[str, str], runs: int
) -> list[dict[str, object]]:
    rows = []
    with engine(work / "engine", pigz=True) as host, registry(work / "registry") as place:
        environ = environ | {"DOCKER_HOST": host, "MLLOCK_ENGINE": ""}
        name = f"{place}/bench/wine:1"
        run(
            ["build", "serve", "--output", "docker", "--output", f"registry:{name}"],
            project,
            environ,
        )
        tag = next(
            line.partition(": ")[2]
            for line in run(["build", "serve", "--output", "docker"], project, environ).splitlines()
            if line.startswith("loaded into docker: ")
        )
        docker = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
        subprocess.run(
            [docker, "run", "--detach", "--name", "bench", "--network", "none", tag],
            env=environ,
            check=True,
            capture_output=True,
        )
        rows.append(
            compare(
                "running container",
                f"{MLLOCK} check container:bench",
                f"{docker} export bench | sha256sum",
                (0, 3),
                environ,
                project,
                runs,
            )
        )
        copy = work / "copy"
        rows.append(
            compare(
                "image in a registry",
                f"{MLLOCK} check registry:{name}",
                f"rm -rf {copy} && skopeo copy --src-tls-verify=false docker://{name} oci:{copy}:x",
                (0, 3),
                environ,
                project,
                runs,
            )
        )
        subprocess.run(
            [docker, "rm", "--force", "bench"], env=environ, check=True, capture_output=True
        )
    return rows


def folder(project: Path, work: Path, environ: dict[str, str], runs: int) -> dict[str, object]:
    found = max((project / ".mllock" / "runs").iterdir())
    public = work / "public.pem"
    public.write_text(run(["keys", "export"], project, environ))
    theirs = (
        f"model_signing verify key --signature {found}/model.sig "
        f"--public_key {public} {found}/model"
    )
    return compare(
        "model in a folder",
        f"{MLLOCK} check {found}/model",
        theirs,
        (0,),
        environ,
        project,
        runs,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model-gb", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        environ = {
            **os.environ,
            "XDG_CONFIG_HOME": str(work / "config"),
            "XDG_STATE_HOME": str(work / "state"),
            "NO_COLOR": "1",
            "MLLOCK_ENGINE": "none",
        }
        rows = images(
            project_of(options.project, work / "small", 180, environ), work, environ, options.runs
        )
        large = project_of(options.project, work / "large", int(options.model_gb * 1024), environ)
        rows.append(folder(large, work, environ, options.runs))
    print_table(rows)
    write_json(options.json, rows)
    container = rows[0]["ratio"]
    memory = max(float(str(row["peak MB"])) for row in rows)
    print(f"container {container:.2f} of export (target {TARGET_CONTAINER}), ", end="")
    print(f"peak memory {memory:.0f} MB (target {TARGET_MEMORY_MB})")
    assert isinstance(container, float)
    return 0 if container <= TARGET_CONTAINER and memory <= TARGET_MEMORY_MB else 1


if __name__ == "__main__":
    sys.exit(main())
