"""pyproject.toml: PEP 621 with PEP 735 groups and uv's tables, Poetry, PDM.

The main dependencies count. Groups and extras are for development, or a choice that the file does
not make: each is a leftover that names its packages.
"""

from __future__ import annotations

import re
from typing import Any

from mllock.errors import InputError
from mllock.spec.importing.documents import Document, Files
from mllock.spec.importing.found import PUBLISH, Collector, Place
from mllock.spec.importing.pip_lines import read_requirements
from mllock.spec.importing.poetry_ranges import specifier

__all__ = ["read_pyproject"]

# Poetry's priorities of a source that others have to give way to.
_DEFAULTS = ("primary", "default")
_COMPARED = re.compile(r"^(===|==|~=|!=|<=|>=|<|>)(.*)$")
_GROUP = "a group of packages beside the dependencies is not part of the images"
_GROUP_HINT = "add to dependencies those that training or serving imports"
_SOURCE = "comes from a repository, URL or folder, and cannot be locked by version"
_INDEX = "which index stands in the place of the default one is a matter of pip's own settings"
_INDEX_HINT = (
    "set PIP_INDEX_URL, or write it into pip.conf; or list its packages in [[environment.indexes]]"
)
_SHARED = "is asked for every package here, and the best version of all indexes is taken"
_SHARED_HINT = "list in its packages what is to come from there alone"
_NO_INDEX = "no index of this name is declared"


def read_pyproject(out: Collector, files: Files, doc: Document) -> None:
    """Raises InputError at what no such file may hold."""
    from packaging.utils import canonicalize_name

    out.read(doc.file)
    chosen: dict[str, list[tuple[str, Place]]] = {}  # packages by the name of their only index
    for name in doc.table("tool", "uv", "sources"):
        where = ("tool", "uv", "sources", name)
        source = doc.get(*where)
        first = source[0] if isinstance(source, list) and source else source
        if isinstance(first, dict) and "index" in first:
            chosen.setdefault(str(first["index"]), []).append((name, doc.place(*where)))
        else:
            out.elsewhere.add(str(canonicalize_name(name)))
            out.left(doc.place(*where), name, _SOURCE, PUBLISH)
    _project(out, files, doc)
    _groups(out, doc, "dependency-groups")
    _uv(out, doc)
    _indexes(out, doc, ("tool", "uv", "index"), chosen)
    _pdm(out, doc)
    if doc.table("tool", "poetry"):
        _poetry(out, doc)
    if doc.table("tool", "pixi"):
        why = "pixi's own tables are not read"
        hint = 'try "mllock init --from environment.yml"'
        out.left(doc.place("tool", "pixi"), "[tool.pixi]", why, hint)


def _project(out: Collector, files: Files, doc: Document) -> None:
    name, version = doc.text("project", "name"), doc.text("project", "version")
    out.project(name, version, doc.text("project", "description"))
    python = doc.text("project", "requires-python")
    if python:
        out.python_is(python, doc.place("project", "requires-python"))
    for text, place in doc.texts("project", "dependencies"):
        out.requirement(text, place)
    for extra in doc.table("project", "optional-dependencies"):
        where = ("project", "optional-dependencies", extra)
        names = ", ".join(text for text, _ in doc.texts(*where))
        out.left(doc.place(*where), f"extra {extra} ({names})", _GROUP, _GROUP_HINT)
    for table in ("scripts", "gui-scripts", "entry-points"):
        if doc.table("project", table):
            why = "the project's own code is not installed, so that it has no scripts"
            hint = 'write commands as ["python", "-m", "MODULE"]'
            out.left(doc.place("project", table), f"[project.{table}]", why, hint)
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
        out.left(doc.place(*where), what, _GROUP, _GROUP_HINT)


def _uv(out: Collector, doc: Document) -> None:
    for key in ("dev-dependencies", "constraint-dependencies", "override-dependencies"):
        where = ("tool", "uv", key)
        for text, place in doc.texts(*where):
            if key == "dev-dependencies":
                out.left(place, f"dev dependency {text}", _GROUP, _GROUP_HINT)
            else:
                why = f"uv's {key} have no key here"
                out.left(place, text, why, 'put it into a file, and write constraints = ["FILE"]')


