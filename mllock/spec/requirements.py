"""Python requirements: PEP 508 text in one canonical form, and the files that hold more of it.

A requirements or constraints file is read as pip reads one, limited to what means the same to
every resolver: PEP 508 lines, comments, continuation lines, `--find-links`, and `-r`/`-c` of files
inside of the project. Every other option of pip's is an error at its line. Which index answers is a
matter of pip's own settings and of [[environment.indexes]], not of these files.

Law: `canonical(canonical(text)) == canonical(text)`; order and layout never change `declared`.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mllock.errors import SpecError
from mllock.spec.builds import check_builds
from mllock.spec.direct import DIRECT, parse_reference
from mllock.spec.links import is_page, link_problem
from mllock.spec.loaded import LoadedSpec
from mllock.spec.pip_lines import instead_of_line, instead_of_option
from mllock.spec.pyproject import file_and_extras, is_pyproject, own_requirements

__all__ = [
    "Declared",
    "canonical",
    "declared",
    "logical_lines",
    "parts_of",
    "places_of",
    "shown",
]

MAX_FILE = 1024 * 1024

_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(\S.*)")
_LINKS = re.compile(r"(?:-f|--find-links)(?:\s*=\s*|\s+|(?<=-f))(\S.*)")
_COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """Canonical PEP 508 texts, each sorted and without duplicates."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    # Folders, from the project, and URLs of pages, each once, in their order.
    find_links: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    file: str
    number: int
    text: str
    constraint: bool


def canonical(text: str) -> str:
    """PEP 508 with the name normalised, extras and specifiers sorted, spaces as PEP 508 shows.

    Raises ValueError with the reason.
    """
    name, extras, specifier, marker = parts_of(text)
    out = name + (f"[{','.join(extras)}]" if extras else "") + specifier
    # PEP 508: a URL ends where a space is.
    space = " " if specifier.startswith(DIRECT) else ""
    return f"{out}{space}; {marker}" if marker else out


