"""A small valid lock, to take apart and put together again."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from mllock.core.canonical import digest_of
from mllock.lock.format import seal
from mllock.lock.types import (
    Base,
    DataPin,
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

PLACEHOLDER = "sha256:" + "0" * 64

ENVIRONMENT = {
    "python": "3.11",
    "base": "debian:bookworm",
    "dependencies": ["alpha>=1", "beta"],
    "constraints": [],
    "system-packages": ["libgomp1"],
    "platforms": ["linux/amd64"],
    "resolver": "pip-tools",
    "bytecode": False,
    "overlaps": [],
    "variables": {"OMP_NUM_THREADS": "1"},
    "indexes": [],
}
DATA = {
    "train": {
        "source": "data/train.csv",
        "path": "data/train.csv",
        "include": ["**/*"],
        "exclude": [],
    }
}
BUILDER = {"kind": "native", "layers": 60}


def inputs(
    environment: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    builder: dict[str, Any] | None = None,
) -> Inputs:
    tables = {
        "environment": ENVIRONMENT if environment is None else environment,
        "data": DATA if data is None else data,
        "builder": BUILDER if builder is None else builder,
    }
    return Inputs(digest=digest_of(tables), **tables)


def package(
    name: str, version: str = "1.0", size: int = 1000, tag: str = "py3-none-any"
) -> PythonPackage:
    file = f"{name.replace('-', '_')}-{version}-{tag}.whl"
    digest = digest_of([file]).removeprefix("sha256:")
    wheel = Wheel(name=file, path=f"wheels/{file}", size=size, hashes={"sha256": digest})
    return PythonPackage(name=name, version=version, wheels=(wheel,))


def deb(
    name: str, version: str = "1.0-1", layer: Any = "base", architecture: str = "amd64"
) -> DebianPackage:
    facts = [name, version] if architecture == "amd64" else [name, version, architecture]
    return DebianPackage(
        name=name,
        version=version,
        architecture=architecture,
        filename=f"pool/main/{name[0]}/{name}/{name}_{version}_{architecture}.deb",
        size=2000,
        sha256=digest_of(facts).removeprefix("sha256:"),
        layer=layer,
    )


BASE = Base(
    kind="debian",
    suite="bookworm",
    python="3.11.2",
    interpreter="/usr/bin/python3.11",
    indexes=(
        ReleaseIndex(
            suite="bookworm",
            inrelease="sha256:" + "1" * 64,
            date="Sat, 07 Nov 2026 09:41:08 UTC",
            signed_by=("A" * 40,),
        ),
    ),
)
PIN = DataPin(
    source="data/train.csv",
    path="data/train.csv",
    kind="file",
    files=1,
    size=12,
    tree="sha256:" + "2" * 64,
)


def make_lock(**changes: Any) -> Lock:
    """A sealed lock. `changes` are fields of `Lock`; layers and pins follow `python` packages."""
    packages = changes.pop("packages", (package("alpha"), package("beta", "2.0")))
    lock = Lock(
        content_digest=PLACEHOLDER,
        tool=Tool(mllock="0.1.0", resolver="pip-tools", resolver_version="7.6.2"),
        inputs=inputs(),
        base=BASE,
        system=(deb("libc6", "2.36-9+deb12u14"), deb("libgomp1", "12.2.0-14", "system")),
        python=PythonPins(
            environments=("platform_machine == 'x86_64' and sys_platform == 'linux'",),
            requires_python="==3.11.*",
            packages=tuple(packages),
        ),
        data={"train": PIN},
        layers=Layers(
            builder_format=0,  # of the time when version 1 of the lock was fixed
            python=(LayerGroup(packages=tuple(sorted(item.name for item in packages))),)
            if packages
            else (),
        ),
    )
    return seal(replace(lock, **changes))
