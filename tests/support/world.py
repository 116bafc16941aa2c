"""A small world to check: project, lock, two runs, both images; made once, copied for each test.

Everything is made by the real rooms: wheels, layers, records, signatures, layout. Only two things
are made by hand: the Debian base (its layer is put into the cache under its key) and the model,
which no program wrote. `copy` gives a test a world of its own to break.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from mllock.attest.keys import SigningKey, load_or_create_key
from mllock.check.types import Finding, Report
from mllock.core.digest import sha256_of
from mllock.data.scan import scan
from mllock.image.base_resolve import ImageBaseResolver
from mllock.image.layers import cached_layer
from mllock.image.tree import Node
from mllock.image.types import BUILDER_FORMAT
from mllock.lock.format import dump_lock, seal
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.ports import SystemRequest, Upgrade
from mllock.lock.types import LayerGroup, Layers, Lock
from mllock.spec.reader import load_spec
from mllock.train.plan import params_bytes
from mllock.train.record import make_record
from mllock.train.runs import publish_run
from mllock.train.sign import sign_run
from mllock.train.types import Outcome
from mllock.workflows.build import build_images
from mllock.workflows.check import check_target
from mllock.workflows.context import Context, make_context
from mllock.workflows.environment import environment_of
from support.base_image import BaseImage
from support.nodes import file, folder, symlink
from support.reporter import Recorder
from support.training import lock_of, make_project, plan_of, put_wheels

RUN = "20261123-081501-k3f9"
OTHER = "20261122-081501-a000"

SPEC = """\
[project]
name = "tiny"
version = "1.2.3"

[environment]
python = "3.11"
dependencies = ["tiny-lib"]
variables = { OMP_NUM_THREADS = "1" }

[data.train]
source = "data/train.csv"

[train]
command = ["python", "train.py", "--alpha", "{params.alpha}"]
code = ["*.py"]
model = "out/model"
params = { alpha = 0.5 }