def parts_of(text: str) -> tuple[str, tuple[str, ...], str, str]:
    """Normalised name, sorted extras, sorted specifier or " @ URL", marker. Raises ValueError."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise ValueError(reason[:1].lower() + reason[1:]) from None
    specifier = ",".join(sorted(str(item) for item in requirement.specifier))
    if requirement.url is not None:
        specifier = f"{DIRECT}{parse_reference(requirement.url)}"
    return (
        str(canonicalize_name(requirement.name)),
        tuple(sorted(str(canonicalize_name(extra)) for extra in requirement.extras)),
        specifier,
        str(requirement.marker) if requirement.marker else "",
    )


def shown(text: str) -> str:
    """A requirement that may hold a password, as it may be shown."""
    return re.sub(r"(?<=://)(?!\$\{)[^/\s@]+@", "***@", text)


def declared(project: Path, loaded: LoadedSpec) -> Declared:
    """All requirements and constraints of the spec and of the files that it names.

    Raises SpecError at the line of the spec or of the file.
    """
    environment = loaded.spec.environment
    lines: list[_Line] = []
    seen: set[tuple[str, bool]] = set()
    for key, names in (
        ("requirements", environment.requirements),
        ("constraints", environment.constraints),
    ):
        for index, name in enumerate(names):
            problem = _problem(project, file_and_extras(name)[0])
            if problem:
                raise loaded.error(problem, "environment", key, index, found=name)
            if key == "requirements":
                lines += _lines_of(project, loaded, name, seen)
            else:
                lines += _read(project, name, constraint=True, seen=seen)
    links = [*environment.find_links]
    found = [(line, _LINKS.fullmatch(line.text)) for line in lines]
    links += [_link(project, line, match[1]) for line, match in found if match is not None]
    lines = [line for line, match in found if match is None]
    requirements = {canonical(text) for text in environment.dependencies}
    requirements |= {_canonical_line(line) for line in lines if not line.constraint}
    check_builds(loaded, requirements)
    constraints = {_canonical_line(line) for line in lines if line.constraint}
    return Declared(
        requirements=tuple(sorted(requirements)),
        constraints=tuple(sorted(constraints)),
        find_links=tuple(dict.fromkeys(links)),
    )


def places_of(project: Path, loaded: LoadedSpec) -> dict[str, tuple[str, int | None]]:
    """File and line of each requirement that `declared` answers with. Raises as it does."""
    environment = loaded.spec.environment
    found: dict[str, tuple[str, int | None]] = {}
    for index, text in enumerate(environment.dependencies):
        place = loaded.path.name, loaded.place(f"environment.dependencies[{index}]")
        found.setdefault(canonical(text), place)
    seen: set[tuple[str, bool]] = set()
    for name in environment.requirements:
        for line in _lines_of(project, loaded, name, seen):
            if not line.constraint and _LINKS.fullmatch(line.text) is None:
                found.setdefault(_canonical_line(line), (line.file, line.number))
    return found


def _lines_of(
    project: Path, loaded: LoadedSpec, name: str, seen: set[tuple[str, bool]]
) -> Iterator[_Line]:
    """The lines of an entry of `requirements`."""
    if is_pyproject(name):
        return _own(project, loaded, *file_and_extras(name))
    return _read(project, name, constraint=False, seen=seen)


def _own(project: Path, loaded: LoadedSpec, file: str, extras: tuple[str, ...]) -> Iterator[_Line]:
    environment = loaded.spec.environment
    known = {name for text in environment.dependencies if (name := _named(text))}
    known |= {parts_of(name)[0] for index in environment.indexes for name in index.packages}
    data = _text(project, file).encode()
    found = own_requirements(data, file, extras, python=environment.python, known=known)
    for number, text in found:
        yield _Line(file=file, number=number, text=text, constraint=False)


def _named(text: str) -> str | None:
    name, _, specifier, _ = parts_of(text)
    return name if specifier.startswith(DIRECT) else None


def _link(project: Path, line: _Line, text: str) -> str:
    """A `--find-links` line: a page, or a folder: beside the file, or else from the project, as
    pip looks for it. Whether it is there is asked when wheels are looked for."""
    link = text.strip("\"'")
    if not is_page(link):
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(line.file), link))
        link = beside if (project / beside).is_dir() or link.startswith("../") else link
    problem = link_problem(link)
    if problem is not None:
        message, shown, hint = problem
        raise SpecError(message, file=line.file, line=line.number, found=shown, hint=hint)
    return link


def _canonical_line(line: _Line) -> str:
    option = re.search(r"(?:^|\s)(--?[a-z][a-z-]*)", line.text)
    if option:
        raise SpecError(
            "this option of pip's is not read here",
            file=line.file,
            line=line.number,
            expected="PEP 508 requirements, comments, -r FILE, -c FILE and --find-links FOLDER",
            found=option[1],
            hint=instead_of_option(option[1], line.text),
        )
    try:
        name, extras, specifier, _ = parts_of(line.text)
        text = canonical(line.text)
    except ValueError as error:
        raise SpecError(
            f"not a requirement: {error}",
            file=line.file,
            line=line.number,
            expected='PEP 508, e.g. "pandas>=2,<3"',
            found=shown(line.text),
            hint=instead_of_line(line.text),
        ) from None
    if line.constraint and specifier.startswith(DIRECT):
        raise SpecError(
            "a constraint cannot be a URL",
            file=line.file,
            line=line.number,
            found=line.text,
            hint=f'write "{text}" into dependencies, if the project needs it',
        )
    if line.constraint and extras:
        raise SpecError(
            "a constraint cannot have extras",
            file=line.file,
            line=line.number,
            found=line.text,
            hint=f'write "{name}" without them',
        )
    return text


def _read(
    project: Path, name: str, *, constraint: bool, seen: set[tuple[str, bool]]
) -> Iterator[_Line]:
    name = posixpath.normpath(name)
    if (name, constraint) in seen:
        return
    seen.add((name, constraint))
    for number, text in logical_lines(_text(project, name)):
        include = _INCLUDE.fullmatch(text)
        if include is None:
            yield _Line(file=name, number=number, text=text, constraint=constraint)
            continue
        target = posixpath.join(posixpath.dirname(name), include[2].strip("\"'"))
        problem = _problem(project, target)
        if problem:
            raise SpecError(problem, file=name, line=number, found=include[2])
        narrower = constraint or include[1] in ("-c", "--constraint")
        yield from _read(project, target, constraint=narrower, seen=seen)


def _problem(project: Path, name: str) -> str | None:
    """Why the file `name` cannot be read as part of the project."""
    root = Path(os.path.realpath(project))
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        return "this file is outside of the project"
    try:
        if path.is_dir():
            return "this is a folder, not a file"
        return None if path.is_file() else "no such file"
    except OSError as error:
        return f"cannot be read: {(error.strerror or str(error)).lower()}"


def _text(project: Path, name: str) -> str:
    try:
        data = (project / name).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"cannot be read: {reason}", file=name) from error
    if len(data) > MAX_FILE:
        raise SpecError(f"more than {MAX_FILE} bytes of requirements", file=name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError("not UTF-8", file=name, line=line) from None


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines as pip sees them: joined at a last backslash, without comments, none empty."""
    joined, first = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        if not joined:
            first = number
        comment_only = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment_only:
            joined += line[:-1]
            continue
        joined += "" if comment_only and joined else line
        stripped = _COMMENT.sub("", joined).strip()
        joined = ""
        if stripped:
            yield first, stripped
    stripped = _COMMENT.sub("", joined).strip()
    if stripped:
        yield first, stripped
