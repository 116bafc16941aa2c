"""The Python of an image, taken out of the image's own layers: what bytecode is made with.

What is taken: the interpreter, its loader, the libraries that both name, the codecs it may load,
and the sources of its standard library. That closure is all that a compile can depend on;
`identity` is its digest. Links are followed within the image, never on this machine, and what is
missing in the image is an error: nothing is borrowed from here. Where the tree comes from is the
caller's (`Tree`): layers of Debian packages or of a registry image alike. Nothing is run here.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mllock.core import canonical
from mllock.core.digest import Digest
from mllock.errors import ArchiveError
from mllock.image.elf import Elf, read_elf
from mllock.image.read import Member
from mllock.store.atomic import cannot_write

__all__ = ["Interpreter", "Tree", "place", "read_interpreter"]

# `tree(kept)`: the merged tree of an image, with the bytes of the files for which `kept` is true.
Tree = Callable[[Callable[[str], bool]], Mapping[str, Member]]

# Folders of a standard library that no program imports from.
LEFT_OUT = frozenset(
    {"__pycache__", "dist-packages", "idle_test", "site-packages", "test", "tests"}
)
_CODECS = ("_codecs_", "_multibytecodec.")
# Names that an interpreter of glibc usually needs: read in the first pass over the layers.
_LIBRARIES = ("ld-", "libc.so", "libdl.so", "libexpat.so", "libm.so", "libpthread.so")
_USUAL = (*_LIBRARIES, "libpython", "libutil.so", "libz.so", "python")
_FOLDERS = ("lib", "usr/lib", "lib64", "usr/lib64", "usr/local/lib")
_MAX_LINKS = 40  # what Linux follows
_MAX_LIBRARIES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """Files by what they are for; paths are relative to the root of the image.

    `library` is the folder of the standard library, `sources` are its files by path, of which
    `compiled` have bytecode in the image already. `libraries` are by the name that is asked for.
    """

    machine: str
    path: str
    program: bytes = field(repr=False)
    loader: bytes = field(repr=False)
    libraries: Mapping[str, bytes] = field(repr=False)
    codecs: Mapping[str, bytes] = field(repr=False)
    library: str
    sources: Mapping[str, bytes] = field(repr=False)
    compiled: frozenset[str] = field(repr=False)

    @property
    def identity(self) -> Digest:
        """The digest of all that a compile with it can depend on."""
        return canonical.digest_of(
            {
                "path": self.path,
                "program": _sha256(self.program),
                "loader": _sha256(self.loader),
                "libraries": {name: _sha256(data) for name, data in self.libraries.items()},
                "codecs": {name: _sha256(data) for name, data in self.codecs.items()},
                "sources": {name: _sha256(data) for name, data in self.sources.items()},
                "compiled": sorted(self.compiled),
            }
        )


def read_interpreter(tree: Tree, interpreter: str, minor: str) -> Interpreter:
    """The interpreter at the absolute path `interpreter` of an image. Raises ArchiveError."""
    found = _Image(tree, minor)
    path = found.real(interpreter)
    if path is None:
        raise _missing(interpreter)
    program = found.read(path)
    elf = _elf(program, path)
    if elf.interpreter is None:
        raise ArchiveError("not a program that a loader starts", file=path)
    loader_path = found.real(elf.interpreter)
    if loader_path is None:
        raise _missing(elf.interpreter)
    library = posixpath.join(posixpath.dirname(posixpath.dirname(path)), "lib", f"python{minor}")
    sources = found.sources(library)
    if f"{library}/os.py" not in sources:
        raise _missing(f"/{library}/os.py")
    tag = f"cpython-{minor.replace('.', '')}"
    return Interpreter(
        machine=elf.machine,
        path=path,
        program=program,
        loader=found.read(loader_path),
        libraries=found.libraries(path, elf),
        codecs=found.codecs(f"{library}/lib-dynload"),
        library=library,
        sources=sources,
        compiled=frozenset(name for name in sources if found.has(_bytecode_of(name, tag))),
    )


def place(interpreter: Interpreter, folder: Path) -> tuple[str, ...]:
    """Write the files into the empty `folder`; the words that start the interpreter in it.

    The loader is told where the libraries are, and not to look into this machine's cache of them.
    Relative, for a colon in the name of a folder would be the end of it.
    """
    files = {
        "loader": interpreter.loader,
        interpreter.path: interpreter.program,
        **{f"libraries/{name}": data for name, data in interpreter.libraries.items()},
        **interpreter.codecs,
        **interpreter.sources,
    }
    made: set[str] = set()
    for name, data in files.items():
        path = os.path.join(folder, name)
        parent = os.path.dirname(path)
        try:
            if parent not in made:
                os.makedirs(parent, mode=0o700, exist_ok=True)
                made.add(parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(path, flags, 0o700), "wb") as file:
                file.write(data)
        except OSError as error:
            raise cannot_write(Path(path), error) from error
    return (
        "./loader",
        "--inhibit-cache",
        "--library-path",
        "libraries",
        interpreter.path,
    )


class _Image:
    """A merged tree; files that were not kept in the first pass are read in another one."""

    def __init__(self, tree: Tree, minor: str) -> None:
        self._tree = tree
        library, settings = f"/lib/python{minor}/", f"etc/python{minor}/"

        def usual(path: str) -> bool:
            name = path.rpartition("/")[2]
            if library in f"/{path}":
                return name.endswith(".py") or name.startswith(_CODECS)
            return name.startswith(_USUAL) or path.startswith(settings)

        self._members: Mapping[str, Member] = tree(usual)
        self._more: dict[str, bytes] = {}

    def has(self, path: str) -> bool:
        return path in self._members

    def real(self, path: str) -> str | None:
        """The file that an absolute path leads to, all links followed; None if there is none."""
        at, parts = "", _parts(path)
        links = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                at = posixpath.dirname(at)
                continue
            step = posixpath.join(at, part)
            member = self._members.get(step)
            if member is None:
                return None
            if member.kind == "symlink":
                links += 1
                if links > _MAX_LINKS:
                    raise ArchiveError("loop of symbolic links", key=path)
                target = member.target or ""
                at = "" if target.startswith("/") else at
                parts = _parts(target) + parts
                continue
            at = step
        member = self._members.get(at)
        return at if member is not None and member.kind == "file" else None

    def read(self, path: str) -> bytes:
        return self._bytes((path,))[path]

    def sources(self, library: str) -> dict[str, bytes]:
        wanted = {}
        for path in sorted(self._members):
            if not path.startswith(f"{library}/") or not path.endswith(".py"):
                continue
            if LEFT_OUT.isdisjoint(path[len(library) :].split("/")[:-1]):
                real = self.real(f"/{path}")
                if real is not None:
                    wanted[path] = real
        data = self._bytes(wanted.values())
        return {path: data[real] for path, real in wanted.items()}

    def codecs(self, folder: str) -> dict[str, bytes]:
        names = [
            path
            for path, member in sorted(self._members.items())
            if path.startswith(tuple(f"{folder}/{name}" for name in _CODECS))
            and member.kind == "file"
        ]
        return self._bytes(names)

    def libraries(self, path: str, elf: Elf) -> dict[str, bytes]:
        """All libraries that a program needs, by name, those of libraries as well."""
        found: dict[str, bytes] = {}
        waiting = [(name, _search(path, elf)) for name in elf.needed]
        while waiting:
            name, folders = waiting.pop(0)
            if name in found:
                continue
            if "/" in name or len(found) >= _MAX_LIBRARIES:
                raise ArchiveError("libraries that are not read here", file=path, found=name)
            places = (self.real(f"/{folder}/{name}") for folder in folders)
            real = next((place for place in places if place is not None), None)
            if real is None:
                raise ArchiveError(
                    "a library that it needs is not in the image", file=path, key=name
                )
            found[name] = self.read(real)
            own = _elf(found[name], real)
            if own.machine != elf.machine:
                raise ArchiveError(
                    "a library for another machine",
                    file=real,
                    expected=elf.machine,
                    found=own.machine,
                )
            waiting += [(needed, _search(real, own)) for needed in own.needed]
        return dict(sorted(found.items()))

    def _bytes(self, paths: Iterable[str]) -> dict[str, bytes]:
        wanted = tuple(dict.fromkeys(paths))
        missing = {path for path in wanted if self._at_hand(path) is None}
        if missing:
            # A hard link is the very member that it names, and has its bytes under that name.
            files = {id(self._members[path]) for path in missing}
            names = {path for path, member in self._members.items() if id(member) in files}
            again = self._tree(names.__contains__)
            self._more |= {path: data for path in missing if (data := again[path].data) is not None}
        found = {path: self._at_hand(path) for path in wanted}
        for path, data in found.items():
            if data is None:
                raise ArchiveError("its bytes are not in the layers", file=path)
        return {path: data for path, data in found.items() if data is not None}

    def _at_hand(self, path: str) -> bytes | None:
        data = self._members[path].data
        return self._more.get(path) if data is None else data


def _search(path: str, elf: Elf) -> list[str]:
    """Where a loader looks for the libraries of the file at `path`, relative to the root."""
    origin = f"/{posixpath.dirname(path)}"
    own = [item.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for item in elf.paths]
    multiarch = [f"{folder}/{elf.machine}-linux-gnu" for folder in ("lib", "usr/lib")]
    return [*(item.strip("/") for item in own), *multiarch, *_FOLDERS]


def _bytecode_of(path: str, tag: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _elf(data: bytes, path: str) -> Elf:
    try:
        return read_elf(data)
    except ArchiveError as error:
        raise ArchiveError(error.message, file=path) from None


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _missing(path: str) -> ArchiveError:
    return ArchiveError("the base does not hold this file of its Python", file=path)