[serve]
command = ["python", "serve.py"]
code = ["serve.py", "lib/**"]
port = 8080
"""

MODEL = {"weights.bin": b"\x00\x01" * 100, "sub/features.json": b'["a"]\n', "run.sh": b"#!\n"}

LIBC = b"not really libc\n"
BASE = (
    symlink("lib", "usr/lib"),
    folder("usr"),
    folder("usr/bin"),
    folder("usr/lib"),
    file("usr/bin/python3.11", b"not really python\n", 0o755),
    file("usr/lib/libc.so.6", LIBC),
    folder("opt"),
    folder("var"),
    folder("var/lib"),
    folder("var/lib/dpkg"),
    folder("var/lib/dpkg/status.d"),
    file("var/lib/dpkg/status.d/libc6", b"Package: libc6\n"),
    file(
        "var/lib/dpkg/status.d/libc6.md5sums",
        hashlib.md5(LIBC).hexdigest().encode() + b"  usr/lib/libc.so.6\n",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """`root` holds `project`, `config` and `cache`."""

    root: Path

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def oci(self) -> Path:
        return self.project / ".mllock" / "oci"

    @property
    def run(self) -> Path:
        return self.project / ".mllock" / "runs" / RUN

    @property
    def other(self) -> Path:
        return self.project / ".mllock" / "runs" / OTHER

    def context(self, folder: str = "project", environ: Mapping[str, str] | None = None) -> Context:
        own = {
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "MLLOCK_CACHE": str(self.root / "cache"),
            "HOME": str(self.root),
            "MLLOCK_ENGINE": "none",
        }
        return make_context(self.root / folder, Recorder(), {**own, **(environ or {})})

    @property
    def key(self) -> SigningKey:
        ctx = self.context()
        return load_or_create_key(ctx.config_dir, ctx.environ)

    def deployed(self) -> Path:
        """A copy of the run's model outside of the project."""
        place = self.root / "deployed"
        shutil.copytree(self.run / "model", place, dirs_exist_ok=True)
        return place

    def check(
        self,
        target: str,
        *,
        folder: str = "project",
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Report:
        ctx = self.context(folder, environ)
        return check_target(ctx, target, base=self.root / folder, **options)

    def copy(self, place: Path) -> World:
        """A world of one's own, without the cache."""
        place.mkdir()
        for name in ("project", "config"):
            shutil.copytree(self.root / name, place / name, symlinks=True)
        return World(root=place)


def make_world(
    root: Path,
    *,
    spec: str = SPEC,
    base: Sequence[Node] = BASE,
    runtime: str = "host",
    image: BaseImage | None = None,
    python: tuple[str, str] = ("3.11.2", "/usr/bin/python3.11"),
) -> World:
    """`image` is a base to stand on instead of `base`: a layout in the project, locked for real.
    `python` is the version of the interpreter in `base`, and where it is."""
    world = World(root=root)
    if image is not None:
        image.to_layout(world.project / "base")
        spec = spec.replace("[environment]\n", '[environment]\nbase = "oci:base"\n')
    make_project(
        world.project,
        spec=spec,
        files={"serve.py": "print('serving')\n", "lib/helper.py": "HELP = 1\n"},
    )
    ctx = world.context()
    lock = _lock(ctx, *python)
    if image is None:
        seed_base(ctx, lock, base)
    else:
        lock = above_image(ctx, lock)
    (world.project / "mlproject.lock").write_bytes(dump_lock(lock))
    for run_id, model in (
        (OTHER, MODEL | {"weights.bin": b"\x07\x01" * 100}),
        (RUN, MODEL),
    ):
        make_run(ctx, lock, run_id, model, runtime=runtime)
    build_images(ctx)
    return world


def _lock(ctx: Context, version: str, interpreter: str) -> Lock:
    packages = put_wheels(
        ctx.cache,
        {
            ("tiny-lib", "1.0"): {"tiny_lib/__init__.py": b"VERSION = '1.0'\n"},
            ("other", "2.0"): {"other.py": b"OTHER = True\n", "other_data/x.txt": b"x" * 50},
        },
    )
    groups = tuple(LayerGroup(packages=(package.name,)) for package in packages)
    lock = lock_of(ctx.project, packages)
    base = msgspec.structs.replace(lock.base, python=version, interpreter=interpreter)
    layers = Layers(builder_format=BUILDER_FORMAT, python=groups)
    return seal(msgspec.structs.replace(lock, base=base, layers=layers))


def above_image(ctx: Context, lock: Lock, python: str = "3.11") -> Lock:
    """`lock` on the image in the layout `base` of the project."""
    resolver = ImageBaseResolver(ctx.project, ctx.cache, ctx.fetcher, ctx.environ, ctx.reporter)
    found = resolver.resolve(
        SystemRequest(
            base="oci:base",
            python=python,
            packages=(),
            platform="linux/amd64",
            mirror=None,
            pins={},
            upgrade=Upgrade(),
        )
    )
    return seal(msgspec.structs.replace(lock, base=found.base, system=found.packages))


def seed_base(ctx: Context, lock: Lock, base: Sequence[Node]) -> None:
    key = {
        "suite": lock.base.suite,
        "debs": [f"sha256:{deb.sha256}" for deb in lock.system if deb.layer == "base"],
    }
    cached_layer(ctx.cache, "base", f"debian:{lock.base.suite}", key, lambda: base)


def make_run(
    ctx: Context,
    lock: Lock,
    run_id: str,
    model: Mapping[str, bytes],
    *,
    key: SigningKey | None = None,
    runtime: str = "host",
    single: bool = False,
    links: Mapping[str, str] | None = None,
    folders: tuple[str, ...] = (),
    extra: Mapping[str, bytes] | None = None,
    platform: str | None = None,
) -> None:
    """A run as `mllock train` would leave it, of a model that is given: files, links by target,
    empty folders. `extra` are more by-products."""
    loaded = load_spec(ctx.project / "mlproject.toml")
    part = narrowed(lock, platform or platforms_of(lock)[0])
    built = environment_of(ctx, loaded, part)
    plan = replace(
        plan_of(ctx.project, lock, run_id=run_id),
        lock=part,
        environment=built.digest,
        environment_document=built.document,
        runtime=runtime,
    )
    staged = ctx.state / "tmp" / run_id
    (staged / "model").mkdir(parents=True)
    for name, data in model.items():
        path = staged / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    for name, target in (links or {}).items():
        (staged / "model" / name).symlink_to(target)
    for name in folders:
        (staged / "model" / name).mkdir(parents=True)
    files = {
        "params.json": params_bytes(plan.params),
        "code.manifest": plan.code.manifest.text(),
        "log.txt": b"trained\n",
        **(extra or {}),
    }
    for name, data in {**files, "mlproject.lock": plan.lock_bytes}.items():
        (staged / name).write_bytes(data)
    root = staged / "model" / next(iter(model)) if single else staged / "model"
    manifest = scan(root, name="model")
    outcome = Outcome(
        exit_code=0,
        started="2026-11-23T08:15:01Z",
        finished="2026-11-23T08:15:09Z",
        facts={},
        wheels_verified=len(part.python.packages),
    )
    byproducts = {name: sha256_of(data) for name, data in files.items()}
    payload = make_record(plan, outcome, manifest, byproducts)
    signer = key or load_or_create_key(ctx.config_dir, ctx.environ)
    sign_run(payload, manifest, "model", signer, staged)
    publish_run(staged, ctx.runs, run_id)


def verdicts(report: Report) -> dict[str, str]:
    return {finding.claim: finding.verdict for finding in report.findings}


def finding(report: Report, claim: str) -> Finding:
    return next(f for f in report.findings if f.claim == claim)


def paths(report: Report, claim: str) -> list[str]:
    return [difference.path for difference in finding(report, claim).differences]
