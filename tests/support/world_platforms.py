"""A small world for two platforms: everything as in `support.world`, trained on one of them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mllock.core.digest import hex_of, sha256_of
from mllock.core.platform import KNOWN
from mllock.image.layers import cached_layer
from mllock.image.types import BUILDER_FORMAT
from mllock.lock.format import dump_lock, seal
from mllock.lock.platforms import merge_python, narrowed, targets_of
from mllock.lock.types import LayerGroup, Layers, Lock, PythonPackage, Wheel
from mllock.store.cache import Cache
from mllock.workflows.build import build_images
from mllock.workflows.context import Context
from support.locks import deb
from support.nodes import file
from support.training import lock_of, make_project
from support.wheels import make_wheel, wheel_name
from support.world import BASE, MODEL, RUN, SPEC, World, make_run

AMD, ARM = "linux/amd64", "linux/arm64"
BOTH = (AMD, ARM)


def make_two(root: Path, *, trained: str = AMD, runtime: str = "docker") -> World:
    """A world whose lock is for both platforms, its run trained on `trained`, both images built."""
    world = World(root=root)
    spec = SPEC.replace('python = "3.11"', f'python = "3.11"\nplatforms = ["{ARM}", "{AMD}"]')
    make_project(
        world.project,
        spec=spec.replace('python = "3.11"', 'python = "3.11"\nresolver = "uv"'),
        files={"serve.py": "print('serving')\n", "lib/helper.py": "HELP = 1\n"},
    )
    ctx = world.context()
    lock = _lock(ctx)
    (world.project / "mlproject.lock").write_bytes(dump_lock(lock))
    for platform in BOTH:
        part = narrowed(lock, platform)
        key = {"suite": part.base.suite, "debs": [f"sha256:{d.sha256}" for d in part.system]}
        own = file("usr/lib/machine", KNOWN[platform].machine.encode())
        cached_layer(ctx.cache, "base", "debian:bookworm", key, lambda own=own: (*BASE, own))
    make_run(ctx, lock, RUN, MODEL, runtime=runtime, platform=trained)
    build_images(ctx)
    return world


def _lock(ctx: Context) -> Lock:
    pure = _package(ctx.cache, "other", "py3-none-any", b"OTHER = True\n")
    parts = {
        platform: (
            pure,
            _package(
                ctx.cache,
                "tiny-lib",
                f"cp311-cp311-manylinux_2_28_{KNOWN[platform].machine}",
                platform.encode(),
            ),
        )
        for platform in BOTH
    }
    packages = merge_python(parts)
    libc = "2.36-9+deb12u14"
    lock = msgspec.structs.replace(
        lock_of(ctx.project, packages),
        system=tuple(deb("libc6", libc, architecture=KNOWN[p].debian) for p in BOTH),
        layers=Layers(
            builder_format=BUILDER_FORMAT,
            python=tuple(LayerGroup(packages=(item.name,)) for item in packages),
        ),
    )
    environments = tuple(target.environment for target in targets_of(lock))
    python = msgspec.structs.replace(lock.python, environments=environments)
    return seal(msgspec.structs.replace(lock, python=python))


def _package(cache: Cache, name: str, tag: str, content: bytes) -> PythonPackage:
    module = name.replace("-", "_")
    data = make_wheel(name, "1.0", {f"{module}/__init__.py": content}, tag=tag)
    file_name = wheel_name(name, "1.0", tag)
    assert cache.put_bytes(data) == sha256_of(data)
    wheel = Wheel(
        name=file_name,
        path=f"wheels/{file_name}",
        size=len(data),
        hashes={"sha256": hex_of(sha256_of(data))},
    )
    return PythonPackage(name=name, version="1.0", wheels=(wheel,))
