"""The axes of the rebuild matrix, and a real project to build along them.

An axis is what one machine can vary about a build: a command in front of it, variables, the folder,
the Python, the cache. `Axis.facts` is what the build itself must have seen (`axes/sitecustomize.py`
in its process says so): an axis that is not in effect fails, and so does one that says the same as
the reference. What the machine has no means for is a skip, with CI=true a failure.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from support.e2e import MLLOCK, must

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).with_name("axes")
LOCALES = Path("/usr/share/i18n/locales")

# Not of the machine or the user: a value for each that a case may change.
PLAIN = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "MLLOCK_ENGINE": "none"}
USER = 12345

SPEC = """\
[project]
name = "matrix"
version = "1.0.0"
description = "Ğ: the same everywhere"

[environment]
python = "3.11"
base = "debian:bookworm"
dependencies = ["rich", "pyyaml"]
system-packages = ["libgomp1"]
variables = { OMP_NUM_THREADS = "1", B = "\u0131", A = "i" }
bytecode = BYTECODE

[data.train]
source = "data/train.csv"

[train]
command = ["python", "train.py"]
code = ["*.py", "lib/**", "bin/**"]
model = "model"
params = { I = 1, i = 2.5, text = "İ\u0131" }

[serve]
command = ["python", "serve.py"]
code = ["serve.py", "lib/**"]
port = 8080
"""

TRAIN = """\
import pathlib
model = pathlib.Path("model")
for name in ("b", "a", "C", "i/I", "ığüşöç", "Z/z"):
    path = model / name / "weights.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(name.encode() * 10_000)
"""

FILES = {
    "mlproject.toml": SPEC,
    "data/train.csv": "a\n1\n",
    "train.py": TRAIN,
    "serve.py": "print('serving')\n",
    "lib/__init__.py": "",
    "lib/I.py": "I = 1\n",
    "lib/\u0131.py": "i = 1\n",
    "lib/ğ/zz.txt": "z" * 20_000,
    "lib/ğ/aa.txt": "a" * 20_000,
    "bin/run": "#!/bin/sh\n",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """`facts` must be seen by the build. `warm`: its cache has layers; `empty`: it has nothing."""

    facts: Mapping[str, Any]
    prefix: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    folder: str = "checkout"
    umask: int | None = None
    user: int | None = None
    program: Path = MLLOCK
    warm: bool = False
    empty: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """What a build left in the layout: index.json, which names everything else by digest."""

    layout: Path
    index: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def images(self) -> dict[str, str]:
        """Manifest digests by name."""
        return {
            entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
            for entry in self.index["manifests"]
            if "annotations" in entry
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A project that is locked and trained, built once: what every other build must equal."""

    root: Path
    built: Built
    environ: Mapping[str, str]

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def inputs(self) -> list[str]:
        """The sha256 of all that the lock names."""
        lock = tomllib.loads((self.project / "mlproject.lock").read_text())
        wheels = [w for package in lock["python"]["packages"] for w in package["wheels"]]
        return [d["sha256"] for d in lock["system"]] + [w["hashes"]["sha256"] for w in wheels]


def make_reference(root: Path, environ: Mapping[str, str], *, bytecode: bool) -> Reference:
    environ = {
        **environ,
        **PLAIN,
        "HOME": str(root / "home"),
        "MLLOCK_CACHE": str(root / "cache"),
        "XDG_CONFIG_HOME": str(root / "config"),
    }
    project = root / "project"
    for name, text in FILES.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("BYTECODE", "true" if bytecode else "false"))
    (project / "bin/run").chmod(0o755)
    must(root, "keys", "new", "--file", str(root / "key.pem"), environ=environ)
    environ["MLLOCK_KEY"] = (root / "key.pem").read_text()
    must(project, "lock", environ=environ)
    must(project, "train", environ=environ)
    # As it is typed: without the hook that tells facts, and with an empty folder of layers.
    shutil.rmtree(root / "cache" / "layers")
    must(project, "build", "--output", f"oci:{root / 'oci'}", environ=environ)
    facts = _facts_of(root, environ)
    return Reference(root=root, built=_built(root / "oci", facts), environ=environ)


