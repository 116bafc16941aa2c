"""A bench for resolving: a package index on loopback, a cache, and the resolver between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mllock.core.platform import host_platform
from mllock.errors import MllockError
from mllock.lock.indexes import PackageIndex
from mllock.lock.locked import fetch_wheels
from mllock.lock.ports import PythonRequest, Upgrade
from mllock.lock.python import resolver_of
from mllock.lock.target import Target
from mllock.lock.types import PythonPackage
from mllock.store.cache import Cache
from mllock.store.own import own_folder
from support.reporter import Recorder
from support.wheels import (
    SimpleIndex,
    pip_environ,
    simple_index,
)

TARGET = Target(python="3.11.2", platform=host_platform(), glibc=(2, 36))


def asking(*requirements: str, **changes) -> PythonRequest:
    fields = {
        "requirements": requirements,
        "constraints": (),
        "python": TARGET.python,
        "platform": TARGET.platform,
        "glibc": TARGET.glibc,
        "pins": {},
        "upgrade": Upgrade(),
    }
    return PythonRequest(**fields | changes)


class Bench:
    """An index, a cache, and a resolver between them."""

    def __init__(self, folder: Path, index: SimpleIndex, resolver: str = "pip-tools") -> None:
        self.resolver = resolver
        self.index = index
        self.reporter = Recorder()
        self.cache = Cache(folder / "cache", self.reporter)
        self.environ = pip_environ(folder / "home", index=index)

    def resolve(self, *requirements: str, **changes) -> tuple[PythonPackage, ...]:
        resolver = resolver_of(
            self.resolver,
            self.cache,
            own_folder(self.cache.root / "uv"),
            self.reporter,
            self.environ,
        )
        return resolver.resolve(asking(*requirements, **changes))

    def versions(self, *requirements: str, **changes) -> dict[str, str]:
        return {item.name: item.version for item in self.resolve(*requirements, **changes)}

    def refusal(self, kind: type[MllockError], *requirements: str, **changes) -> str:
        with pytest.raises(kind) as caught:
            self.resolve(*requirements, **changes)
        return str(caught.value)

    def fetch(
        self, packages: tuple[PythonPackage, ...], indexes: Sequence[PackageIndex] = ()
    ) -> dict[str, Path]:
        return fetch_wheels(
            packages,
            self.cache,
            target=TARGET,
            environ=self.environ,
            reporter=self.reporter,
            indexes=indexes,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with simple_index() as index:
        yield Bench(tmp_path, index)


@pytest.fixture(params=["pip-tools", "uv"])
def each_bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """What must hold for either resolver."""
    with simple_index() as index:
        yield Bench(tmp_path, index, request.param)


@pytest.fixture
def uv_bench(tmp_path: Path) -> Iterator[Bench]:
    with simple_index() as index:
        yield Bench(tmp_path, index, "uv")
