"""bentofile.yaml: Python, packages, Debian packages, variables, the base, and the service."""

from __future__ import annotations

import posixpath

from mllock.spec.importing.bases import base_of
from mllock.spec.importing.conda import channel, conda_dependency, read_conda
from mllock.spec.importing.documents import Document, Files, read_yaml
from mllock.spec.importing.found import PUBLISH, Collector, Program
from mllock.spec.importing.pip_lines import read_requirements, requirement_line
from mllock.spec.importing.unread import leave_unread

__all__ = ["read_bento"]

_INDEX = "which index stands in the place of the default one is a matter of pip's own settings"
_INDEX_HINT = (
    "set PIP_INDEX_URL, or write it into pip.conf; or list its packages in [[environment.indexes]]"
)


def read_bento(out: Collector, files: Files, doc: Document) -> None:
    out.read(doc.file)
    out.project(doc.text("name"), None, doc.text("description"))
    if doc.text("docker", "python_version"):
        where = ("docker", "python_version")
        out.python_is(doc.text(*where) or "", doc.place(*where))
    _packages(out, files, doc)
    if doc.get("conda"):
        _conda(out, files, doc)
    if doc.get("docker"):
        _docker(out, doc)
    for index in range(len(doc.array("envs"))):
        name = doc.text("envs", index, "name") or ""
        value = doc.text("envs", index, "value")
        if value is None:
            hint = "list it in [serve] runtime-variables"
            out.left(doc.place("envs", index), name, "has no value before deployment", hint)
        else:
            out.variable(name, value, doc.place("envs", index))
    service = doc.text("service")
    if service:
        place = doc.place("service")
        if not any(name == "bentoml" for name, _ in out.requirements):
            why = "runs with bentoml, which is not among its packages"
            out.left(place, f"service: {service}", why, 'add "bentoml" to dependencies')
        words = ["bentoml", "serve", service, "--host", "0.0.0.0", "--port", "{port}"]  # noqa: S104 - in a container
        command = out.command(words, place)
        if command is not None:
            out.serve_with(Program(command=command, place=place))
            out.port = out.port or 3000
            out.health = out.health or "/healthz"
    for index in range(len(doc.array("models"))):
        why = "a model of BentoML's store is made elsewhere"
        hint = "let [train] write it, and load it from that path in the service"
        item = doc.get("models", index)
        what = doc.text("models", index, "tag") if isinstance(item, dict) else str(item)
        out.left(doc.place("models", index), f"model {what}", why, hint)
    for key, why in (
        ("labels", "an image has labels of mllock's only"),
        ("include", "code that serves is what git tracks, or [serve] code"),
        ("exclude", "code that serves is what git tracks, or [serve] code"),
    ):
        if doc.get(key):
            out.left(
                doc.place(key),
                key,
                why,
                "list patterns in [serve] code" if key != "labels" else None,
            )
    leave_unread(out, doc)
    leave_unread(out, doc, "python", quiet={"lock_packages", "pack_git_packages"})
    leave_unread(out, doc, "conda")
    leave_unread(out, doc, "docker")


def _packages(out: Collector, files: Files, doc: Document) -> None:
    for text, place in doc.texts("python", "packages"):
        requirement_line(out, files, text.strip(), place)
    name = doc.text("python", "requirements_txt")
    if name:
        path = posixpath.normpath(name)
        if path.startswith(("/", "..")) or not read_requirements(out, files, path):
            out.left(doc.place("python", "requirements_txt"), name, "no such file in this folder")
    for key in ("extra_index_url", "find_links"):
        value = doc.get("python", key)
        place = doc.place("python", key)
        for url in value if isinstance(value, list) else [value] if value else []:
            (out.places.index if key == "extra_index_url" else out.places.link)(str(url), place)
    for key in ("index_url", "trusted_host", "no_index"):
        value = doc.get("python", key)
        if value:
            urls = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            out.left(doc.place("python", key), f"{key}: {urls}", _INDEX, _INDEX_HINT)
    for text, place in doc.texts("python", "wheels"):
        out.left(place, text, "a file cannot be locked by name and version", PUBLISH)
    if doc.text("python", "pip_args"):
        what = f"pip_args: {doc.text('python', 'pip_args')}"
        why = "options of pip are a matter of its own settings"
        out.left(doc.place("python", "pip_args"), what, why, "write them into pip.conf")


def _conda(out: Collector, files: Files, doc: Document) -> None:
    name = doc.text("conda", "environment_yml")
    if name:
        path = posixpath.normpath(name)
        data = None if path.startswith(("/", "..")) else files.read(path)
        if data is None:
            out.left(doc.place("conda", "environment_yml"), name, "no such file in this folder")
        elif path not in out.files:
            read_conda(out, files, read_yaml(data, path))
    for text, place in doc.texts("conda", "channels"):
        channel(out, text, place)
    for text, place in doc.texts("conda", "dependencies"):
        conda_dependency(out, text, place)
    for text, place in doc.texts("conda", "pip"):
        requirement_line(out, files, text.strip(), place)


def _docker(out: Collector, doc: Document) -> None:
    for text, place in doc.texts("docker", "system_packages"):
        out.system(text.strip(), place)
    if doc.text("docker", "base_image"):
        where = ("docker", "base_image")
        base_of(out, doc.text(*where) or "", doc.place(*where))
    env = doc.get("docker", "env")
    if isinstance(env, dict):
        for name in env:
            value = doc.text("docker", "env", name) or ""
            out.variable(name, value, doc.place("docker", "env", name))
    elif isinstance(env, list):
        for text, place in doc.texts("docker", "env"):
            name, equals, value = text.partition("=")
            if equals:
                out.variable(name, value, place)
            else:
                hint = "list it in [serve] runtime-variables"
                out.left(place, name, "has no value before deployment", hint)
    elif env is not None:
        out.left(doc.place("docker", "env"), f"env: {env}", "variables in a file are not read")
    for key, why, hint in (
        ("cuda_version", "no base has CUDA", "use a base and wheels with CUDA"),
        ("distro", "images are made from Debian, or from a base of yours", "set base"),
        ("setup_script", "no script is run to make an image", "use a base that has what it does"),
        (
            "dockerfile_template",
            "no Dockerfile makes the images",
            "use a base that has what it does",
        ),
    ):
        value = doc.get("docker", key)
        if value and (key, value) != ("distro", "debian"):
            out.left(doc.place("docker", key), f"{key}: {value}", why, hint)
