"""uv.lock, poetry.lock and pylock.toml: exact versions that the first lock begins with.

Beside a pyproject.toml they are pins only. Alone, uv.lock says what the project itself asks for;
the other two do not, so that every package becomes a requirement, and that is said.
"""

from __future__ import annotations

from mllock.errors import InputError
from mllock.spec.importing.documents import Document
from mllock.spec.importing.found import PUBLISH, Collector
from mllock.spec.importing.pythons import marker_holds

__all__ = ["read_lock_file"]

MAX_PACKAGES = 20_000
_SOURCE = "comes from a repository, URL or folder, and cannot be locked by version"
_ALL = "does not say which packages the project asks for: each became a requirement"
_ALL_HINT = (
    "remove from dependencies what your code does not import; mllock lock adds what they need"
)


def read_lock_file(out: Collector, doc: Document, *, alone: bool) -> None:
    """Read a lock by the name of its file. `alone`: there is no file of requirements."""
    out.read(doc.file)
    base = doc.file.rpartition("/")[2]
    read = _uv if base == "uv.lock" else _poetry if base == "poetry.lock" else _pylock
    key = "packages" if read is _pylock else "package"
    if len(doc.array(key)) > MAX_PACKAGES:
        raise InputError(f"more than {MAX_PACKAGES} packages", file=doc.file, line=1)
    read(out, doc, alone)


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
            _elsewhere(out, doc, index, "package", name)
        elif version is not None:
            versions.setdefault(name, []).append(index)
    for name, found in versions.items():
        fits = [index for index in found if _uv_fits(out, doc, index)] if found[1:] else found
        if len(fits) == 1:
            place = doc.place("package", fits[0], "version")
            out.pin(name, doc.text("package", fits[0], "version") or "", place)
        else:
            what = f"{name} in {len(found)} versions"
            why = "which one an image of Linux has is not clear, so that none is a pin"
            out.left(doc.place("package", found[0]), what, why)


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
    for index in range(len(doc.array("package"))):
        at = ("package", index)
        name, version = doc.text(*at, "name") or "", doc.text(*at, "version") or ""
        if doc.text(*at, "source", "type") in ("git", "url", "directory", "file"):
            _elsewhere(out, doc, index, "package", name)
            continue
        marker = doc.get(*at, "markers")
        if isinstance(marker, dict):
            marker = doc.text(*at, "markers", "main")
        groups = [text for text, _ in doc.texts(*at, "groups")]
        category = doc.text(*at, "category") or "main"
        main = "main" in groups if groups else category == "main"
        optional = doc.get(*at, "optional") is True
        fits = not marker or marker_holds(str(marker), out.python)
        if fits:
            out.pin(name, version, doc.place(*at, "version"))
        if alone and main and not optional:
            text = f"{name}=={version}" + (f"; {marker}" if marker else "")
            out.requirement(text, doc.place(*at))
    if alone:
        out.left(doc.place(), doc.file, _ALL, _ALL_HINT)


def _pylock(out: Collector, doc: Document, alone: bool) -> None:
    version = doc.text("lock-version")
    if version is None or not version.startswith("1."):
        raise InputError(
            "not a PEP 751 lock of version 1",
            file=doc.file,
            line=doc.place("lock-version").line,
            found=version or "no lock-version",
        )
    if doc.text("requires-python"):
        out.python_is(doc.text("requires-python") or "", doc.place("requires-python"))
    for index in range(len(doc.array("packages"))):
        at = ("packages", index)
        name, pinned = doc.text(*at, "name") or "", doc.text(*at, "version")
        if pinned is None or any(doc.get(*at, kind) for kind in ("vcs", "directory", "archive")):
            _elsewhere(out, doc, index, "packages", name)
            continue
        marker = doc.text(*at, "marker")
        if marker and ("extras" in marker or "dependency_groups" in marker):
            why = "is for an extra or a group, which is a choice that the file does not make"
            out.left(doc.place(*at), f"{name} {pinned}", why)
            continue
        if not marker or marker_holds(marker, out.python):
            out.pin(name, pinned, doc.place(*at, "version"))
        if alone:
            text = f"{name}=={pinned}" + (f"; {marker}" if marker else "")
            out.requirement(text, doc.place(*at))
    if alone:
        out.left(doc.place(), doc.file, _ALL, _ALL_HINT)


def _elsewhere(out: Collector, doc: Document, index: int, key: str, name: str) -> None:
    from packaging.utils import canonicalize_name

    if str(canonicalize_name(name)) not in out.elsewhere:
        out.elsewhere.add(str(canonicalize_name(name)))
        out.left(doc.place(key, index), name, _SOURCE, PUBLISH)
