"""MLproject of MLflow: the environment that it names, and its entry points with parameters."""

from __future__ import annotations

import posixpath
import re

from mllock.spec.importing.bases import base_of
from mllock.spec.importing.conda import read_conda
from mllock.spec.importing.documents import Document, Files, read_yaml
from mllock.spec.importing.found import Collector, Place, Program
from mllock.spec.importing.pip_lines import requirement_line
from mllock.spec.importing.unread import leave_unread
from mllock.spec.types import Scalar

__all__ = ["read_mlproject"]

_FLOAT = re.compile(r"[-+]?[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][-+]?[0-9]{1,2})?")
_BRACES = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")


def read_mlproject(out: Collector, files: Files, doc: Document) -> None:
    out.read(doc.file)
    out.project(doc.text("name"), None, None)
    for key in ("python_env", "conda_env"):
        name = doc.text(key)
        if not name:
            continue
        path = posixpath.normpath(name)
        place = doc.place(key)
        data = None if path.startswith(("/", "..")) or "://" in name else files.read(path)
        if data is None:
            out.left(place, f"{key}: {name}", "no such file in this folder")
        elif path not in out.files:
            inner = read_yaml(data, path)
            (read_conda if key == "conda_env" else _python_env)(out, files, inner)
    image = doc.text("docker_env", "image")
    if image:
        base_of(out, image, doc.place("docker_env", "image"))
    for index, item in enumerate(doc.array("docker_env", "environment")):
        where = ("docker_env", "environment", index)
        if isinstance(item, list) and len(item) == 2:
            name, value = (doc.text(*where, number) or "" for number in (0, 1))
            out.variable(name, value, doc.place(*where))
        else:
            why = "the value is taken from the machine, and is no part of the environment"
            hint = "list it in [serve] runtime-variables, or set it in variables"
            out.left(doc.place(*where), doc.text(*where) or "", why, hint)
    if doc.array("docker_env", "volumes"):
        why = "volumes are not mounted: data is declared, and pinned by content"
        out.left(doc.place("docker_env", "volumes"), "volumes", why, "name it in [data]")
    points = doc.table("entry_points")
    chosen = next((name for name in ("train", "main") if name in points), next(iter(points), None))
    for name in points:
        if name == chosen:
            _train(out, doc, name)
        else:
            why = "one entry point is the training program: the others are not run"
            hint = "call it from the training program, or name it in [serve] or [evaluate]"
            out.left(doc.place("entry_points", name), f"entry point {name}", why, hint)
    leave_unread(out, doc)
    leave_unread(out, doc, "docker_env")


def _python_env(out: Collector, files: Files, doc: Document) -> None:
    out.read(doc.file)
    if doc.text("python"):
        out.python_is(doc.text("python") or "", doc.place("python"))
    for text, place in doc.texts("dependencies"):
        requirement_line(out, files, text.strip(), place)
    for text, place in doc.texts("build_dependencies"):
        if re.match(r"(pip|setuptools|wheel)\b", text) is None:
            out.left(place, text, "only wheels are installed: nothing is built")
    leave_unread(out, doc, quiet={"name"})


def _train(out: Collector, doc: Document, name: str) -> None:
    at = ("entry_points", name)
    text = doc.text(*at, "command")
    place = doc.place(*at, "command")
    if not text:
        out.left(doc.place(*at), f"entry point {name}", "has no command")
        return
    params: dict[str, Scalar] = {}
    for key in doc.table(*at, "parameters"):
        _parameter(out, doc, (*at, "parameters", key), key, params)

    def replaced(match: re.Match[str]) -> str:
        plain = match[1].replace("-", "_")
        return f"{{params.{plain}}}" if plain in params else match[0]

    words = out.command(text.strip(), place)
    if words is None:
        return
    command = tuple(_BRACES.sub(replaced, word) for word in words)
    why = "does not say which file or folder the model is: [train] model is a guess"
    out.left(place, f"entry point {name}", why, "write what the command writes into [train] model")
    out.train_with(
        Program(command=command, place=place, model=out.output("model", place), params=params)
    )


def _parameter(
    out: Collector, doc: Document, where: tuple[str, ...], key: str, params: dict[str, Scalar]
) -> None:
    value = doc.get(*where)
    kind = value if isinstance(value, str) else doc.text(*where, "type") or "string"
    default = doc.get(*where, "default") if isinstance(value, dict) else None
    place: Place = doc.place(*where)
    name = key.replace("-", "_")
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
        out.left(place, key, "not a name that a param can have")
        return
    if isinstance(default, dict | list):
        raise doc.wrong((*where, "default"), "a text or a number")
    if default is None:
        out.left(place, key, "has no default: it is an empty text", f"set params.{name}")
        default = ""
    if kind == "float" and isinstance(default, str) and _FLOAT.fullmatch(default):
        default = float(default)  # YAML 1.1 takes 1e-3 for a text
    if isinstance(default, float) and kind != "float":
        default = doc.text(*where, "default") or ""
    if kind in ("path", "uri"):
        hint = "name it in [data], and write its path into the command"
        out.left(place, f"{key} ({kind})", "data is declared, not passed as a param", hint)
    if not out.param(name, default, place):
        default = ""
    if isinstance(default, int) and abs(default) > 2**53 - 1:
        default = str(default)
    params[name] = default
