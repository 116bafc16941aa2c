"""uv.lock, poetry.lock, pdm.lock and pylock.toml: exact versions that the first lock begins with.

Beside a pyproject.toml they are pins only. Alone, uv.lock says what the project itself asks for;
the others do not, so that every package becomes a requirement, and that is said; so are the
indexes, groups and extras that a pyproject.toml would have named.
"""

from __future__ import annotations

from collections.abc import Callable

from mllock.errors import InputError
from mllock.spec.importing.documents import Document
from mllock.spec.importing.found import PUBLISH, Collector
from mllock.spec.importing.pylock import read_pylock
from mllock.spec.importing.pyproject_indexes import elsewhere
from mllock.spec.importing.pythons import marker_holds
from mllock.spec.importing.registries import Registries
from mllock.spec.importing.unread import leave_group, leave_unread

__all__ = ["read_lock_file"]

MAX_PACKAGES = 20_000
_QUIET_UV = {
    "version", "revision", "requires-python", "resolution-markers", "supported-markers",
    "required-markers", "package", "manifest",
}  # fmt: skip
_ALL = "does not say which packages the project asks for: each became a requirement"
_ALL_HINT = (
    "remove from dependencies what your code does not import; mllock lock adds what they need"
)


def read_lock_file(out: Collector, doc: Document, *, alone: bool) -> None:
    """Read a lock by the name of its file. `alone`: there is no file of requirements."""
    out.read(doc.file)
    base = doc.file.rpartition("/")[2].lower()
    key = "package" if base in _READERS else "packages"
    if len(doc.array(key)) > MAX_PACKAGES:
        raise InputError(f"more than {MAX_PACKAGES} packages", file=doc.file, line=1)
    if base in _READERS:
        _READERS[base](out, doc, alone)
    else:
        read_pylock(out, doc, alone=alone)
    if alone and base != "uv.lock":
        out.left(doc.place(), doc.file, _ALL, _ALL_HINT)


def _uv(out: Collector, doc: Document, alone: bool) -> None:
    if "requires-python" in doc.table():
        out.python_is(doc.text("requires-python") or "", doc.place("requires-python"))
    versions: dict[str, list[int]] = {}
    for index in range(len(doc.array("package"))):
        at = ("package", index)
        name, version = doc.text(*at, "name") or "", doc.text(*at, "version")
        source = doc.table(*at, "source")
        if "editable" in source or "virtual" in source:
            if alone:
                _uv_root(out, doc, index, source)
        elif "registry" not in source:
            elsewhere(out, name, doc.place("package", index))
        elif version is not None:
            versions.setdefault(name, []).append(index)
    registries = Registries()
    for name, found in versions.items():
        fits = [index for index in found if _uv_fits(out, doc, index)] if found[1:] else found
        if len(fits) == 1:
            place = doc.place("package", fits[0], "version")
            out.pin(name, doc.text("package", fits[0], "version") or "", place)
            url = doc.text("package", fits[0], "source", "registry") or ""
            registries.add(url, name, doc.place("package", fits[0], "source"))
        else:
            what = f"{name} in {len(found)} versions"
            why = "which one an image of Linux has is not clear, so that none is a pin"
            out.left(doc.place("package", found[0]), what, why)
    if alone:
        registries.carry(out)
        leave_unread(out, doc, quiet=_QUIET_UV)
        leave_unread(out, doc, "manifest", quiet={"members"})


def _uv_fits(out: Collector, doc: Document, index: int) -> bool:
    markers = doc.texts("package", index, "resolution-markers")
    return not markers or any(marker_holds(text, out.python) for text, _ in markers)


