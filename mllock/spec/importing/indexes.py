"""Package indexes and places of wheels that an imported project names, and where in a file it does.

An index beside the default one, or one for some packages alone, means the same in mlproject.toml;
so do a folder of the project and a page of wheels. Credentials are left out, and said to be: those
of an index become `${NAME}`, a variable for each; `${NAME}` that is there is kept. Of an index in
the place of the default one it is said that the default one is asked as well.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from mllock.spec.hints import normalised_name
from mllock.spec.importing.secrets import reveals
from mllock.spec.links import link_problem

__all__ = ["Index", "Place", "Places"]

_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_INDEX_URL = re.compile(r"(?P<scheme>https?://)(?P<user>[^/?#\s]*@)?(?P<rest>[^/?#\s@]+[^?#\s]*)")
_NAMED_USER = re.compile(r"\$\{\w+\}(:\$\{\w+\})?")
_VARIABLES_HINT = (
    "set {}where you lock; or take them out of the URL, and keep user and password in netrc"
)
_USER_HINT = (
    "keep them in netrc; or write ${NAME} where they were, and set that variable where you lock"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A line of a file of the imported project, named from its folder."""

    file: str
    line: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """A package index beside the default one, as [[environment.indexes]] has it."""

    name: str
    url: str
    packages: tuple[str, ...] = ()


class _Left(Protocol):
    def __call__(self, place: Place, what: str, why: str, hint: str | None = None) -> None: ...


class Places:
    """`left` takes what cannot be carried over."""

    def __init__(self, left: _Left) -> None:
        self.left = left
        self.indexes: dict[str, Index] = {}  # by URL without user
        self.links: dict[str, None] = {}

    def index(
        self, url: str, place: Place, *, name: str = "", packages: Iterable[str] = ()
    ) -> None:
        """One more index; with `packages`, the only one for these. Its credentials are left out."""
        match = _INDEX_URL.fullmatch(url)
        if match is None or _CONTROL.search(url):
            why = "not the URL of an index that the spec can hold"
            self.left(place, f"index {url}", why, "name it in pip's settings, e.g. pip.conf")
            return
        plain = f"{match['scheme']}{match['rest']}"
        first = self.indexes.get(plain)
        if first is None:
            first = Index(name=self._index_name(name or match["rest"].split("/")[0]), url=plain)
        if match["user"] and first.url == plain:
            user = self._user(match["user"][:-1], first.name, url, place)
            first = replace(first, url=f"{match['scheme']}{user}@{match['rest']}")
        taken = {package for one in self.indexes.values() for package in one.packages}
        names = {*first.packages, *(normalised_name(package) for package in packages)}
        names -= taken - set(first.packages)
        self.indexes[plain] = replace(first, packages=tuple(sorted(names)))

    def _user(self, user: str, name: str, url: str, place: Place) -> str:
        """What stands in the URL of the index `name` for its credentials."""
        if _NAMED_USER.fullmatch(user) is not None:
            return user
        stem = re.sub(r"[^A-Z0-9]", "_", name.upper())
        stem = stem if stem[:1].isalpha() else f"INDEX_{stem}"
        names = [f"{stem}_USER", f"{stem}_PASSWORD"] if ":" in user else [f"{stem}_TOKEN"]
        why = f"is in [[environment.indexes]] with {' and '.join(names)} in the place of its own"
        self.left(place, f"index {url}", why, _VARIABLES_HINT.format(f"{' and '.join(names)} "))
        return ":".join(f"${{{variable}}}" for variable in names)

    def _index_name(self, text: str) -> str:
        stem = normalised_name(text) or "index"
        taken = {one.name for one in self.indexes.values()}
        number, name = 2, stem
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        return name

    def link(self, link: str, place: Place) -> None:
        """A folder of the project, or a page, with wheels. Its credentials are left out."""
        match = _INDEX_URL.fullmatch(link)
        if match is not None and match["user"] and not _NAMED_USER.fullmatch(match["user"][:-1]):
            why = "is in find-links without user and password"
            self.left(place, f"--find-links {link}", why, _USER_HINT)
            link = f"{match['scheme']}{match['rest']}"
        folder = "" if match is not None else posixpath.normpath(link)
        problem = link_problem(link) if match is not None or folder else None
        if problem is None and (_CONTROL.search(link) or "$" in folder or reveals(link)):
            problem = ("not a place that the spec can hold", None, None)
        if problem is not None:
            hint = "set PIP_FIND_LINKS, or write it into pip.conf"
            self.left(place, f"--find-links {link}", problem[0], hint)
            return
        self.links.setdefault(folder or link)
