"""Who gathers what the files of other tools say (`results`).

Every reader puts what it finds into a `Collector`, which keeps the rules of mlproject.toml: what
the spec would refuse becomes a `Leftover` (file, line, what, why, what to do), never a silent
loss. The first that is found of a thing counts; another one is a leftover. Whatever holds a
credential is left out, and never repeated.
"""

from __future__ import annotations

import posixpath
import re
import shlex

from mllock.core import safepath
from mllock.errors import InputError
from mllock.spec.direct import reference_in
from mllock.spec.hints import normalised_name
from mllock.spec.importing.commands import RUNNERS, words_of
from mllock.spec.importing.indexes import Place, Places
from mllock.spec.importing.joining import joined
from mllock.spec.importing.results import Data, Found, Leftover, Program, Requirement
from mllock.spec.importing.secrets import is_secret_name, one_line, reveals
from mllock.spec.requirements import canonical, parts_of
from mllock.spec.rules_paths import RESERVED
from mllock.spec.rules_programs import hook_reason
from mllock.spec.sources import Problem, problem
from mllock.spec.types import Scalar

__all__ = ["Collector", "Data", "Found", "Leftover", "Place", "Program", "Requirement"]

PUBLISH = (
    'write it as "NAME @ URL" into dependencies, and into builds if it has to be built; or put a '
    "wheel of it into a folder that find-links names"
)
# What "pip freeze" says of a package that conda installed.
_CONDAS = 'write it with the version that "pip list" shows, or add a wheel of it to find-links'
# In a Dockerfile and in requirements: what installs the others.
_TOOLS = (
    "pip", "setuptools", "wheel", "poetry", "pipenv", "pdm", "uv", "pip-tools", "pipx", "virtualenv"
)  # fmt: skip
MAX_REQUIREMENT = 4096
MAX_DATA = 500
MAX_LEFTOVERS = 2_000
_DEBIAN_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]+")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class Collector:
    """Gathers; the readers of one import share it."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.name = ""
        self.version: str | None = None
        self.description: str | None = None
        self.python: str | None = None
        # Whether a file names one version; a range may yet be narrowed by a base.
        self.python_exact = False
        self.base: str | None = None
        self.requirements: dict[tuple[str, str], Requirement] = {}
        self.pins: dict[str, str] = {}
        self.packages: dict[str, Place] = {}
        self.variables: dict[str, str] = {}
        self.data: list[Data] = []
        self.train: Program | None = None
        self.serve: Program | None = None
        self.port: int | None = None
        self.health: str | None = None
        self.leftovers: dict[Leftover, None] = {}  # in their order, each once
        # Names whose source is not an index: no other package of that name is meant.
        self.elsewhere: set[str] = set()
        self.places = Places(self.left)

    def read(self, file: str) -> bool:
        """Note that `file` is read; False if it was already."""
        if file in self.files:
            return False
        self.files.append(file)
        return True

    def left(self, place: Place, what: str, why: str, hint: str | None = None) -> None:
        if len(self.leftovers) >= MAX_LEFTOVERS:
            what = f"more than {MAX_LEFTOVERS} things that cannot be carried over"
            raise InputError(what, file=place.file, line=place.line)
        hidden = reveals(what)
        why += ", and credentials in it were left out" if hidden else ""
        found = Leftover(
            place=place, what=one_line(what), why=one_line(why), hint=hint and one_line(hint)
        )
        self.leftovers[found] = None

    def project(self, name: str | None, version: str | None, description: str | None) -> None:
        self.name = self.name or normalised_name(name or "")
        if version and not self.version and not _CONTROL.search(version) and not reveals(version):
            self.version = version
        if description and not self.description and not reveals(description):
            self.description = " ".join(_CONTROL.sub(" ", description).split())

    def requirement(self, text: str, place: Place) -> None:
        """PEP 508; what the spec cannot hold is a leftover."""
        if _CONTROL.search(text) or len(text) > MAX_REQUIREMENT:
            self.left(place, text, "holds a control character, or is too long")
            return
        try:
            name, _, _, marker = parts_of(text)
            plain = canonical(text)
        except ValueError as error:
            if "://" in text or "@" in text:
                hint = _CONDAS if " @ file:" in text else PUBLISH
                self.left(place, text, "not a URL that can be locked", hint)
            else:
                self.left(place, text, f"not a requirement: {error}", _meant(text))
            return
        if re.search(r"\bextra\b", marker):
            self.left(place, text, "is of an extra, which is a choice that the file does not make")
            return
        if name in self.elsewhere:
            return  # the leftover that says where it comes from is there
        if (named := reference_in(plain)) is not None:
            if reveals(text):
                self.left(place, text, "not a URL that can be locked", PUBLISH)
                self.elsewhere.add(name)
                return
            if named[1].kind != "wheel":
                hint = f"write '{plain}' into dependencies, and builds = [\"{name}\"]"
                self.left(place, text, "has to be built, which runs its code", hint)
                self.elsewhere.add(name)
                return
        if not place.file.endswith((".toml", ".lock")) and name in _TOOLS:
            why = "tools that install packages are not needed in the images"
            hint = f'add "{plain}" to dependencies if your code imports it'
            self.left(place, text, why, hint)
            return
        first = self.requirements.setdefault((name, marker), Requirement(text=plain, place=place))
        if (both := joined(first.text, plain)) is not None:
            self.requirements[name, marker] = Requirement(text=both, place=first.place)
        else:
            why = f"{name} is asked for already, as {first.text} in {first.place}"
            self.left(place, plain, why, "join both in dependencies if both are meant")

    def pin(self, name: str, version: str, place: Place) -> None:
        from packaging.utils import canonicalize_name
        from packaging.version import InvalidVersion, Version

        normal = str(canonicalize_name(name))
        try:
            wanted = str(Version(version))
        except InvalidVersion:
            self.left(place, f"{name} {version}", "not a version of a Python package")
            return
        if normalised_name(normal) != normal or not _VERSION.fullmatch(wanted):
            self.left(place, f"{name} {version}", "not a name and a version")
            return
        first = self.pins.setdefault(normal, wanted)
        if first != wanted:
            self.left(place, f"{normal} {wanted}", f"is pinned to {first} already")

    def python_is(self, text: str, place: Place) -> None:
        """A version ("3.11", "3.11.4") or a range (">=3.9,<4"); the first one counts."""
        from mllock.spec.importing.pythons import minor_of

        minor = minor_of(text)
        exact = re.fullmatch(r"=*\s*3(\.\d+)+(\.\*)?", text.strip()) is not None
        if minor is None:
            what = f"Python {text}"
            self.left(place, what, "no Python 3 that is known here", "set python by hand")
        elif self.python is None or (exact and not self.python_exact):
            self.python, self.python_exact = minor, exact
        elif minor != self.python and exact:
            self.left(place, f"Python {text}", f"Python {self.python} was found before it")

    def system(self, name: str, place: Place) -> None:
        name, _, pinned = name.partition("=")
        if not _DEBIAN_NAME.fullmatch(name):
            self.left(place, name, "not the name of a Debian package")
            return
        if pinned:
            why = "the version of a Debian package is the mirror's, pinned by mllock lock"
            self.left(place, f"{name}={pinned}", why)
        self.packages.setdefault(name, place)

    def variable(self, name: str, value: str, place: Place) -> None:
        """Set in both images; never one that is, or holds, a secret."""
        if is_secret_name(name) or reveals(value):
            why = "looks like a secret, and was left out"
            self.left(place, name, why, "set it at deployment: [serve] runtime-variables")
        elif not _VARIABLE.fullmatch(name) or _CONTROL.search(value):
            self.left(place, name, "not a variable that can be set")
        elif (reason := hook_reason(name, value)) is not None:
            hint = 'variables = { PYTHONPATH = "src" }' if name == "PYTHONPATH" else None
            self.left(place, name, f"cannot be set: {reason}", hint)
        elif self.variables.setdefault(name, value) != value:
            self.left(place, name, "is set to another value already")

    def add_data(self, source: str, role: str, place: Place, path: str | None = None) -> None:
        """Data of the project; or, with the `path` that the program reads, of a URL."""
        if path is not None:
            wrong = problem(source)
            if wrong is None and (reveals(source) or _CONTROL.search(source)):
                wrong = Problem(message="holds what looks like a credential, or is not plain")
            if wrong is not None:
                hint = wrong.hint or "name it in [data] as source, with this path"
                self.left(place, f"{source} at {path}", wrong.message, hint)
                return
        elif "://" in source:
            hint = "name it in [data] as source, with the path that the program reads"
            self.left(place, source, "data from a URL needs a path in the project", hint)
            return
        if len(self.data) >= MAX_DATA:
            self.left(place, source, f"more than {MAX_DATA} sources are not read")
            return
        url = None if path is None else source
        path = self._free_path(path or source, place)
        if path is None:
            return
        stem = normalised_name(posixpath.basename(path).partition(".")[0])
        name = stem if stem[:1].isalpha() else f"data-{stem}".rstrip("-")
        taken = {item.name for item in self.data}
        number = 2
        unique = name
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        found = Data(name=unique, source=url or path, role=role, place=place, path=url and path)
        self.data.append(found)

    def output(self, path: str, place: Place) -> str | None:
        """A path that the training writes, if the spec can hold it."""
        return self._free_path(path, place)

    def param(self, name: str, value: Scalar, place: Place) -> bool:
        """Whether it may be written into [train] params: no secret, no control character."""
        if is_secret_name(name) or (isinstance(value, str) and reveals(value)):
            why = "looks like a secret, and was left out"
            self.left(place, name, why, "let the program read it from a variable")
            return False
        if isinstance(value, str) and _CONTROL.search(value):
            self.left(place, name, "holds a control character")
            return False
        return True

    def command(self, text: str | list[str], place: Place) -> tuple[str, ...] | None:
        """A command as words; through a shell only where it needs one."""
        whole = text if isinstance(text, str) else " ".join(text)
        if reveals(whole):
            self.left(place, whole, "the command holds a credential", "pass it as a variable")
            return None
        if "\0" in whole or any("\ud800" <= char <= "\udfff" for char in whole):
            self.left(place, whole, "holds a character that no command can hold")
            return None
        try:
            words = words_of(text)
        except ValueError as error:
            self.left(place, whole, f"not a command: {str(error).lower()}")
            return None
        if words and words[0] in RUNNERS:
            why = f"{words[0]} is not in the images"
            self.left(place, whole, why, "write the command that it runs")
        return tuple(words) if words and all(words) else None

    def train_with(self, program: Program) -> None:
        if self.train is None:
            self.train = program
        elif program.command != self.train.command:
            why = f"the training command is that of {self.train.place}"
            self.left(program.place, shlex.join(program.command), why)

    def serve_with(self, program: Program) -> None:
        if self.serve is None:
            self.serve = program
        elif program.command != self.serve.command:
            why = f"the serving command is that of {self.serve.place}"
            self.left(program.place, shlex.join(program.command), why)

    def found(self, name: str) -> Found:
        """What was gathered. `name` is used where no file names the project."""
        if self.serve is not None and (self.train is None or self.train.model is None):
            what = shlex.join(self.serve.command)
            why = "[serve] needs the model that [train] writes: it is written as a comment"
            self.left(self.serve.place, what, why, "fill in [train], then uncomment [serve]")
        return Found(
            files=tuple(self.files),
            name=self.name or normalised_name(name) or "project",
            version=self.version,
            description=self.description,
            python=self.python,
            base=self.base,
            requirements=tuple(self.requirements.values()),
            pins=dict(sorted(self.pins.items())),
            system=tuple(sorted(self.packages)),
            variables=dict(self.variables),
            data=tuple(self.data),
            train=self.train,
            serve=self.serve,
            port=self.port,
            health=self.health,
            indexes=tuple(self.places.indexes.values()),
            links=tuple(self.places.links),
            leftovers=tuple(sorted(self.leftovers, key=self._order)),
        )

    def _order(self, leftover: Leftover) -> tuple[int, str, int]:
        """By file, in the order in which they were read, and by line."""
        file = leftover.place.file
        known = self.files.index(file) if file in self.files else len(self.files)
        return known, file, leftover.place.line

    def _free_path(self, path: str, place: Place) -> str | None:
        plain = posixpath.normpath(path) if path else path
        outside = plain.startswith(("/", "~", "../")) or plain in ("", ".", "..")
        reason = "outside of the project, or all of it" if outside else safepath.problem(plain)
        if reason is None and "$" in plain:
            reason = "holds a variable"
        if reason is None and safepath.fold(plain.split("/", maxsplit=1)[0]) in RESERVED:
            reason = "a name that is not for data or outputs"
        if reason is None and safepath.whiteout((plain,)) is not None:
            reason = 'a name that begins with ".wh."'
        if reason is None and (other := self._in_the_way(plain)) is not None:
            if other == plain:
                return None
            reason = f"in the way of {other}"
        if reason is not None:
            self.left(place, path, reason, "move it to a folder of its own, and name it by hand")
            return None
        return plain

    def _in_the_way(self, path: str) -> str | None:
        taken = [item.path or item.source for item in self.data]
        if self.train is not None:
            taken += [p for p in (self.train.model, self.train.metrics) if p]
        mine = f"{safepath.fold(path)}/"
        for other in taken:
            theirs = f"{safepath.fold(other)}/"
            if mine.startswith(theirs) or theirs.startswith(mine):
                return other
        return None


def _meant(text: str) -> str:
    """The next step for what is no requirement: conda's or nobody's way of writing a pin."""
    pinned = re.fullmatch(r"\s*([A-Za-z0-9._-]+)\s*[= ]\s*([0-9][^\s=]*)\s*", text)
    return f'did you mean "{pinned[1]}=={pinned[2]}"?' if pinned else "write it by hand"
