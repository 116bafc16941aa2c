"""A project whose Python packages are locked for real, and installed from the lock: pip, uv, an
index on loopback; only the Debian packages are made up."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

from mllock.errors import MllockError
from mllock.lock.types import Lock
from mllock.store.fetch import HttpFetcher
from mllock.train.python import find_python
from mllock.train.venv import locked_venv
from mllock.workflows.environment import locked_wheels
from mllock.workflows.lock import LockResult, Resolvers, check_lock, lock_project
from support.lock_project import LockProject
from support.wheels import SimpleIndex, pip_environ

_LIST = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}))
"""


class Locking(LockProject):
    """`environment` are the lines of [environment] beside python, platforms and resolver."""

    def __init__(
        self, folder: Path, index: SimpleIndex, environment: str, resolver: str = "pip-tools"
    ) -> None:
        super().__init__(folder)
        self.index = index
        self.change('dependencies = ["alpha>=1", "beta"]\n', "")
        self.change('system-packages = ["libgomp1"]\n', f'resolver = "{resolver}"\n{environment}\n')
        self.home = folder / "home"
        self.environ = pip_environ(self.home, index=index)

    def real(self, **options) -> LockResult:
        """Lock; then `lock --check` has nothing to say, and to lock again does nothing."""
        self.ctx = dataclasses.replace(
            self.ctx, environ=self.environ, fetcher=HttpFetcher(self.ctx.cache, self.reporter)
        )
        resolvers = Resolvers(system=self.system)
        result = lock_project(self.ctx, resolvers=resolvers, **options)
        assert check_lock(self.ctx) == ()
        assert not lock_project(self.ctx, resolvers=resolvers).written
        return result

    def refusal(self, kind: type[MllockError] = MllockError) -> str:
        try:
            self.real()
        except kind as error:
            return str(error)
        raise AssertionError("it was locked")

    def versions(self, **options) -> dict[str, str]:
        return {item.name: item.version for item in self.real(**options).lock.python.packages}

    def lose_wheels(self) -> None:
        """As on another machine: nothing in the cache, of pip and uv neither."""
        for path in (self.ctx.cache.root / "blobs").rglob("*"):
            if path.is_file():
                path.unlink()
        shutil.rmtree(self.ctx.cache.folder("venvs"))
        self.environ |= {"PIP_NO_CACHE_DIR": "1"}
        self.ctx = dataclasses.replace(self.ctx, environ=self.environ)

    def installed(self, lock: Lock) -> dict[str, str]:
        """What a Python has that runs with the packages of the lock, by their own names."""
        venv = locked_venv(
            self.ctx.cache.folder("venvs"),
            lock.python.packages,
            find_python("3.11", self.environ),
            locked_wheels(self.ctx, lock),
            self.reporter,
        )
        done = subprocess.run(
            [venv.bin / "python", "-c", _LIST], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)
