"""Making a wheel of sources, as the spec declares: pinned tools, a clean environment, twice.

Order: what the sources say they are built with (PEP 518, and what their backend adds) is resolved
for this machine, or is what a lock pins; a virtual environment of exactly these wheels; the
backend builds in it, with nothing of the caller's environment but PATH, and with fixed time, hash
seed, locale and umask. What a build fetches by itself is not seen here: the wheel's hash is what
counts. Whoever builds again compares (`mllock.workflows.direct`). See ADR 0101.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mllock import processes
from mllock.core.platform import host_platform
from mllock.core.ports import Reporter
from mllock.errors import MllockError, ResolutionError
from mllock.lock.target import Target
from mllock.lock.types import PythonPackage

__all__ = ["Built", "Tools", "build_wheel", "host_target"]

# 1980-01-01T00:00:00Z: the first time that a zip can hold.
_EPOCH = "315532800"
_SHOWN = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """Where build requirements come from. `resolve` pins PEP 508 texts for this machine, `fetch`
    gives the files of what is pinned, by file name."""

    resolve: Callable[[tuple[str, ...]], tuple[PythonPackage, ...]]
    fetch: Callable[[Sequence[PythonPackage]], Mapping[str, Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """`same` says whether a second build gave the same bytes; None: there was none."""

    wheel: Path
    requires: tuple[PythonPackage, ...]
    same: bool | None


def host_target() -> Target:
    """What runs builds: the interpreter of mllock on this machine."""
    name = os.confstr("CS_GNU_LIBC_VERSION") or ""
    try:
        major, minor = (int(part) for part in name.removeprefix("glibc ").split(".")[:2])
    except ValueError:
        raise ResolutionError(
            "wheels are built on a Linux with glibc only",
            found=name or None,
            hint="build the wheel elsewhere, and put it into a folder that find-links names",
        ) from None
    version = ".".join(map(str, sys.version_info[:3]))
    return Target(python=version, platform=host_platform(), glibc=(major, minor))


def build_wheel(
    name: str,
    source: Path,
    folder: Path,
    tools: Tools,
    reporter: Reporter,
    *,
    pinned: tuple[PythonPackage, ...] | None = None,
    twice: bool = True,
) -> Built:
    """A wheel of the sources in `source`, made within `folder`.

    `pinned` are build requirements that are locked; None: they are found out. Raises
    ResolutionError, and what `tools` raise.
    """
    from build import BuildBackendException, BuildException, ProjectBuilder

    environment = _Environment(folder / "build-env", folder / "build-home", name, reporter)
    try:
        builder = ProjectBuilder(source, str(environment.python), environment.run)
        if pinned is None:
            requires = tools.resolve(tuple(sorted(builder.build_system_requires)))
            environment.make(requires, tools.fetch(requires))
            more = builder.get_requires_for_build("wheel")
            if more:
                asked = {*builder.build_system_requires, *more}
                requires = tools.resolve(tuple(sorted(asked)))
                environment.make(requires, tools.fetch(requires))
        else:
            requires = pinned
            environment.make(requires, tools.fetch(requires))
        wheel = Path(builder.build("wheel", folder / "built"))
        same = None
        if twice:
            again = Path(builder.build("wheel", folder / "built-again"))
            same = wheel.name == again.name and wheel.read_bytes() == again.read_bytes()
    except (BuildException, BuildBackendException) as error:
        said = str(error).splitlines()
        raise _failed(name, said[0] if said else "no reason given") from None
    if not zipfile.is_zipfile(wheel):
        raise _failed(name, f"{wheel.name} is no wheel")
    return Built(wheel=wheel, requires=requires, same=same)


def _failed(name: str, reason: str) -> MllockError:
    return ResolutionError(
        f"no wheel of {name} could be built",
        found=reason[:_SHOWN],
        hint='see all that it says with "mllock -v lock"; or put a wheel of it into a folder that '
        "find-links names",
    )


class _Environment:
    """A virtual environment of exactly the wheels that it is made of."""

    def __init__(self, root: Path, home: Path, name: str, reporter: Reporter) -> None:
        self._root = root
        self._home = home
        self._name = name
        self._reporter = reporter

    @property
    def python(self) -> Path:
        return self._root / "bin" / "python"

    def make(self, packages: Sequence[PythonPackage], wheels: Mapping[str, Path]) -> None:
        self._home.mkdir(exist_ok=True)
        made = ("venv", "--quiet", "--clear", "--python", sys.executable, str(self._root))
        self._uv(made, "no virtual environment")
        if not packages:
            return
        place = self._home / "wheels"
        place.mkdir(exist_ok=True)
        files = []
        for package in packages:
            for wheel in package.wheels:
                link = place / wheel.name
                link.unlink(missing_ok=True)
                link.symlink_to(wheels[wheel.name])
                files.append(str(link))
        options = ("--no-index", "--no-deps", "--link-mode", "copy", "--quiet")
        install = ("pip", "install", "--python", str(self.python), *options, *files)
        self._uv(install, "its tools cannot be installed")

    def run(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        """What `build` runs hooks with. Raises subprocess.CalledProcessError."""
        import subprocess

        shell = ("/bin/sh", "-c", 'umask 022; exec "$@"', "sh", *cmd)
        variables = self._variables() | dict(extra_environ or {})
        folder = None if cwd is None else Path(cwd)
        done = processes.run(shell, folder=folder, variables=variables, merged=True)
        text = done.output.decode("utf-8", "replace")
        for line in text.splitlines():
            self._reporter.detail(f"{self._name}: {line}")
        if done.code != 0:
            raise subprocess.CalledProcessError(done.code, list(cmd), done.output)

    def _uv(self, arguments: Sequence[str], problem: str) -> None:
        import uv

        own = {"UV_NO_CONFIG": "1", "UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never"}
        own["UV_CACHE_DIR"] = str(self._home / "uv")
        command = (str(uv.find_uv_bin()), *arguments)
        done = processes.run(command, variables=self._variables() | own, merged=True)
        if done.code != 0:
            words = done.output.decode("utf-8", "replace").strip().splitlines()
            raise _failed(self._name, f"{problem}: {words[-1] if words else done.code}")

    def _variables(self) -> dict[str, str]:
        home = str(self._home)
        return {
            "PATH": f"{self._root / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "TMPDIR": home,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            "SOURCE_DATE_EPOCH": _EPOCH,
        }
