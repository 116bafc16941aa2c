"""pyproject.toml: PEP 621 with PEP 735 groups and uv's tables, Poetry, PDM.

The main dependencies count. Groups and extras are for development, or a choice that the file does
not make: each is a leftover that names its packages.
"""

from __future__ import annotations

import re
from typing import Any

from mllock.errors import InputError
from mllock.spec.hints import normalised_name
from mllock.spec.importing.documents import Document, Files
from mllock.spec.importing.found import Collector, Place
from mllock.spec.importing.pip_lines import read_requirements
from mllock.spec.importing.poetry_ranges import specifier
from mllock.spec.importing.pyproject_indexes import (
    Chosen,
    elsewhere,
    poetry_paths,
    read_indexes,
    uv_settings,
    uv_sources,
)
from mllock.spec.importing.pythons import marker_holds
from mllock.spec.importing.unread import GROUP, GROUP_HINT, leave_group, leave_unread

__all__ = ["read_pyproject"]

_COMPARED = re.compile(r"^(===|==|~=|!=|<=|>=|<|>)(.*)$")
_SCRIPTS = "the project's own code is not installed, so that it has no scripts"
_SCRIPTS_HINT = 'write commands as ["python", "-m", "MODULE"]'
# Keys that say nothing about an image: who wrote it, how it is published, how the tool works.
_QUIET_PROJECT = {
    "readme", "license", "license-files", "authors", "maintainers", "keywords", "classifiers",
    "urls", "import-names", "import-namespaces",
}  # fmt: skip
_QUIET_POETRY = {
    "readme", "license", "authors", "maintainers", "keywords", "classifiers", "urls", "homepage",
    "repository", "documentation", "packages", "include", "exclude", "package-mode", "build",
    "requires-poetry", "requires-plugins",
}  # fmt: skip
_QUIET_UV = {
    "package", "managed", "cache-keys", "cache-dir", "build-backend", "default-groups", "preview",
    "required-version", "link-mode", "python-preference", "python-downloads", "native-tls",
    "compile-bytecode", "publish-url", "trusted-publishing",
}  # fmt: skip
_QUIET_PDM = {"distribution", "version", "build", "publish", "scripts"}
_UV_HINTS = {
    "exclude-newer": "write exclude-newer into [environment], where the index says when files came",
    "prerelease": 'name one in a range, e.g. "NAME>=2.0rc1"',
    "environments": "platforms says what the images are for",
    "workspace": "import the folder of one member; code of others is copied as code",
}


def read_pyproject(out: Collector, files: Files, doc: Document) -> None:
    """Raises InputError at what no such file may hold."""
    out.read(doc.file)
    python = doc.text("project", "requires-python")
    if python:  # first: it decides which markers hold
        out.python_is(python, doc.place("project", "requires-python"))
    chosen = uv_sources(out, doc)
    poetry_paths(out, doc)
    _project(out, files, doc)
    _groups(out, doc, "dependency-groups")
    _uv(out, doc)
    uv_settings(out, doc)
    read_indexes(out, doc, ("tool", "uv", "index"), chosen)
    _pdm(out, doc)
    if doc.table("tool", "poetry"):
        _poetry(out, doc)
    if doc.table("tool", "pixi"):
        why = "pixi's own tables are not read"
        hint = 'try "mllock init --from environment.yml"'
        out.left(doc.place("tool", "pixi"), "[tool.pixi]", why, hint)
    for env in doc.table("tool", "hatch", "envs"):
        at = ("tool", "hatch", "envs", env)
        listed = [*doc.texts(*at, "dependencies"), *doc.texts(*at, "extra-dependencies")]
        if listed:
            packages = [text for text, _ in listed]
            leave_group(out, doc.place(*at), f"environment {env} of hatch", packages)
    leave_unread(out, doc, "project", quiet=_QUIET_PROJECT)
    leave_unread(out, doc, "tool", "rye", quiet={"managed", "virtual", "universal", "scripts"})
    leave_unread(out, doc, "tool", "uv", quiet=_QUIET_UV, hints=_UV_HINTS)
    leave_unread(out, doc, "tool", "pdm", quiet=_QUIET_PDM)
    leave_unread(out, doc, "tool", "pdm", "resolution")
    leave_unread(out, doc, "tool", "poetry", quiet=_QUIET_POETRY)


def _project(out: Collector, files: Files, doc: Document) -> None:
    name, version = doc.text("project", "name"), doc.text("project", "version")
    out.project(name, version, doc.text("project", "description"))
    for text, place in doc.texts("project", "dependencies"):
        out.requirement(text, place)
    for extra in doc.table("project", "optional-dependencies"):
        where = ("project", "optional-dependencies", extra)
        names = ", ".join(text for text, _ in doc.texts(*where))
        out.left(doc.place(*where), f"extra {extra} ({names})", GROUP, GROUP_HINT)
    for table in ("scripts", "gui-scripts", "entry-points"):
        if doc.table("project", table):
            out.left(doc.place("project", table), f"[project.{table}]", _SCRIPTS, _SCRIPTS_HINT)
    for text, place in doc.texts("project", "dynamic"):
        if text == "dependencies":
            _dynamic(out, files, doc, place)