@contextmanager
def rebuilt(reference: Reference, axis: Axis) -> Iterator[Built]:
    """Build a copy of the project in surroundings of `axis`, in a folder that all users reach."""
    with TemporaryDirectory(prefix="matrix-") as name:
        root = Path(name)
        root.chmod(0o755)
        project = root / axis.folder
        _copy(reference.project, project, axis)
        cache = reference.root / "cache" if axis.warm else root / "cache"
        if not axis.warm:
            cache.mkdir()
            _seed(cache, reference, axis)
        (root / "listed").mkdir()
        for entry in ("a", "b", "c", "d"):
            (root / "listed" / entry).touch()
        if axis.user is not None:
            _give(root, axis.user)
        environ = {
            **reference.environ,
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "MLLOCK_CACHE": str(cache),
            **_told(root),
            **axis.environ,
        }
        layout = project / "layout"
        command = [str(axis.program), "build", "--output", "oci:layout"]
        if axis.umask is not None:
            command = ["sh", "-c", f'umask {axis.umask:03o}; exec "$@"', "-", *command]
        done = subprocess.run(
            [*axis.prefix, *command],
            cwd=project,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        yield _built(layout, json.loads((root / "facts.json").read_text()))


def _told(root: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(HOOK),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AXES_FACTS": str(root / "facts.json"),
        "AXES_FOLDER": str(root / "listed"),
    }


def _facts_of(root: Path, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """What a program sees that is started as the reference was."""
    (root / "listed").mkdir()
    for entry in ("a", "b", "c", "d"):
        (root / "listed" / entry).touch()
    must(root / "project", "--version", environ={**environ, **_told(root)})
    return json.loads((root / "facts.json").read_text())


def _built(layout: Path, facts: Mapping[str, Any]) -> Built:
    return Built(layout=layout, index=json.loads((layout / "index.json").read_bytes()), facts=facts)


def _copy(source: Path, target: Path, axis: Axis) -> None:
    """File by file and from the last to the first, as another checkout might come to be."""
    mask = 0o022 if axis.umask is None else axis.umask
    files = sorted((path for path in source.rglob("*") if path.is_file()), reverse=True)
    for path in files:
        inside = path.relative_to(source)
        if inside.parts[:1] == (".mllock",) and inside.parts[1] != "runs":
            continue
        copy = target / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        copy.chmod((0o777 if path.stat().st_mode & 0o100 else 0o666) & ~mask)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        folder.chmod(0o777 & ~mask)


def _seed(cache: Path, reference: Reference, axis: Axis) -> None:
    """What the lock names, and nothing that was made of it."""
    if axis.empty:
        return
    blobs = reference.root / "cache" / "blobs" / "sha256"
    for name in reference.inputs:
        target = cache / "blobs" / "sha256" / name[:2] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(blobs / name[:2] / name, target)
        target.chmod(0o444)


def _give(root: Path, user: int) -> None:
    for path in (root, *root.rglob("*")):
        os.chown(path, user, user)


# ----- what the machine has -----


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this machine")


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else, or give the machine another name")


def as_user() -> tuple[tuple[str, ...], Path]:
    """A command in front of another, which is then run by an unprivileged user, and `mllock` for
    it: that of the tests, or of a Python that this user can reach."""
    needs_root()
    needs("setpriv")
    prefix = (
        *("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"),
        # setpriv itself keeps root's rights until it has found the program.
        *("sh", "-c", 'exec "$@"', "-"),
    )
    for program in (lambda: MLLOCK, lambda: mllock_of(Path("/usr/bin/python3"))):
        tried = [*prefix, str(program().with_name("python")), "-c", "import mllock"]
        if not subprocess.run(tried, capture_output=True, cwd="/", check=False).returncode:
            return prefix, program()
    pytest.skip("an unprivileged user reaches no Python of this machine")


@functools.cache
def _folder(name: str) -> TemporaryDirectory[str]:
    """One that all users reach, which those of pytest are not; it goes with this process."""
    folder = TemporaryDirectory(prefix=f"matrix-{name}-")
    Path(folder.name).chmod(0o755)
    return folder


def locale(name: str) -> dict[str, str]:
    """Variables of a locale, which is made if need be: in a folder of ours, not in the machine."""
    language, _, charset = name.partition(".")
    needs("localedef")
    if not (LOCALES / language).exists():
        pytest.skip("no sources of locales on this machine")
    folder = Path(_folder("locales").name)
    if not (folder / name).exists():
        subprocess.run(["localedef", "-i", language, "-f", charset, str(folder / name)], check=True)
    return {"LOCPATH": str(folder), "LC_ALL": name, "LANG": name}


@functools.cache
def without(tool: str) -> Mapping[str, str]:
    """A PATH on which there is everything that there was but `tool`."""
    needs(tool)
    folder = Path(_folder(f"without-{tool}").name)
    for place in reversed(os.environ["PATH"].split(":")):
        for path in Path(place).glob("*") if place else ():
            link = folder / path.name
            if path.name != tool:
                link.unlink(missing_ok=True)
                link.symlink_to(path)
    return {"PATH": str(folder)}


@functools.cache
def mllock_of(python: Path) -> Path:
    """`mllock` of a virtual environment of another Python, installed from the wheel of this
    checkout, with the versions of the development environment where it names one."""
    folder = Path(_folder("pythons").name)
    venv = folder / str(python).replace("/", "-")
    lock = (ROOT / "requirements-dev.lock").read_text()
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(re.findall(r"^[\w.-]+==[^\s;]+", lock, re.MULTILINE)))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    if not list(folder.glob("*.whl")):
        subprocess.run(
            [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)],
            check=True,
        )
    (wheel,) = folder.glob("*.whl")
    subprocess.run([str(python), "-m", "venv", "--without-pip", str(venv)], check=True)
    words = ["install", "--no-compile", "--constraint", str(constraints), str(wheel)]
    subprocess.run([*pip, "--python", str(venv / "bin" / "python"), *words], check=True)
    return venv / "bin" / "mllock"


def find_python(minor: str) -> Path:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [
        *sorted(pyenv.glob(f"versions/{minor}.*/bin/python{minor}")),
        Path(shutil.which(f"python{minor}") or os.devnull),
    ]
    for place in places:
        if place.is_file():
            return place
    pytest.skip(f"no Python {minor} on this machine")


def a_year_ahead() -> int:
    return time.localtime(time.time() + 365.25 * 86_400).tm_year
