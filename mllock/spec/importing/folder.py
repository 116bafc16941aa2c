"""Which files of a folder count, in which order, and who reads each.

Packages come from the first of these that is there, with the lock beside it as pins; the others
of them are named as not read:

1. pyproject.toml (if it names packages) with uv.lock, poetry.lock, pdm.lock or pylock.toml, else
   with a requirements.txt that pip-compile or uv made of it
2. requirements.in with requirements.txt
3. requirements.txt
4. environment.yml or environment.yaml
5. uv.lock, poetry.lock, pdm.lock, pylock.toml without a pyproject.toml

After that MLproject, dvc.yaml with all .dvc files, cog.yaml, bentofile.yaml and Dockerfile are
read, in this order, each for all that it says. Of two answers to one question the first counts. A
single file is read with the lock that belongs to it.
"""

from __future__ import annotations

import re

from mllock.errors import InputError
from mllock.spec.importing.bento import read_bento
from mllock.spec.importing.cog import read_cog
from mllock.spec.importing.conda import read_conda
from mllock.spec.importing.dockerfile import read_dockerfile
from mllock.spec.importing.documents import MAX_LOCK, Document, Files, decode, read_toml, read_yaml
from mllock.spec.importing.dvc import read_dvc
from mllock.spec.importing.dvc_files import SUFFIX, read_dvc_file, read_dvc_files
from mllock.spec.importing.found import Collector, Found, Place
from mllock.spec.importing.locks import read_lock_file
from mllock.spec.importing.mlflow import read_mlproject
from mllock.spec.importing.pip_lines import read_requirements
from mllock.spec.importing.pyproject import read_pyproject

__all__ = ["KINDS", "LOCK_FILES", "read_file", "read_folder"]

KINDS = (
    "requirements.txt, requirements.in, pyproject.toml, pylock.toml, uv.lock, poetry.lock, "
    "pdm.lock, environment.yml, cog.yaml, MLproject, dvc.yaml, NAME.dvc, bentofile.yaml, Dockerfile"
)
LOCK_FILES = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")
_CONDA = ("environment.yml", "environment.yaml")
_YAML = {
    "cog.yaml": read_cog,
    "dvc.yaml": read_dvc,
    "MLproject": read_mlproject,
    "bentofile.yaml": read_bento,
}
# Files of the same purpose that are not read, and the way from them to one that is.
_OTHERS = {
    "Pipfile": "pipenv requirements > requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "conda-lock.yml": "import the environment.yml that it was made from",
    "pixi.toml": "pixi workspace export conda-environment environment.yml",
    "pixi.lock": "pixi workspace export conda-environment environment.yml",
    "setup.cfg": "write its install_requires into a requirements.in",
    "setup.py": "write its install_requires into a requirements.in",
}
# As people spell them, too: other cases and endings mean the same file.
_SPELLED = {name.lower(): name for name in (*_YAML, *LOCK_FILES, "pyproject.toml")} | {
    f"{tool}.yml": f"{tool}.yaml" for tool in ("cog", "dvc", "bentofile")
}
_MORE = ("MLproject", "dvc.yaml", "cog.yaml", "bentofile.yaml", "Dockerfile")


def read_file(files: Files, name: str, project: str) -> Found:
    """What the file `name`, and the lock that belongs to it, say. Raises InputError."""
    out = Collector()
    if files.read(name) is None:
        raise InputError("no such file", file=name)
    _python_version(out, files)
    kind = _kind(name)
    if kind is None:
        raise _unknown(name)
    if kind == "pyproject.toml":
        _pyproject(out, files, name)
    elif kind in LOCK_FILES and files.read("pyproject.toml") is not None:
        _pyproject(out, files, "pyproject.toml", lock=name)
    elif kind == "requirements.in":
        _requirements_in(out, files, name)
    else:
        _one(out, files, name, kind)
    return out.found(project)


def read_folder(files: Files, project: str) -> Found:
    """What the files of the folder say. Raises InputError; also where there is none to read."""
    out = Collector()
    _python_version(out, files)
    candidates = [
        name
        for name in ("pyproject.toml", "requirements.in", "requirements.txt", *_CONDA, *LOCK_FILES)
        if files.read(name) is not None
    ]
    if "pyproject.toml" in candidates and not _names_packages(files):
        candidates.remove("pyproject.toml")
        _unchosen(out, files)
    for name in candidates:
        if not out.requirements and not out.files:
            _packages(out, files, name)
        elif name not in out.files:
            why = f"packages come from {out.files[0]}: this file was not read"
            hint = f"mllock init --from {name} reads it instead"
            out.left(Place(file=name), name, why, hint)
    for name in _MORE:
        if name == "dvc.yaml":
            read_dvc_files(out, files)
        if files.read(name) is not None:
            _one(out, files, name, _kind(name) or name)
    if not set(out.files) - {".python-version"}:
        raise InputError("nothing here can be imported", expected=KINDS)
    for name, hint in _OTHERS.items():
        if files.read(name) is not None:
            out.left(Place(file=name), name, "is not read", hint)
    return out.found(project)


