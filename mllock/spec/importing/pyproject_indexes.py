"""Where the packages of a pyproject.toml come from: indexes and sources of uv, Poetry and PDM.

One package may have several sources, each for some systems: the one that holds on Linux counts. A
package whose source is a path, a repository or a URL is noted before any dependency is read, so
that no package of the same name is taken from an index in its place.
"""

from __future__ import annotations

from typing import Any

from mllock.spec.importing.documents import Document
from mllock.spec.importing.found import PUBLISH, Collector, Place
from mllock.spec.importing.pythons import marker_holds

__all__ = [
    "SOURCE",
    "Chosen",
    "elsewhere",
    "poetry_paths",
    "read_indexes",
    "uv_settings",
    "uv_sources",
]

# Name of an index -> packages, with their places, that are to come from it alone.
Chosen = dict[str, list[tuple[str, Place]]]

SOURCE = "comes from a repository, URL or folder, and cannot be locked by version"
_INDEX = "which index stands in the place of the default one is a matter of pip's own settings"
_INDEX_HINT = (
    "set PIP_INDEX_URL, or write it into pip.conf; or list its packages in [[environment.indexes]]"
)
_SHARED = "is asked for every package here, and the best version of all indexes is taken"
_SHARED_HINT = "list in its packages what is to come from there alone"
_NO_INDEX = "no index of this name is declared"
_CHOICE = "is for an extra or a group, which is a choice that the file does not make"
_CHOICE_HINT = "list the package in packages of that index in [[environment.indexes]]"
# Poetry's priorities of a source that others have to give way to.
_DEFAULTS = ("primary", "default")
# Keys of an index that are read below, or that say nothing about packages.
_READ = {
    "name", "url", "priority", "default", "explicit", "include_packages", "type", "format",
    "publish-url", "authenticate", "cache-control", "ignore-error-codes",
}  # fmt: skip


def elsewhere(out: Collector, name: str, place: Place) -> None:
    """Note that `name` is no package of an index, and say so."""
    from packaging.utils import canonicalize_name

    plain = str(canonicalize_name(name))
    if plain not in out.elsewhere:
        out.elsewhere.add(plain)
        out.left(place, name, SOURCE, PUBLISH)


def uv_sources(out: Collector, doc: Document) -> Chosen:
    """Packages by the name of their only index; those from elsewhere are noted."""
    chosen: Chosen = {}
    for name in doc.table("tool", "uv", "sources"):
        where = ("tool", "uv", "sources", name)
        source = doc.get(*where)
        items = source if isinstance(source, list) else [source]
        tables = [item for item in items if isinstance(item, dict)]
        free = [item for item in tables if not item.get("extra") and not item.get("group")]
        here = [item for item in free if marker_holds(str(item.get("marker", "")), out.python)]
        for item in tables if len(free) < len(tables) else ():
            if item not in free:
                of = item.get("index") or item.get("url") or item.get("git") or item.get("path")
                out.left(doc.place(*where), f"{name} from {of}", _CHOICE, _CHOICE_HINT)
        if here and "index" in here[0]:
            chosen.setdefault(str(here[0]["index"]), []).append((name, doc.place(*where)))
        elif here or not tables:
            elsewhere(out, name, doc.place(*where))
    return chosen


def poetry_paths(out: Collector, doc: Document) -> None:
    """Note what Poetry takes from elsewhere: [project] may name it as if it were of an index."""
    for name in doc.table("tool", "poetry", "dependencies"):
        value = doc.get("tool", "poetry", "dependencies", name)
        if isinstance(value, dict) and {"git", "path", "url", "file"} & set(value):
            elsewhere(out, name, doc.place("tool", "poetry", "dependencies", name))


def uv_settings(out: Collector, doc: Document) -> None:
    """The older keys of uv for indexes, and its folders of wheels."""
    at = ("tool", "uv")
    for url, place in doc.texts(*at, "extra-index-url"):
        out.places.index(url, place)
    default = doc.text(*at, "index-url")
    if default:
        out.left(doc.place(*at, "index-url"), f"index {default}", _INDEX, _INDEX_HINT)
    for link, place in doc.texts(*at, "find-links"):
        out.places.link(link, place)


def read_indexes(out: Collector, doc: Document, at: tuple[str, ...], chosen: Chosen) -> None:
    """Uv's indexes, PDM's and Poetry's sources. `chosen` are packages that name one of them."""
    for number, item in enumerate(doc.array(*at)):
        place = doc.place(*at, number)
        table = item if isinstance(item, dict) else {}
        url, name = str(table.get("url", "")), str(table.get("name", ""))
        for key in sorted(set(table) - _READ):
            out.left(place, f"{key} of index {name or url}", "has no counterpart here")
        packages = [package for package, _ in chosen.pop(name, [])]
        packages += _included(out, table, name, place)
        if table.get("type") == "find_links" or table.get("format") == "flat":
            out.places.link(url, place)
            if packages:
                listed = ", ".join(packages)
                why = "a page of wheels is asked for every package"
                out.left(place, f"{listed} from {name or url}", why)
            continue
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


def _included(out: Collector, table: dict[str, Any], name: str, place: Place) -> list[str]:
    """PDM's include_packages, less patterns: what they match is not known here."""
    listed = table.get("include_packages")
    plain = []
    for one in map(str, listed if isinstance(listed, list) else ()):
        if one == "*":
            continue
        if "*" in one:
            hint = "list in its packages what is to come from there alone"
            out.left(place, f"{one} from index {name}", "a pattern is not a package", hint)
        else:
            plain.append(one)
    return plain