def _dynamic(out: Collector, files: Files, doc: Document, place: Place) -> None:
    where = ("tool", "setuptools", "dynamic", "dependencies", "file")
    listed = doc.get(*where)
    names = [listed] if isinstance(listed, str) else [text for text, _ in doc.texts(*where)]
    if not names:
        why = "the dependencies are computed when the project is built, and nothing of it is run"
        out.left(place, 'dynamic = ["dependencies"]', why, "write them into dependencies")
    for name in names:
        try:
            there = read_requirements(out, files, name)
        except InputError as error:
            if error.file == name:
                raise
            there = False
        if not there:
            out.left(doc.place(*where), name, "no such file")


def _groups(out: Collector, doc: Document, *table: str) -> None:
    for group in doc.table(*table):
        where = (*table, group)
        names = []
        for index, item in enumerate(doc.array(*where)):
            if isinstance(item, dict):
                names.append(f"group {item.get('include-group', '?')}")
            else:
                names.append(doc.text(*where, index) or "")
        what = f"group {group} ({', '.join(names)})"
        out.left(doc.place(*where), what, GROUP, GROUP_HINT)


def _uv(out: Collector, doc: Document) -> None:
    for key in ("dev-dependencies", "constraint-dependencies", "override-dependencies"):
        where = ("tool", "uv", key)
        for text, place in doc.texts(*where):
            if key == "dev-dependencies":
                out.left(place, f"dev dependency {text}", GROUP, GROUP_HINT)
            else:
                why = f"uv's {key} have no key here"
                out.left(place, text, why, 'put it into a file, and write constraints = ["FILE"]')


def _pdm(out: Collector, doc: Document) -> None:
    _groups(out, doc, "tool", "pdm", "dev-dependencies")
    read_indexes(out, doc, ("tool", "pdm", "source"), {})
    where = ("tool", "pdm", "resolution", "overrides")
    for name in doc.table(*where):
        what = f"{name} {doc.text(*where, name)}"
        hint = 'put it into a file, and write constraints = ["FILE"]'
        out.left(doc.place(*where, name), what, "PDM's overrides have no key here", hint)


def _poetry(out: Collector, doc: Document) -> None:
    at = ("tool", "poetry")
    chosen: Chosen = {}
    out.project(*(doc.text(*at, key) for key in ("name", "version", "description")))
    named = {name for name, _ in out.requirements}  # by [project], which Poetry 2 reads first
    for name in doc.table(*at, "dependencies"):
        where = (*at, "dependencies", name)
        value = doc.get(*where)
        if name.lower() == "python":
            out.python_is(doc.text(*where) or "", doc.place(*where))
            continue
        several = isinstance(value, list)
        for index, one in enumerate(value if isinstance(value, list) else [value]):
            place = doc.place(*where, index) if several else doc.place(*where)
            table = one if isinstance(one, dict) else {"version": one}
            if "version" in table or normalised_name(name) not in named:
                _poetry_dependency(out, name, table, place)
            if "source" in table and marker_holds(_poetry_marker(table), out.python):
                chosen.setdefault(str(table["source"]), []).append((name, place))
    if doc.table(*at, "dev-dependencies"):
        names = ", ".join(doc.table(*at, "dev-dependencies"))
        place = doc.place(*at, "dev-dependencies")
        out.left(place, f"dev-dependencies ({names})", GROUP, GROUP_HINT)
    for group in doc.table(*at, "group"):
        names = ", ".join(doc.table(*at, "group", group, "dependencies"))
        what = f"group {group} ({names})"
        out.left(doc.place(*at, "group", group), what, GROUP, GROUP_HINT)
    read_indexes(out, doc, (*at, "source"), chosen)
    if doc.table(*at, "scripts"):
        place = doc.place(*at, "scripts")
        out.left(place, "[tool.poetry.scripts]", _SCRIPTS, _SCRIPTS_HINT)


def _poetry_dependency(out: Collector, name: str, table: dict[str, Any], place: Place) -> None:
    version = table.get("version", "*")
    if any(key in table for key in ("git", "path", "url", "file")):
        elsewhere(out, name, place)
        return
    if table.get("allow-prereleases") is True:
        why = "pre-releases are chosen by a range that names one"
        out.left(place, f"allow-prereleases of {name}", why, f'write e.g. "{name}>=2.0rc1"')
    if table.get("optional") is True:
        what = f"{name} {version}"
        out.left(place, what, "an optional dependency belongs to an extra", GROUP_HINT)
        return
    extras = table.get("extras", [])
    ranges = specifier(version) if isinstance(version, str) else None
    python = specifier(str(table.get("python", "*")))
    if ranges is None or python is None or not isinstance(extras, list):
        what = f"{name} {version}" + (f" for Python {table['python']}" if python is None else "")
        why = "not a range that PEP 508 has words for"
        out.left(place, what, why, "write it into dependencies by hand")
        return
    text = name + (f"[{','.join(map(str, extras))}]" if extras else "") + ranges
    marker = _poetry_marker(table)
    out.requirement(f"{text}; {marker}" if marker else text, place)


def _poetry_marker(table: dict[str, Any]) -> str:
    markers = [str(table["markers"])] if "markers" in table else []
    if "python" in table:
        ranges = specifier(str(table["python"]))
        for part in filter(None, (ranges or "").split(",")):
            operator, number = _COMPARED.findall(part)[0]
            full = number.removesuffix(".*").count(".") > 1
            variable = "python_full_version" if full else "python_version"
            markers.append(f'{variable} {operator} "{number}"')
    if "platform" in table:
        markers.append(f'sys_platform == "{table["platform"]}"')
    return " and ".join(f"({one})" if " or " in one else one for one in markers)
