"""The size of an image against the one that `docker build` with pip makes of the same environment.

    python benchmarks/size.py --project DIR [--json FILE]     # a project that is locked and built

As root, in an engine of our own (see peers.py). The peer has the same base (our base and system
layers), the same wheels and the same code; pip installs once as it does by default, with bytecode,
and once with --no-compile. Compared are the layers as a registry has them: the peer's are
compressed as `docker push` does it, gzip at level 6, which is what counts for whoever pulls. The
target: not larger than 1.05 of the peer of the same kind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from common import Silent, print_table, write_json
from peers import engine

from mllock.engine.docker import connect
from mllock.image.config import assemble
from mllock.image.environment import image_variables
from mllock.image.types import Image, ImageConfig, ImagePlan
from mllock.lock.format import read_lock
from mllock.workflows.build import BuildResult, build_images
from mllock.workflows.context import Context, make_context
from mllock.workflows.environment import locked_wheels
from mllock.workflows.load import load_image

TARGET = 1.05
BASE = "bench-size-base:1"
PIP = """FROM {base}
USER 0
RUN --mount=type=bind,source=wheels,target=/wheels --mount=type=bind,source=pip,target=/pip \\
    python3.11 -m venv --without-pip /opt/venv && /opt/venv/bin/python /pip/pip.whl/pip install \\
    --no-index --no-deps {compile} --no-cache-dir --quiet /wheels/*.whl
COPY app/ /app/
"""
# What `docker push` does: gzip at Go's default level.
LEVEL = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ctx = make_context(options.project.resolve(), Silent(), os.environ)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        built = build_images(ctx, ("train",), work / "oci")
        ours = built.images[0].image
        with engine(work / "engine", pigz=False) as host:
            sizes = {"mllock": _ours(ours)} | {
                f"pip, {how}": _peer(ctx, built, work, host, words)
                for how, words in (("--no-compile", "--no-compile"), ("with bytecode", "--compile"))
            }
    bytecode = any(layer.kind == "bytecode" for layer in ours.layers)
    peer = sizes["pip, with bytecode" if bytecode else "pip, --no-compile"]
    rows = [
        {
            "image": way,
            "compressed MB": size[0] / 1e6,
            "unpacked MB": size[1] / 1e6,
            "compressed / mllock": size[0] / sizes["mllock"][0],
        }
        for way, size in sizes.items()
    ]
    print_table(rows)
    ratio = sizes["mllock"][0] / peer[0]
    print(f"\nmllock / peer of the same kind: {ratio:.3f}, target at most {TARGET}")
    if options.json:
        write_json(options.json, {"sizes": sizes, "ratio": ratio, "target": TARGET})
    sys.exit(0 if ratio <= TARGET else 1)


def _ours(image: Image) -> tuple[int, int]:
    return sum(x.size for x in image.layers), sum(x.unpacked for x in image.layers)


def _peer(
    ctx: Context, built: BuildResult, work: Path, host: str, compiling: str
) -> tuple[int, int]:
    """The base layers as they are, plus the peer's own layers as `docker push` has them."""
    lock = read_lock(ctx.project / "mlproject.lock")
    below = tuple(x for x in built.environment.layers if x.kind in ("base", "system"))
    plan = ImagePlan(
        kind="train",
        platform=built.images[0].image.platform,
        layers=below,
        config=ImageConfig(command=("python",), variables=image_variables({})),
    )
    docker = connect({"DOCKER_HOST": host})
    load_image(ctx, docker, assemble(plan), (BASE,))
    docker.close()
    context = work / compiling
    for name, path in locked_wheels(ctx, lock)(lock.python.packages).items():
        _copy(path, context / "wheels" / name)
    _copy(_pip(work), context / "pip" / "pip.whl")
    shutil.copytree(ctx.project, context / "app", ignore=shutil.ignore_patterns(".mllock", "data"))
    (context / "Dockerfile").write_text(PIP.format(base=BASE, compile=compiling))
    environ = {**os.environ, "DOCKER_HOST": host, "DOCKER_BUILDKIT": "1"}
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    tag = f"bench-size:{compiling.strip('-')}"
    command = [client, "build", "--quiet", "--network=none", "--tag", tag, str(context)]
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    archive = work / f"{compiling}.tar"
    subprocess.run([client, "save", "--output", str(archive), tag], env=environ, check=True)
    packed, unpacked = sum(x.size for x in below), sum(x.unpacked for x in below)
    for size, plain in _layers(archive, len(below)):
        packed, unpacked = packed + size, unpacked + plain
    return packed, unpacked


def _layers(archive: Path, skip: int) -> Iterator[tuple[int, int]]:
    """Compressed and plain size of the layers of a docker-archive above the first `skip`."""
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"][skip:]:
            member = tar.extractfile(name)
            assert member is not None
            packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
            plain = packed = 0
            while chunk := member.read(1 << 20):
                plain += len(chunk)
                packed += len(packer.compress(chunk))
            yield packed + len(packer.flush()), plain


def _pip(work: Path) -> Path:
    found = list(work.glob("pip-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "pip"]
        subprocess.run([*command, "--dest", str(work)], check=True)
        found = list(work.glob("pip-*.whl"))
    return found[0]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    main()
