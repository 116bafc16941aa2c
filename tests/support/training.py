"""Small projects to train: a lock with tiny wheels, a plan, and a runtime on the host.

`project` writes mlproject.toml and files; `lock_of` is a valid lock for it without a resolver;
`plan_of` and `host` give what `mllock.train` asks for. Nothing here is faked that training looks
at: data is pinned, code selected, wheels are in a real cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, from_hex, hex_of, sha256_of
from mllock.data.code import select_code
from mllock.data.pin import Pinner, verify_source
from mllock.image.types import BUILDER_FORMAT
from mllock.lock.format import content_digest, dump_lock
from mllock.lock.types import (
    Base,
    DebianPackage,
    Inputs,
    LayerGroup,
    Layers,
    Lock,
    PythonPackage,
    PythonPins,
    ReleaseIndex,
    Tool,
    Wheel,
)
from mllock.spec.command import resolve
from mllock.spec.loaded import LoadedSpec
from mllock.spec.meaning import meaning
from mllock.spec.reader import load_spec
from mllock.spec.requirements import declared
from mllock.store.cache import Cache
from mllock.store.fetch import HttpFetcher
from mllock.train.host import HostRuntime
from mllock.train.plan import PARAMS_FILE, apply_overrides
from mllock.train.types import CodeIdentity, RunPlan
from mllock.workflows.context import Context
from support.reporter import Recorder
from support.wheels import make_wheel, pip_environ, wheel_name

__all__ = [
    "ENVIRONMENT",
    "PROGRAM",
    "SPEC",
    "Typed",
    "context",
    "host",
    "lock_of",
    "locked",
    "make_project",
    "no_layers",
    "plan_of",
    "put_wheels",
    "relock",
]

# `typed("show", "--json")`: exit code, standard output, standard error.
Typed = Callable[..., tuple[int, str, str]]

ENVIRONMENT: dict[str, Any] = {"v": 1, "os": "linux", "architecture": "amd64", "diff_ids": []}

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
model = "model"
metrics = "metrics.json"
params = { alpha = 0.5, seed = 42 }
"""

PROGRAM = """\
import json, os, pathlib
import tiny_lib
params = json.loads(pathlib.Path(os.environ["MLLOCK_PARAMS"]).read_text())
rows = pathlib.Path("data/train.csv").read_text().split()
out = pathlib.Path("model")
out.mkdir()
(out / "weights.txt").write_text(f"{len(rows)} {params['alpha']} {tiny_lib.VERSION}\\n")
pathlib.Path("metrics.json").write_text(json.dumps({"rows": len(rows), "score": 0.25}))
print("trained on", len(rows), "rows")
"""


def make_project(
    folder: Path, program: str = PROGRAM, spec: str = SPEC, files: Mapping[str, str] | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "mlproject.toml": spec,
        "train.py": program,
        "data/train.csv": "a\n1\n2\n",
        **(files or {}),
    }
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def put_wheels(
    cache: Cache, wheels: Mapping[tuple[str, str], dict[str, bytes] | None]
) -> tuple[PythonPackage, ...]:
    """Make wheels, put them into the cache, and answer what a lock would say about them."""
    packages = []
    for (name, version), files in sorted(wheels.items()):
        data = make_wheel(name, version, files)
        file_name = wheel_name(name, version)
        digest = cache.put_bytes(data)
        wheel = Wheel(
            name=file_name,
            path=f"wheels/{file_name}",
            size=len(data),
            hashes={"sha256": hex_of(digest)},
        )
        packages.append(PythonPackage(name=name, version=version, wheels=(wheel,)))
    return tuple(packages)


