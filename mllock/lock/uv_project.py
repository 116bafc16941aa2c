"""What uv is asked where packages have an index of their own: a project and stand-ins.

A pyproject.toml is the only form in which uv takes a package from one index and from no other, and
it does for what is asked for there by name. So markers are decided here, and for a package of such
an index that is not asked for by name there is a stand-in: an empty wheel, which uv is told to take
in the place of whatever asks for that package. Nothing is looked for under its name then, and
whether it is needed is seen from the answer, which has the stand-in. See ADR 0075 and 0105.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mllock.lock.chooser import Question
from mllock.lock.indexes import assigned, bare_url
from mllock.lock.toml import write
from mllock.spec.meaning import package_name

__all__ = ["Project", "write_project"]

_PROJECT, _STAND_INS, _CONSTRAINTS = "pyproject.toml", "stand-ins", "constraints-of-project.txt"
_OVERRIDES = "stand-ins.txt"
_LEADING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = "0+stand.in"


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """`source` and `options` are for uv's command line; `stand_ins` are names of packages."""

    source: str
    options: tuple[str, ...]
    stand_ins: frozenset[str]


def write_project(folder: Path, question: Question, kept: str) -> Project:
    """Put what uv reads into `folder`. `kept` is the file of pins there, which loses those of the
    packages that there are stand-ins for."""
    text, stand_ins = _project(question)
    (folder / _PROJECT).write_text(text)
    _without(folder / kept, folder / kept, stand_ins)
    _without(folder / question.constraints, folder / _CONSTRAINTS, stand_ins)
    options = ["--constraints", _CONSTRAINTS]
    if stand_ins:
        lines = [f"{name} @ {_stand_in(folder, name)}\n" for name in sorted(stand_ins)]
        (folder / _OVERRIDES).write_text("".join(lines))
        options += ["--overrides", _OVERRIDES]
    return Project(source=_PROJECT, options=tuple(options), stand_ins=frozenset(stand_ins))


def _project(question: Question) -> tuple[str, set[str]]:
    """The text of pyproject.toml, and which packages with an index are not asked for by name."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    own = assigned(question.indexes)
    asked: dict[str, str] = {}
    for text in question.asked:
        requirement = Requirement(text)
        if requirement.url is not None:  # it comes from there, and from no index
            own.pop(str(canonicalize_name(requirement.name)), None)
        name = str(canonicalize_name(requirement.name))
        if name not in own:
            asked[text] = ""
        elif not requirement.marker or requirement.marker.evaluate(dict(question.target.markers())):
            requirement.marker = None
            asked[str(requirement)] = name
    named = {name for name in asked.values() if name}
    rows = [
        {"name": index.name, "url": bare_url(index), "explicit": True}
        for index in sorted(set(own.values()), key=lambda item: item.name)
    ]
    document = {
        "project": {"name": "mllock-question", "version": "0", "dependencies": list(asked)},
        "tool": {
            "uv": {
                "sources": {name: {"index": own[name].name} for name in sorted(named)},
                "index": rows,
            }
        },
    }
    return write(document, tables=(("tool", "uv", "index"),)), own.keys() - named


def _without(source: Path, target: Path, names: Iterable[str]) -> None:
    """The lines of `source` that are about none of `names`."""
    lines = source.read_text().splitlines(keepends=True)
    heads = ((match[0] if (match := _LEADING.match(line)) else "", line) for line in lines)
    target.write_text("".join(line for head, line in heads if package_name(head) not in names))


def _stand_in(folder: Path, name: str) -> str:
    """The URL of an empty wheel."""
    import zipfile

    place = folder / _STAND_INS
    place.mkdir(exist_ok=True)
    stem = f"{name.replace('-', '_')}-{_VERSION}"
    path = place / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {_VERSION}\n"
        archive.writestr(f"{stem}.dist-info/METADATA", head)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{stem}.dist-info/WHEEL", tags)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path.absolute().as_uri()
