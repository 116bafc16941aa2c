"""`mllock why`: the line of the spec, and what leads from there, out of real wheels and debs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.debian import make_deb
from support.lock_project import FakePython, FakeSystem, LockProject
from support.wheels import make_wheel, wheel_name

from mllock.cli.main import run
from mllock.core.digest import hex_of
from mllock.core.platform import host_platform
from mllock.lock.ports import PythonRequest, SystemRequest, SystemResolution
from mllock.lock.types import PythonPackage, Wheel
from mllock.store.cache import Cache
from mllock.workflows.lock import Resolvers, lock_project

WHEELS = {
    "app": ("2.0", ["lib[fast]>=1", "shared", "never; python_version < '3'"]),
    "lib": ("1.5", ['deep>=2; extra == "fast"', "shared<9"]),
    "deep": ("2.1", ["shared", "lib"]),
    "shared": ("8.0", []),
    "tool": ("1.0", ["Deep"]),
    "alone": ("1.0", []),
}
DEBS = {
    "libc6": {},
    "python3.11": {"Depends": "libpython, libc6 (>= 2.36)", "Provides": "python3-any (= 3.11)"},
    "libpython": {"Pre-Depends": "libc6", "Depends": "nowhere | libexpat1 (>= 2)"},
    "libexpat1": {"Depends": "libc6"},
    "libgomp1": {"Depends": "gcc-base (= 12), python3-any"},
    "gcc-base": {},
}


class Python(FakePython):
    """The wheels of the table, whatever is asked for; they are in the cache."""

    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self.cache = cache

    def resolve(self, request: PythonRequest):
        found = []
        for name, (version, requires) in sorted(WHEELS.items()):
            data = make_wheel(name, version, requires=requires)
            digest = hex_of(self.cache.put_bytes(data))
            file = wheel_name(name, version)
            wheel = Wheel(
                name=file, path=f"wheels/{file}", size=len(data), hashes={"sha256": digest}
            )
            found.append(PythonPackage(name=name, version=version, wheels=(wheel,)))
        return tuple(found)


class System(FakeSystem):
    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self.cache = cache

    def resolve(self, request: SystemRequest) -> SystemResolution:
        packages = []
        for name, fields in DEBS.items():
            data = make_deb(name, "2.40", fields=fields)
            digest = hex_of(self.cache.put_bytes(data))
            (some,) = super().resolve(replace_packages(request, name)).packages[1:]
            layer = "system" if name in ("libgomp1", "gcc-base") else "base"
            packages.append(
                replace(some, version="2.40", sha256=digest, size=len(data), layer=layer)
            )
        return SystemResolution(base=self.base, packages=tuple(packages))


def replace_packages(request: SystemRequest, name: str) -> SystemRequest:
    import dataclasses

    return dataclasses.replace(request, packages=(name,))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockProject:
    monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
    project = LockProject(tmp_path)
    project.change('"alpha>=1", "beta"', '"app", "Shared >= 8, <9"')
    project.change("system-packages", 'requirements = ["more.in"]\nsystem-packages')
    (project.folder / "more.in").write_text("# more\n-r tools.in\nalone\n")
    (project.folder / "tools.in").write_text("\ntool==1.0\n")
    cache = project.ctx.cache
    lock_project(project.ctx, resolvers=Resolvers(python=Python(cache), system=System(cache)))
    monkeypatch.chdir(project.folder)
    return project


def test_chains_begin_at_a_line_of_a_file(project: LockProject, capsys) -> None:
    for name, lines in {
        "Deep": (
            "deep 2.1",
            "  tools.in:2: tool==1.0 -> Deep",
            "  mlproject.toml:7: app -> lib[fast]>=1 -> deep>=2",
        ),
        "shared": (
            "shared 8.0",
            "  mlproject.toml:7: shared<9,>=8",
            "  mlproject.toml:7: app -> shared",
            "  tools.in:2: tool==1.0 -> Deep -> shared",
        ),
        "alone": ("alone 1.0", "  more.in:3: alone"),
    }.items():
        assert run(["why", name]) == 0
        assert capsys.readouterr() == ("".join(f"{line}\n" for line in lines), "")


def test_debian_packages(project: LockProject, capsys) -> None:
    for name, lines in {
        "libgomp1": ("libgomp1 2.40", "  mlproject.toml:9: libgomp1"),
        "gcc-base": ("gcc-base 2.40", "  mlproject.toml:9: libgomp1 -> gcc-base"),
        # By what it provides; and the base has it itself.
        "python3.11": (
            "python3.11 2.40",
            "  mlproject.toml:9: libgomp1 -> python3.11",
            "  mlproject.toml:4: debian:bookworm -> python3.11",
        ),
        "libexpat1:amd64": (
            "libexpat1 2.40",
            "  mlproject.toml:9: libgomp1 -> python3.11 -> libpython -> libexpat1",
            "  mlproject.toml:4: debian:bookworm -> python3.11 -> libpython -> libexpat1",
        ),
    }.items():
        assert run(["why", name.replace("amd64", debian_machine())]) == 0
        assert capsys.readouterr() == ("".join(f"{line}\n" for line in lines), "")


def debian_machine() -> str:
    return host_platform().removeprefix("linux/")


def test_as_data(project: LockProject, capsys) -> None:
    assert run(["why", "deep", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "kind": "python",
            "name": "deep",
            "version": "2.1",
            "chains": [
                {"file": "tools.in", "line": 2, "steps": ["tool==1.0", "Deep"]},
                {
                    "file": "mlproject.toml",
                    "line": 7,
                    "steps": ["app", "lib[fast]>=1", "deep>=2"],
                },
            ],
        }
    ]


def test_what_is_not_locked(project: LockProject, capsys) -> None:
    assert run(["why", "libgom1"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: mlproject.lock: nothing is locked under the name 'libgom1'\n"
        'hint: did you mean "libgomp1"?\n',
    )
    for typed in ("App[fast]", "app==2.0", "app:amd64", "app @ https://example.org/app.whl"):
        assert run(["why", typed]) == 2
        assert capsys.readouterr().err.endswith('hint: did you mean "app"?\n')
    assert run(["why", "zzz"]) == 2
    assert capsys.readouterr().err.endswith("hint: it lists what is\n")


def test_a_stale_lock_is_explained_as_it_is(project: LockProject, capsys) -> None:
    project.change('"app", ', "")
    assert run(["why", "lib"]) == 0
    assert capsys.readouterr() == (
        "lib 1.5\n  mlproject.lock: app -> lib[fast]>=1\n  tools.in:2: tool==1.0 -> Deep -> lib\n",
        "warning: mlproject.lock is stale: this is why it has what it has\n",
    )


def test_without_the_wheels_and_without_a_network(
    project: LockProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name, value in (("PIP_CONFIG_FILE", "/dev/null"), ("PIP_RETRIES", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    assert run(["why", "deep"]) == 4
    assert capsys.readouterr().err.splitlines()[1:] == [
        "error: the package index cannot be read: 127.0.0.1",
        "found: connection refused",
        "hint: check the network, the proxy and pip's settings (pip config debug)",
    ]