def _indexes(
    out: Collector, doc: Document, at: tuple[str, ...], chosen: dict[str, list[tuple[str, Place]]]
) -> None:
    """Uv's indexes, PDM's and Poetry's sources. `chosen` are packages that name one of them."""
    for number, item in enumerate(doc.array(*at)):
        place = doc.place(*at, number)
        table = item if isinstance(item, dict) else {}
        url, name = str(table.get("url", "")), str(table.get("name", ""))
        packages = [package for package, _ in chosen.pop(name, [])]
        included = table.get("include_packages")
        for one in included if isinstance(included, list) else ():
            packages += [str(one)] if "*" not in str(one) else []
        # uv's word, Poetry's words (and none is "primary"), PDM's name of the default one.
        priority = table.get("priority", "primary" if at[1] == "poetry" else "")
        default = table.get("default") is True or name == "pypi" or priority in _DEFAULTS
        explicit = table.get("explicit") is True or priority == "explicit"
        if packages:
            out.places.index(url, place, name=name, packages=packages)
        elif default:
            out.left(place, f"index {url}", _INDEX, _INDEX_HINT)
        elif not explicit:
            out.places.index(url, place, name=name)
            if at[1] != "pdm":
                out.left(place, f"index {name or url}", _SHARED, _SHARED_HINT)
    for name, those in chosen.items():
        for package, place in those:
            out.left(place, f"{package} from index {name}", _NO_INDEX, _INDEX_HINT)


def _pdm(out: Collector, doc: Document) -> None:
    _groups(out, doc, "tool", "pdm", "dev-dependencies")
    _indexes(out, doc, ("tool", "pdm", "source"), {})
    where = ("tool", "pdm", "resolution", "overrides")
    for name in doc.table(*where):
        what = f"{name} {doc.text(*where, name)}"
        hint = 'put it into a file, and write constraints = ["FILE"]'
        out.left(doc.place(*where, name), what, "PDM's overrides have no key here", hint)


def _poetry(out: Collector, doc: Document) -> None:
    at = ("tool", "poetry")
    chosen: dict[str, list[tuple[str, Place]]] = {}
    out.project(*(doc.text(*at, key) for key in ("name", "version", "description")))
    for name in doc.table(*at, "dependencies"):
        where = (*at, "dependencies", name)
        value = doc.get(*where)
        if name.lower() == "python":
            out.python_is(doc.text(*where) or "", doc.place(*where))
        elif isinstance(value, list):
            for index, one in enumerate(value):
                _poetry_dependency(out, name, one, doc.place(*where, index))
        else:
            _poetry_dependency(out, name, value, doc.place(*where))
            if isinstance(value, dict) and "source" in value:
                chosen.setdefault(str(value["source"]), []).append((name, doc.place(*where)))
    if doc.table(*at, "dev-dependencies"):
        names = ", ".join(doc.table(*at, "dev-dependencies"))
        place = doc.place(*at, "dev-dependencies")
        out.left(place, f"dev-dependencies ({names})", _GROUP, _GROUP_HINT)
    for group in doc.table(*at, "group"):
        names = ", ".join(doc.table(*at, "group", group, "dependencies"))
        what = f"group {group} ({names})"
        out.left(doc.place(*at, "group", group), what, _GROUP, _GROUP_HINT)
    _indexes(out, doc, (*at, "source"), chosen)
    if doc.table(*at, "scripts"):
        why = "the project's own code is not installed, so that it has no scripts"
        hint = 'write commands as ["python", "-m", "MODULE"]'
        out.left(doc.place(*at, "scripts"), "[tool.poetry.scripts]", why, hint)


def _poetry_dependency(out: Collector, name: str, value: Any, place: Place) -> None:
    from packaging.utils import canonicalize_name

    table = value if isinstance(value, dict) else {"version": value}
    version = table.get("version", "*")
    if any(key in table for key in ("git", "path", "url", "file")):
        out.elsewhere.add(str(canonicalize_name(name)))
        out.left(place, name, _SOURCE, PUBLISH)
        return
    if table.get("optional") is True:
        what = f"{name} {version}"
        out.left(place, what, "an optional dependency belongs to an extra", _GROUP_HINT)
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
