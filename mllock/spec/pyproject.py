"""`requirements = ["pyproject.toml"]`: what the project itself asks for (PEP 621); nothing is run.

`pyproject.toml[train,serve]` takes extras as well. Nothing else of the file counts: so a tool's
table, a version or a comment makes no lock stale. What would make the same lines mean something
else is an error: computed dependencies, another Python, sources that only uv knows. The project's
own code is not installed: it is the code layer, and `PYTHONPATH` says where in it packages are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from mllock.errors import SpecError

if TYPE_CHECKING:
    from mllock.spec.importing.documents import Document

__all__ = ["file_and_extras", "is_pyproject", "own_requirements"]

_NAMED = re.compile(r"(?P<file>(?:.*/)?pyproject\.toml)(?:\[(?P<extras>[^\]]*)\])?")


def is_pyproject(name: str) -> bool:
    return _NAMED.fullmatch(name) is not None


def file_and_extras(name: str) -> tuple[str, tuple[str, ...]]:
    """The file of an entry of `requirements`, and the extras behind it."""
    match = _NAMED.fullmatch(name)
    if match is None:
        return name, ()
    extras = tuple(part.strip() for part in (match["extras"] or "").split(",") if part.strip())
    return match["file"], extras


def own_requirements(
    data: bytes, file: str, extras: Collection[str], *, python: str, known: Collection[str]
) -> Iterator[tuple[int, str]]:
    """Line and text of each requirement. `python` is that of the image; `known` are packages of
    which the spec says where they come from. Raises SpecError."""
    from mllock.errors import InputError
    from mllock.spec.importing.documents import read_toml

    try:
        doc = read_toml(data, file)
        found = list(_read(doc, extras, python))
    except SpecError:
        raise
    except InputError as error:
        raise SpecError(
            error.message, file=file, line=error.line, key=error.key, expected=error.expected,
            found=error.found, hint=error.hint,
        ) from None  # fmt: skip
    names = {_name(text) for _, text in found}
    for source in doc.table("tool", "uv", "sources"):
        if _normal(source) in names - set(known):
            raise SpecError(
                f"{_normal(source)} comes from elsewhere for uv, which the spec does not say",
                file=file,
                line=doc.place("tool", "uv", "sources", source).line,
                hint='write "NAME @ URL" into dependencies of mlproject.toml, or the package into '
                "[[environment.indexes]]",
            )
    yield from found


def _read(doc: Document, extras: Collection[str], python: str) -> Iterator[tuple[int, str]]:
    if not doc.table("project"):
        raise SpecError(
            "names no dependencies: it has no [project]",
            file=doc.file,
            expected="[project] dependencies (PEP 621)",
            hint="write them into dependencies of mlproject.toml",
        )
    for text, place in doc.texts("project", "dynamic"):
        if text in ("dependencies", "optional-dependencies"):
            raise SpecError(
                f"its {text} are computed when the project is built, and nothing of it is run",
                file=doc.file,
                line=place.line,
                hint="name the file that they are read from in requirements",
            )
    _fits(doc, python)
    yield from _texts(doc, "project", "dependencies")
    own = _normal(doc.text("project", "name") or "")
    waiting, seen = [_normal(extra) for extra in extras], set[str]()
    tables = {_normal(name): name for name in doc.table("project", "optional-dependencies")}
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in tables:
            raise SpecError(
                f"it has no extra {extra!r}",
                file=doc.file,
                expected=", ".join(tables) or "none is declared",
                hint="see [project.optional-dependencies]",
            )
        for line, text in _texts(doc, "project", "optional-dependencies", tables[extra]):
            if _name(text) == own:  # all = ["this-project[train,serve]"]
                inner = re.search(r"\[([^\]]*)\]", text)
                waiting += [_normal(name) for name in (inner[1].split(",") if inner else ())]
            else:
                yield line, text


def _texts(doc: Document, *where: str) -> Iterator[tuple[int, str]]:
    for index, text in enumerate(doc.array(*where)):
        if not isinstance(text, str):
            raise doc.wrong((*where, index), "a string")
        yield doc.place(*where, index).line, text


def _fits(doc: Document, python: str) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    text = doc.text("project", "requires-python")
    if not text:
        return
    try:
        wanted = SpecifierSet(text)
    except InvalidSpecifier:
        wanted = None
    if wanted is None or not any(wanted.contains(f"{python}.{patch}") for patch in range(100)):
        raise SpecError(
            "its requires-python does not allow the Python of the image",
            file=doc.file,
            line=doc.place("project", "requires-python").line,
            expected=f"Python {python}, as environment.python says",
            found=text,
        )


def _name(text: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", text)
    return _normal(match[1]) if match else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