def lock_of(project: Path, packages: tuple[PythonPackage, ...]) -> Lock:
    loaded = load_spec(project / "mlproject.toml")
    means = meaning(loaded.spec, declared(project, loaded))
    pinner = Pinner(project, project / ".mllock")
    lock = Lock(
        content_digest=sha256_of(b""),
        tool=Tool(mllock="0.1.0", resolver="pip-tools", resolver_version="7.5"),
        inputs=Inputs(
            digest=means.digest,
            environment=means.environment,
            data=means.data,
            builder=means.builder,
        ),
        base=Base(
            kind="debian",
            suite="bookworm",
            python="3.11.2",
            interpreter="/usr/bin/python3.11",
            indexes=(
                ReleaseIndex(
                    suite="bookworm",
                    inrelease=sha256_of(b"InRelease"),
                    date="2026-11-01",
                    signed_by=("A" * 40,),
                ),
            ),
        ),
        system=(
            DebianPackage(
                name="libc6",
                version="1:2.36-9+deb12u9",
                architecture="amd64",
                filename="pool/main/g/glibc/libc6_2.36-9+deb12u9_amd64.deb",
                size=1,
                sha256=hex_of(sha256_of(b"libc6")),
                layer="base",
            ),
        ),
        python=PythonPins(
            environments=("sys_platform == 'linux'",),
            requires_python="==3.11.*",
            packages=packages,
        ),
        data={name: pinner.pin(name, source) for name, source in loaded.spec.data.items()},
        layers=Layers(
            builder_format=BUILDER_FORMAT,
            python=tuple(LayerGroup(packages=(package.name,)) for package in packages),
        ),
    )
    return _with_digest(lock)


def _with_digest(lock: Lock) -> Lock:
    import msgspec

    return msgspec.structs.replace(lock, content_digest=content_digest(lock))


def plan_of(
    project: Path, lock: Lock, overrides: tuple[str, ...] = (), run_id: str = "20261123-081501-k3f9"
) -> RunPlan:
    loaded: LoadedSpec = load_spec(project / "mlproject.toml")
    train = loaded.spec.train
    assert train is not None
    selected = select_code(project, loaded.spec, train.code)
    params = apply_overrides(train.params, overrides)
    return RunPlan(
        run_id=run_id,
        spec=loaded.spec,
        lock=lock,
        lock_bytes=dump_lock(lock),
        project=project,
        command=resolve(train.command, params, PARAMS_FILE),
        params=params,
        code=CodeIdentity(manifest=selected.manifest, commit=selected.commit, dirty=selected.dirty),
        data={
            name: verify_source(project, name, source, lock.data[name])
            for name, source in loaded.spec.data.items()
        },
        environment=canonical.digest_of(ENVIRONMENT),
        environment_document=ENVIRONMENT,
        runtime="host",
    )


def host(cache: Cache, output: list[bytes] | None = None, grace: float = 10.0) -> HostRuntime:
    def fetch(packages: Any) -> dict[str, Path]:
        found = {}
        for package in packages:
            for wheel in package.wheels:
                path = cache.get(from_hex(wheel.hashes["sha256"]))
                assert path is not None
                found[wheel.name] = path
        return found

    return HostRuntime(
        cache=cache,
        fetch=fetch,
        environ=os.environ,
        reporter=Recorder(),
        output=None if output is None else output.append,
        grace=grace,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    document: Mapping[str, Any]
    digest: Digest


def no_layers(ctx: Context, loaded: LoadedSpec, lock: Lock) -> Environment:
    """For `mllock.workflows.train.train(environment_of=...)`: an environment without layers."""
    return Environment(document=ENVIRONMENT, digest=canonical.digest_of(ENVIRONMENT))


def context(project: Path, environ: Mapping[str, str] | None = None) -> Context:
    """A context whose cache and configuration are beside the project, and so is what is remembered
    of releases: projects of other tests have the same name."""
    home = project.parent
    reporter = Recorder()
    cache = Cache(home / "cache", reporter)
    return Context(
        project=project,
        environ={
            **pip_environ(home),
            "XDG_STATE_HOME": str(home / "state"),
            "MLLOCK_ENGINE": "none",
            **(environ or {}),
        },
        reporter=reporter,
        cache=cache,
        fetcher=HttpFetcher(cache, reporter),
    )


def locked(folder: Path, **options: Any) -> Context:
    """A project in `folder`/project with a lock that is current, and its context."""
    project = make_project(folder / "project", **options)
    ctx = context(project)
    relock(ctx)
    return ctx


def relock(ctx: Context, files: dict[str, bytes] | None = None) -> None:
    """Lock the project again; `files` are what tiny-lib holds."""
    packages = put_wheels(ctx.cache, {("tiny-lib", "1.0"): files})
    (ctx.project / "mlproject.lock").write_bytes(dump_lock(lock_of(ctx.project, packages)))
