"""dvc.yaml: the stage that trains, its data, outputs, metrics and params.

The training stage is the one called train, else the last one. What another stage writes for it is
data for mllock: it has to be there before `mllock lock`, and that is said. `.dvc` files beside it
say where data comes from.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from mllock.spec.importing.documents import Document, Files, read_yaml
from mllock.spec.importing.dvc_files import read_dvc_files, role_of
from mllock.spec.importing.found import Collector, Place, Program
from mllock.spec.importing.secrets import is_secret_name
from mllock.spec.importing.unread import leave_unread
from mllock.spec.places import Part
from mllock.spec.types import Scalar

__all__ = ["read_dvc"]

_CODE = (
    ".py",
    ".ipynb",
    ".sh",
    ".toml",
    ".cfg",
    ".ini",
    ".yaml",
    ".yml",
    ".r",
    ".jl",
    ".txt",
    ".lock",
)
# Of a stage: what people read, and when DVC runs it.
_QUIET = {"desc", "meta", "frozen", "always_changed", "vars"}
_VALUE = re.compile(r"\$\{([^{}]*)\}")
_TRAINS = ("train", "training", "fit", "train_model", "train-model")


def read_dvc(out: Collector, files: Files, doc: Document) -> None:
    out.read(doc.file)
    read_dvc_files(out, files)  # before dependencies that name the same data
    stages = list(doc.table("stages"))
    values = _values(out, files, doc)
    chosen = next((name for name in _TRAINS if name in stages), stages[-1] if stages else None)
    outputs = {
        path: name for name in stages for path, _ in _paths(doc, ("stages", name, "outs"), values)
    }
    for name in stages:
        at = ("stages", name)
        if name != chosen:
            why = "one program trains: other stages are not run"
            hint = "run it before mllock lock, or call it from the training program"
            out.left(doc.place(*at), f"stage {name}", why, hint)
        elif "foreach" in doc.table(*at) or "matrix" in doc.table(*at):
            why = "a stage that is run for several values is not one training"
            out.left(doc.place(*at), f"stage {name}", why, "write one command into [train]")
        else:
            _stage(out, doc, name, outputs, values)
            leave_unread(out, doc, *at, quiet=_QUIET)
    for key in ("plots", "metrics", "params", "artifacts", "datasets"):
        if doc.get(key):
            why = "is about what DVC shows, and not about how a model is made"
            out.left(doc.place(key), key, why)
    leave_unread(out, doc, quiet={"vars"})


def _stage(
    out: Collector, doc: Document, name: str, outputs: dict[str, str], values: dict[str, Any]
) -> None:
    at = ("stages", name)
    command = doc.get(*at, "cmd")
    if isinstance(command, list):
        text = " && ".join(text for text, _ in doc.texts(*at, "cmd"))
    else:
        text = doc.text(*at, "cmd") or ""
    place = doc.place(*at, "cmd")
    params: dict[str, Scalar] = {}
    text = _interpolated(out, values, text.strip(), place, params)
    folder = doc.text(*at, "wdir") or ""
    if posixpath.normpath(folder or ".") != ".":
        why = "a command runs in the folder of the project"
        out.left(doc.place(*at, "wdir"), f"wdir: {folder}", why, "write paths from there")
        folder = posixpath.normpath(folder)
    program = out.command(text, place) if text else None
    model = _model(out, doc, at, folder, values)
    metrics = _metrics(out, doc, at, folder, model, values)
    if program is None:
        out.left(place, f"stage {name}", "has no command that can be run")
    else:
        if model is None:
            why = "declares no output: [train] model is a guess"
            out.left(place, f"stage {name}", why, "write what it writes into [train] model")
            model = out.output("model", place)
        trained = Program(command=program, place=place, model=model, metrics=metrics, params=params)
        out.train_with(trained)
    for path, where in _paths(doc, (*at, "deps"), values):
        whole = path if "://" in path else posixpath.join(folder, path)
        _dependency(out, whole, text, where, outputs)
    for key, where in _params_of(doc, at):
        name_ = _name(key)
        if name_ not in params:
            why = "the program reads it from its file, which is copied with the code"
            hint = (
                f"for --set, write {name_} into [train] params, and {{params.{name_}}} into command"
            )
            out.left(where, f"param {key}", why, hint)


def _model(
    out: Collector, doc: Document, at: tuple[str, ...], folder: str, values: dict[str, Any]
) -> str | None:
    listed = _paths(doc, (*at, "outs"), values)
    found = [(posixpath.join(folder, path), place) for path, place in listed]
    likely = [item for item in found if re.search(r"model|checkpoint|weights", item[0])]
    chosen = (likely or found)[:1]
    for path, place in found:
        if (path, place) not in chosen:
            why = "a training has one model, a file or folder"
            hint = "let the program write it into the folder of the model"
            out.left(place, f"output {path}", why, hint)
    return out.output(chosen[0][0], chosen[0][1]) if chosen else None


def _metrics(
    out: Collector,
    doc: Document,
    at: tuple[str, ...],
    folder: str,
    model: str | None,
    values: dict[str, Any],
) -> str | None:
    chosen = None
    for path, place in _paths(doc, (*at, "metrics"), values):
        plain = posixpath.normpath(posixpath.join(folder, path))
        apart = model is None or not f"{plain}/".startswith(f"{model}/")
        if chosen is None and plain.endswith(".json") and apart:
            chosen = out.output(plain, place)
        else:
            out.left(place, f"metrics {path}", "one JSON file of numbers, outside of the model")
    for path, place in _paths(doc, (*at, "plots"), values):
        why = "only the model and the metrics of a training are kept"
        out.left(
            place, f"plot {path}", why, "let the program write it into the folder of the model"
        )
    return chosen


def _dependency(
    out: Collector, path: str, command: str, place: Place, outputs: dict[str, str]
) -> None:
    plain = posixpath.normpath(path) if "://" not in path else path
    if (
        plain.lower().endswith(_CODE)
        or f"{plain}/" in command
        or plain in ("src", "lib", "scripts")
    ):
        return  # code: it is copied with the rest
    if path in outputs:
        why = f"stage {outputs[path]} writes it: it is data here, and has to be there already"
        out.left(
            place, f"dependency {path}", why, f"run dvc repro {outputs[path]} before mllock lock"
        )
    out.add_data(plain, role_of(plain), place)


def _paths(
    doc: Document, where: tuple[str, ...], values: dict[str, Any]
) -> list[tuple[str, Place]]:
    """Entries are paths, or tables with the path as their one key; their `${...}` are put in."""
    listed = _written_paths(doc, where)
    return [(_VALUE.sub(lambda match: _plain(values, match), p), place) for p, place in listed]


def _plain(values: dict[str, Any], match: re.Match[str]) -> str:
    value = _value(values, match[1])
    plain = isinstance(value, int | float | str) and not isinstance(value, bool)
    return str(value) if plain and not is_secret_name(match[1]) else match[0]


def _value(values: dict[str, Any], name: str) -> Any:
    value: Any = values
    for part in name.strip().split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _written_paths(doc: Document, where: tuple[str, ...]) -> list[tuple[str, Place]]:
    found = []
    value = doc.get(*where)
    if isinstance(value, str):
        return [(value, doc.place(*where))]
    for index, item in enumerate(doc.array(*where)):
        if isinstance(item, dict) and len(item) == 1:
            found.append((next(iter(item)), doc.place(*where, index)))
        else:
            found.append((doc.text(*where, index) or "", doc.place(*where, index)))
    return found


def _params_of(doc: Document, at: tuple[str, ...]) -> list[tuple[str, Place]]:
    found = []
    for index, item in enumerate(doc.array(*at, "params")):
        where: tuple[Part, ...] = (*at, "params", index)
        if isinstance(item, dict):
            for file in item:
                keys = [text for text, _ in doc.texts(*where, file)] if item[file] else []
                found += [(key, doc.place(*where, file)) for key in keys or [file]]
        else:
            found.append((doc.text(*where) or "", doc.place(*where)))
    return found


def _values(out: Collector, files: Files, doc: Document) -> dict[str, Any]:
    """What `${...}` may stand for: params.yaml, and the tables and files of `vars`."""
    values: dict[str, Any] = {}
    if "${" not in str(doc.table("stages")):
        return values
    data = files.read("params.yaml")
    if data is not None:
        out.read("params.yaml")
        values |= read_yaml(data, "params.yaml").table()
    for index, item in enumerate(doc.array("vars")):
        if isinstance(item, dict):
            values |= item
            continue
        file, _, keys = str(item).partition(":")
        name = posixpath.normpath(file)
        inside = not name.startswith(("/", "../")) and name.endswith((".yaml", ".yml", ".json"))
        data = files.read(name) if inside else None
        if data is None:
            why = "no YAML or JSON file of this folder"
            out.left(doc.place("vars", index), f"vars {item}", why)
            continue
        out.read(name)
        table = read_yaml(data, name).table()
        wanted = [key.strip() for key in keys.split(",")] if keys else list(table)
        values |= {key: table[key] for key in wanted if key in table}
    return values


def _interpolated(
    out: Collector,
    values: dict[str, Any],
    text: str,
    place: Place,
    params: dict[str, Scalar],
) -> str:
    """`${train.alpha}` of params.yaml and of `vars` becomes {params.train_alpha}."""

    def replaced(match: re.Match[str]) -> str:
        value = _value(values, match[1])
        name = _name(match[1].strip())
        plain = isinstance(value, bool | int | float | str) and name.isidentifier()
        if not plain or not out.param(name, value, place):
            return match[0]
        params[name] = str(value) if isinstance(value, int) and abs(value) >= 2**53 else value
        return f"{{params.{name}}}"

    known = len(out.leftovers)
    done = _VALUE.sub(replaced, text)
    refused = {leftover.what for leftover in list(out.leftovers)[known:]}
    for match in _VALUE.finditer(done):
        if _name(match[1].strip()) not in refused:
            out.left(place, match[0], "is nowhere said", "write the value into [train] params")
    return done


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)