def _unknown(name: str) -> InputError:
    hint = _OTHERS.get(name.rpartition("/")[2])
    return InputError("not a file that can be imported", file=name, expected=KINDS, hint=hint)


def _kind(name: str) -> str | None:
    base = name.rpartition("/")[2]
    base = _SPELLED.get(base.lower(), base)
    if base.endswith(SUFFIX):
        return SUFFIX
    if base in _YAML or base in LOCK_FILES or base == "pyproject.toml":
        return base
    if re.fullmatch(r"pylock\.[^.]+\.toml", base):
        return "pylock.toml"
    if re.fullmatch(r"(?i)(.*[.-])?(Dockerfile|Containerfile)([.-].*)?", base):
        return "Dockerfile"
    lower = base.lower()
    if lower in _OTHERS:
        return None
    if lower.endswith((".yml", ".yaml")):
        return "environment.yml"
    if lower.endswith(".in"):
        return "requirements.in"
    return "requirements.txt" if lower.endswith((".txt", ".pip")) else None


def _packages(out: Collector, files: Files, name: str) -> None:
    if name == "pyproject.toml":
        _pyproject(out, files, name)
    elif name == "requirements.in":
        _requirements_in(out, files, name)
    else:
        _one(out, files, name, _kind(name) or name)


def _one(out: Collector, files: Files, name: str, kind: str) -> None:
    data = files.read(name)
    assert data is not None
    if kind == SUFFIX:
        read_dvc_file(out, read_yaml(data, name))
    elif kind in _YAML:
        _YAML[kind](out, files, read_yaml(data, name))
    elif kind == "environment.yml":
        document = read_yaml(data, name)
        if not {"dependencies", "channels"} & set(document.table()):
            raise _unknown(name)
        read_conda(out, files, document)
    elif kind == "Dockerfile":
        read_dockerfile(out, files, decode(data, name), name)
    elif kind in LOCK_FILES:
        read_lock_file(out, read_toml(data, name, MAX_LOCK), alone=True)
    else:
        read_requirements(out, files, name)


def _pyproject(out: Collector, files: Files, name: str, lock: str | None = None) -> None:
    read_pyproject(out, files, _toml(files, name))
    folder = name.rpartition("/")[0]
    chosen = [lock] if lock else [f"{folder}/{item}".lstrip("/") for item in LOCK_FILES]
    there = [item for item in chosen if files.read(item) is not None]
    for item in there[:1]:
        data = files.read(item)
        assert data is not None
        read_lock_file(out, read_toml(data, item, MAX_LOCK), alone=False)
    if not there:
        _compiled(out, files)
    for item in there[1:]:
        out.read(item)
        out.left(Place(file=item), item, f"versions come from {there[0]}: this file was not read")


def _compiled(out: Collector, files: Files) -> None:
    """requirements.txt that pip-compile or uv made of pyproject.toml: versions to begin with."""
    data = files.read("requirements.txt") or b""
    if b"pip-compile" in data[:500] or b"uv pip compile" in data[:500]:
        read_requirements(out, files, "requirements.txt", kind="pins")


def _requirements_in(out: Collector, files: Files, name: str) -> None:
    read_requirements(out, files, name)
    read_requirements(out, files, f"{name.removesuffix('.in')}.txt", kind="pins")


def _names_packages(files: Files) -> bool:
    document = _toml(files, "pyproject.toml")
    return bool(
        document.get("project", "dependencies")
        or document.get("project", "dynamic")
        or document.get("tool", "poetry", "dependencies")
    )


def _unchosen(out: Collector, files: Files) -> None:
    """A pyproject.toml without dependencies may yet have groups, or settings about packages."""
    document = _toml(files, "pyproject.toml")
    about: list[tuple[str, ...]] = [("project",), ("dependency-groups",)]
    about += [("tool", tool) for tool in ("uv", "pdm", "poetry", "pixi", "hatch")]
    for table in about:
        if document.table(*table):
            what = f"[{'.'.join(table)}]"
            why = "the file names no dependencies of its own, and was not read"
            hint = "mllock init --from pyproject.toml reads it"
            out.left(document.place(*table), what, why, hint)


def _toml(files: Files, name: str) -> Document:
    data = files.read(name)
    assert data is not None
    return read_toml(data, name)


def _python_version(out: Collector, files: Files) -> None:
    """.python-version of pyenv and uv: the first line counts."""
    data = files.read(".python-version")
    lines = decode(data, ".python-version").split() if data is not None else []
    if lines:
        out.python_is(lines[0], Place(file=".python-version"))