def _uv_root(out: Collector, doc: Document, index: int, source: dict[str, object]) -> None:
    at = ("package", index)
    if not any(source.get(kind) == "." for kind in ("editable", "virtual")):
        why = "a package of the workspace is not installed: code is copied into the images"
        out.left(doc.place(*at), doc.text(*at, "name") or "", why, PUBLISH)
        return
    out.project(doc.text(*at, "name"), doc.text(*at, "version"), None)
    for group in doc.table(*at, "metadata", "requires-dev"):
        of = (*at, "metadata", "requires-dev", group)
        names = [doc.text(*of, number, "name") or "" for number in range(len(doc.array(*of)))]
        leave_group(out, doc.place(*of), f"group {group}", names)
    for number in range(len(doc.array(*at, "metadata", "requires-dist"))):
        where = (*at, "metadata", "requires-dist", number)
        name = doc.text(*where, "name") or ""
        extras = [text for text, _ in doc.texts(*where, "extras")]
        text = name + (f"[{','.join(extras)}]" if extras else "")
        marker, ranges = doc.text(*where, "marker"), doc.text(*where, "specifier") or ""
        if any(doc.get(*where, kind) for kind in ("git", "url", "path", "directory", "editable")):
            continue  # the package itself is a leftover
        if marker and "extra ==" in marker:
            what = f"{text}{ranges} of an extra"
            out.left(doc.place(*where), what, "an extra is a choice that the file does not make")
            continue
        out.requirement(f"{text}{ranges}" + (f"; {marker}" if marker else ""), doc.place(*where))


def _poetry(out: Collector, doc: Document, alone: bool) -> None:
    python = doc.text("metadata", "python-versions")
    if python and python != "*":
        out.python_is(python, doc.place("metadata", "python-versions"))
    registries = Registries()
    groups: dict[str, list[int]] = {}
    for index in range(len(doc.array("package"))):
        at = ("package", index)
        name, version = doc.text(*at, "name") or "", doc.text(*at, "version") or ""
        if doc.text(*at, "source", "type") in ("git", "url", "directory", "file"):
            elsewhere(out, name, doc.place(*at))
            continue
        marker = doc.get(*at, "markers")
        if isinstance(marker, dict):
            marker = doc.text(*at, "markers", "main")
        named = [text for text, _ in doc.texts(*at, "groups")]
        named = named or [doc.text(*at, "category") or "main"]
        if not marker or marker_holds(str(marker), out.python):
            out.pin(name, version, doc.place(*at, "version"))
        if "main" not in named:
            for group in named:
                groups.setdefault(group, []).append(index)
        elif alone and doc.get(*at, "optional") is not True:
            text = f"{name}=={version}" + (f"; {marker}" if marker else "")
            out.requirement(text, doc.place(*at))
            if doc.text(*at, "source", "url"):
                registries.add(doc.text(*at, "source", "url") or "", name, doc.place(*at, "source"))
    if alone:
        registries.carry(out, default=False)
        _beside(out, doc, groups)
        for extra in doc.table("extras"):
            texts = [text for text, _ in doc.texts("extras", extra)]
            leave_group(out, doc.place("extras", extra), f"extra {extra}", texts)


def _pdm(out: Collector, doc: Document, alone: bool) -> None:
    for index in range(len(doc.array("metadata", "targets"))):
        where = ("metadata", "targets", index, "requires_python")
        if doc.text(*where):
            out.python_is(doc.text(*where) or "", doc.place(*where))
    groups: dict[str, list[int]] = {}
    for index in range(len(doc.array("package"))):
        at = ("package", index)
        name, version = doc.text(*at, "name") or "", doc.text(*at, "version")
        if version is None or any(doc.get(*at, kind) for kind in ("git", "url", "path")):
            elsewhere(out, name, doc.place(*at))
            continue
        if doc.get(*at, "extras"):
            continue  # the same package again, and what its extras bring
        marker = doc.text(*at, "marker")
        if not marker or marker_holds(marker, out.python):
            out.pin(name, version, doc.place(*at, "version"))
        named = [text for text, _ in doc.texts(*at, "groups")]
        if named and "default" not in named:
            for group in named:
                groups.setdefault(group, []).append(index)
        elif alone:
            text = f"{name}=={version}" + (f"; {marker}" if marker else "")
            out.requirement(text, doc.place(*at))
    if alone:
        _beside(out, doc, groups)


def _beside(out: Collector, doc: Document, groups: dict[str, list[int]]) -> None:
    """Groups of packages that no pyproject.toml has listed."""
    for group, those in groups.items():
        names = [doc.text("package", index, "name") or "" for index in those]
        leave_group(out, doc.place("package", those[0]), f"group {group}", names)


_READERS: dict[str, Callable[[Collector, Document, bool], None]] = {
    "uv.lock": _uv,
    "poetry.lock": _poetry,
    "pdm.lock": _pdm,
}
