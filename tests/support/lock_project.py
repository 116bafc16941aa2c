"""A project to lock, with resolvers that answer without a network and count what they are asked."""

from __future__ import annotations

from pathlib import Path

from mllock.core.platform import KNOWN, host_platform
from mllock.lock.ports import PythonRequest, SystemRequest, SystemResolution
from mllock.lock.types import Lock
from mllock.spec.reader import load_spec
from mllock.store.cache import Cache
from mllock.workflows.context import Context
from mllock.workflows.lock import LockResult, Resolvers, current_lock, lock_project
from support.locks import BASE, deb, package
from support.reporter import Recorder

SPEC = f"""\
[project]
name = "wine"

[environment]
python = "3.11"
platforms = ["{host_platform()}"]
dependencies = ["alpha>=1", "beta"]
system-packages = ["libgomp1"]

[data.train]
source = "train.csv"
"""


class FakePython:
    """Answers with one wheel for each requirement, at the version of the pin or the newest."""

    name = "pip-tools"

    def __init__(self) -> None:
        self.requests: list[PythonRequest] = []
        self.newest = "1.0"
        self.tag = "py3-none-any"
        # By platform and name: another tag, a version that is the newest there, or none at all.
        self.tags: dict[tuple[str, str], str] = {}
        self.only: dict[tuple[str, str], str | None] = {}
        self.fails: Exception | None = None

    def version(self) -> str:
        return "7.0"

    def resolve(self, request: PythonRequest):
        self.requests.append(request)
        if self.fails:
            raise self.fails
        free = request.upgrade.names
        pins = {} if request.upgrade.all else dict(request.pins)
        names = [text.split(">")[0] for text in request.requirements]
        found = []
        for name in names:
            place = (request.platform, name)
            version = self.newest if name in free else pins.get(name, self.newest)
            version = self.only.get(place, version)
            if version is not None:
                found.append(package(name, version, tag=self.tags.get(place, self.tag)))
        return tuple(found)


class FakeSystem:
    def __init__(self) -> None:
        self.requests: list[SystemRequest] = []
        self.base = BASE
        self.libc = "2.36-9+deb12u14"
        self.more: dict[str, tuple[str, ...]] = {}

    def resolve(self, request: SystemRequest) -> SystemResolution:
        self.requests.append(request)
        machine = KNOWN[request.platform].debian
        debs = [
            deb("base-files", architecture="all"),
            deb("libc6", self.libc, architecture=machine),
            *(deb(name, layer="system", architecture=machine) for name in request.packages),
        ]
        debs += [deb(name, architecture="all") for name in self.more.get(request.platform, ())]
        return SystemResolution(base=self.base, packages=tuple(debs))


class NoNetwork:
    def read(self, url: str, *, max_bytes: int) -> bytes:
        raise AssertionError(url)

    def fetch(self, wants) -> None:
        raise AssertionError(wants)


class LockProject:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        (self.folder / "train.csv").write_text("a,b\n1,2\n")
        self.write(SPEC)
        self.python = FakePython()
        self.system = FakeSystem()
        self.reporter = Recorder()
        self.ctx = Context(
            project=self.folder,
            environ={},
            reporter=self.reporter,
            cache=Cache(folder / "cache", self.reporter),
            fetcher=NoNetwork(),
        )

    @property
    def path(self) -> Path:
        return self.folder / "mlproject.lock"

    def write(self, spec: str) -> None:
        (self.folder / "mlproject.toml").write_text(spec)

    def change(self, old: str, new: str) -> None:
        text = (self.folder / "mlproject.toml").read_text()
        assert old in text
        self.write(text.replace(old, new))

    def lock(self, **options) -> LockResult:
        resolvers = Resolvers(python=self.python, system=self.system)
        return lock_project(self.ctx, resolvers=resolvers, **options)

    def changes(self, **options) -> list[str]:
        return [str(change) for change in self.lock(**options).changes]

    def asked(self) -> tuple[int, int]:
        return len(self.python.requests), len(self.system.requests)

    def current(self) -> tuple[Lock, bytes]:
        return current_lock(self.ctx, load_spec(self.folder / "mlproject.toml"))
