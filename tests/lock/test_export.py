"""`mllock export pylock|requirements`: what pip and uv make of the files, as they are typed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from packaging.utils import canonicalize_name
from support.lock_project import LockProject
from support.locks import package
from support.wheels import SimpleIndex, pip_environ, simple_index, wheel_name, write_wheel

from mllock.cli.main import run
from mllock.core.digest import hex_of, sha256_of
from mllock.core.platform import KNOWN, host_platform
from mllock.lock.export import pylock_of
from mllock.lock.ports import PythonRequest
from mllock.lock.types import PythonPackage, Wheel

HOST = host_platform()
OTHER = {"linux/amd64": "linux/arm64"}.get(HOST, "linux/amd64")
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
NICK = MINOR.replace(".", "")


def tag_of(platform: str) -> str:
    return f"cp{NICK}-cp{NICK}-manylinux_2_17_{KNOWN[platform].machine}"


class Wheels:
    """Answers with real wheels, which it puts into the index and the cache: gamma for this machine
    only, alpha and beta for all; alpha has a wheel for each platform."""

    name = "uv"

    def __init__(self, project: LockProject, index: SimpleIndex) -> None:
        self._project = project
        self._index = index

    def version(self) -> str:
        return "1"

    def resolve(self, request: PythonRequest) -> tuple[PythonPackage, ...]:
        found = [
            self._made("alpha", tag_of(request.platform), ["beta==1.0+cpu"]),
            self._made("beta", "py3-none-any", [], "1.0+cpu"),
        ]
        if request.platform == HOST:
            found.append(self._made("gamma", "py3-none-any", []))
        return tuple(found)

    def _made(
        self, name: str, tag: str, requires: Sequence[str], version: str = "1.0"
    ) -> PythonPackage:
        data = self._index.add(name, version, requires, tag)
        file = wheel_name(name, version, tag)
        self._project.ctx.cache.put_bytes(data)
        wheel = Wheel(
            name=file,
            path=f"wheels/{file}",
            size=len(data),
            hashes={"sha256": hex_of(sha256_of(data))},
        )
        return PythonPackage(name=name, version=version, wheels=(wheel,))


class Export:
    """A locked project in its folder, an index with its wheels, and the tools to install them."""

    def __init__(self, folder: Path, index: SimpleIndex) -> None:
        self.folder = folder
        self.index = index
        self.project = LockProject(folder)
        self.project.change("[environment]", '[environment]\nresolver = "uv"')
        self.project.change('python = "3.11"', f'python = "{MINOR}"')
        self.project.python = Wheels(self.project, index)
        self.environ = pip_environ(folder / "home", index=index)
        self.venv = folder / "venv"

    def both_platforms(self) -> None:
        self.project.change(f'platforms = ["{HOST}"]', f'platforms = ["{HOST}", "{OTHER}"]')

    def installed(self, *arguments: str, **variables: str) -> dict[str, str]:
        """What a new environment has after pip or uv did as it was told."""
        self.call("uv", "venv", "--clear", "--python", sys.executable, str(self.venv))
        python = str(self.venv / "bin/python")
        if arguments[0] == "pip":
            self.call("pip", "--python", python, *arguments[1:], **variables)
        else:
            self.call(*arguments, "--python", python, **variables)
        listed = self.call("uv", "pip", "freeze", "--python", python).stdout
        return dict(line.split("==") for line in listed.split())

    def call(self, tool: str, *arguments: str, **variables: str):
        environ = self.environ | {"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"} | variables
        if "PIP_INDEX_URL" in environ and "UV_DEFAULT_INDEX" not in environ:
            environ["UV_DEFAULT_INDEX"] = self.index.url
        done = subprocess.run(
            [sys.executable, "-m", tool, *arguments],
            cwd=self.folder / "out",
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Export]:
    (tmp_path / "out").mkdir()
    with simple_index() as index:
        made = Export(tmp_path, index)
        for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
            monkeypatch.delenv(name)
        for name, value in made.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLLOCK_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(made.project.folder)
        yield made


ALL = {"alpha": "1.0", "beta": "1.0+cpu", "gamma": "1.0"}
NO_INDEX = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}


@pytest.mark.parametrize("platforms", [1, 2])
def test_pylock_installs(export: Export, capsys, platforms: int) -> None:
    if platforms == 2:
        export.both_platforms()
    export.project.lock()
    place = export.folder / "out/pylock.toml"
    assert run(["export", "pylock", "--wheels", "-o", str(place)]) == 0
    assert capsys.readouterr() == ("", f"wrote {place}\n")
    document = tomllib.loads(place.read_text())
    assert document == tomllib.loads(export.project.path.read_text())["python"]
    pylock = Pylock.from_dict(document)
    assert len(pylock.environments or ()) == platforms
    chosen = {package.name: str(package.version) for package, _ in pylock.select()}
    assert chosen == {canonicalize_name(name): version for name, version in ALL.items()}
    export.index.requests.clear()
    assert export.installed("pip", "install", "-r", "pylock.toml", **NO_INDEX) == ALL
    assert export.installed("uv", "pip", "sync", "pylock.toml", **NO_INDEX) == ALL
    assert export.index.requests == []


def test_a_changed_wheel_is_not_installed(export: Export) -> None:
    export.project.lock()
    place = export.folder / "out/pylock.toml"
    assert run(["export", "pylock", "--wheels", "-o", str(place)]) == 0
    wheel = place.parent / "wheels/gamma-1.0-py3-none-any.whl"
    true = wheel.read_bytes()
    write_wheel(wheel.parent, "gamma", "1.0", ["beta"])
    for tool in (("pip", "install", "-r"), ("uv", "pip", "sync")):
        with pytest.raises(AssertionError, match=r"(?i)hash|has size 879, but"):
            export.installed(*tool, "pylock.toml", **NO_INDEX)
    # Exported again, what is there is looked at.
    assert run(["export", "pylock", "--wheels", "-o", str(place)]) == 0
    assert wheel.read_bytes() == true


@pytest.mark.parametrize("platforms", [1, 2])
def test_requirements_install(export: Export, capsysbinary, platforms: int) -> None:
    if platforms == 2:
        export.both_platforms()
    export.project.lock()
    assert run(["export", "requirements"]) == 0
    out, err = capsysbinary.readouterr()
    assert err == b""
    (export.folder / "out/requirements.txt").write_bytes(out)
    tools = (
        ("pip", "install", "--require-hashes", "-r"),
        ("uv", "pip", "sync", "--require-hashes"),
    )
    for tool in tools:
        assert export.installed(*tool, "requirements.txt") == ALL
    # From a folder as well: names and hashes are all that counts.
    links = export.folder / "links"
    links.mkdir()
    for files in export.index.files.values():
        for name, data in files.items():
            (links / name).write_bytes(data)
    export.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)}
    export.environ |= {"UV_FIND_LINKS": str(links)}
    pip, uv = tools
    tools = (pip, (*uv, "--no-index"))
    for tool in tools:
        assert export.installed(*tool, "requirements.txt") == ALL
    write_wheel(links, "gamma", "1.0", ["beta"])
    for tool in tools:
        with pytest.raises(AssertionError, match=r"(?i)hash"):
            # uv has the true bytes in its cache, by their hash.
            export.installed(*tool, "requirements.txt", UV_NO_CACHE="1")


def test_the_bytes(export: Export, capsys) -> None:
    export.both_platforms()
    export.project.lock()
    assert run(["export", "requirements", "--platform", OTHER]) == 0
    out = capsys.readouterr().out
    hashes = {
        name: hex_of(sha256_of(export.index.files[name.partition("-")[0]][name]))
        for name in (wheel_name("alpha", "1.0", tag_of(OTHER)), wheel_name("beta", "1.0+cpu"))
    }
    alpha, beta = hashes.values()
    assert out == (
        f"# The Python packages of a mlproject.lock, for Python {MINOR} on {OTHER}.\n"
        "# Made by: mllock export requirements. Install with\n"
        "#   pip install --require-hashes -r requirements.txt    or    "
        "uv pip sync --require-hashes requirements.txt\n"
        f"alpha==1.0 \\\n    --hash=sha256:{alpha}\n"
        f"beta==1.0+cpu \\\n    --hash=sha256:{beta}\n"
    )
    assert run(["export", "pylock"]) == 0
    whole = capsys.readouterr().out
    assert whole.encode() == pylock_of(export.project.current()[0])
    assert f"marker = \"platform_machine == '{KNOWN[HOST].machine}'\"" in whole
    for text in (out, whole):
        assert str(export.folder) not in text
        assert "127.0.0.1" not in text
    assert run(["export", "pylock", "--platform", OTHER]) == 0
    part = Pylock.from_dict(tomllib.loads(capsys.readouterr().out))
    assert [(p.name, len(p.wheels or ())) for p in part.packages] == [("alpha", 1), ("beta", 1)]


def test_refusals(export: Export, capsys) -> None:
    assert run(["export", "pylock"]) == 2
    assert capsys.readouterr().err == (
        'error: mlproject.lock: no lock here\nhint: make it: "mllock lock"\n'
    )
    export.project.lock()
    assert run(["export", "pylock", "--wheels"]) == 2
    assert capsys.readouterr().err == (
        "error: --wheels puts them beside the file\nhint: say where it is to be: -o FILE\n"
    )
    assert run(["export", "pylock", "-o", "locked.toml"]) == 2
    assert capsys.readouterr().err == (
        "error: locked.toml: installers take a file for a pylock by its name\n"
        "expected: pylock.toml, or pylock.NAME.toml\nhint: give it such a name\n"
    )
    assert run(["export", "requirements", "--platform", OTHER]) == 2
    assert capsys.readouterr().err == (
        f"error: mlproject.lock: the lock is not for {OTHER}\nfound: {HOST}\n"
        "hint: name it in [environment] platforms, then run: mllock lock\n"
    )
    before = Path("mlproject.lock").read_bytes()
    Path("link.txt").symlink_to("mlproject.lock")
    for name in ("mlproject.lock", "link.txt"):
        assert run(["export", "requirements", "-o", name]) == 2
        assert capsys.readouterr().err == (
            f"error: {name}: this is a project's own file, and is not written over\n"
            "hint: choose another name\n"
        )
    assert Path("mlproject.lock").read_bytes() == before
    export.project.change('"alpha>=1", "beta"', '"alpha>=1", "beta", "delta"')
    assert run(["export", "requirements"]) == 2
    assert "is stale" in capsys.readouterr().err


def test_nothing_locked(export: Export, capsys) -> None:
    export.project.python.resolve = lambda request: (package("alpha"),)[:0]  # type: ignore[method-assign]
    export.project.change('"alpha>=1", "beta"', "")
    export.project.lock()
    assert run(["export", "pylock"]) == 0
    assert not Pylock.from_dict(tomllib.loads(capsys.readouterr().out)).packages
    place = export.folder / "out/requirements.txt"
    assert run(["export", "requirements", "-o", str(place)]) == 0
    assert export.installed("pip", "install", "--require-hashes", "-r", str(place)) == {}
