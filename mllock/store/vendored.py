"""A vendored folder, as `mllock vendor` makes it: files by digest, found through its SHA256SUMS.

Not for writing one (`mllock.workflows.vendor`). The list is what `sha256sum --check` reads, and is
a hint: whoever takes a file hashes it. Nothing outside of the folder is ever opened, whatever the
list says. Specified in docs/reference/vendor.md. Raises InputError for a folder that is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from mllock.core import safepath
from mllock.core.digest import Digest, from_hex, hex_of
from mllock.core.vendor import ANY_MARK, MARK, SUMS, VENDOR
from mllock.errors import InputError
from mllock.store.regular import open_regular

__all__ = ["FOLDER", "SUMS", "Vendored", "is_vendored", "sums_bytes", "vendored_of"]

# Of the project; found without being named.
FOLDER = "vendor"
# Fifty million files, about.
MAX_SUMS = 1 << 32

_MARK = re.compile(rb"# mllock vendor [0-9]{1,9}\n?")
_LINE = re.compile(r"(?P<hex>[0-9a-f]{64}) [ *](?P<path>.+)")


class Vendored:
    """One vendored folder. Making one reads nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> Mapping[str, Digest]:
        """Path in the folder -> the digest that it should have."""
        return read_sums(self.root)

    @cached_property
    def _places(self) -> Mapping[Digest, str]:
        return {digest: path for path, digest in self.files.items()}

    def find(self, digest: Digest) -> Path | None:
        """Where the bytes of `digest` should be. A link on the way out of the folder is nowhere."""
        path = self._places.get(digest)
        return None if path is None else self.inside(path)

    def lists(self, digest: Digest) -> bool:
        """Whether its SHA256SUMS names a file of these bytes."""
        return digest in self._places

    def inside(self, path: str) -> Path | None:
        """The place of `path`, unless a link leads it out of the folder."""
        found = self.root / path
        root = os.path.realpath(self.root) + os.sep
        return found if os.path.realpath(found).startswith(root) else None


def vendored_of(project: Path, environ: Mapping[str, str]) -> tuple[Vendored, ...]:
    """Where to look: `MLLOCK_VENDOR` (folders, separated by colons), and `vendor` of the project
    if it is one."""
    named = [Path(part) for part in environ.get(VENDOR, "").split(os.pathsep) if part.strip()]
    places = [path.expanduser().absolute() for path in named]
    own = project / FOLDER
    if is_vendored(own):
        places.append(own)
    return tuple(Vendored(path) for path in dict.fromkeys(places))


def is_vendored(folder: Path) -> bool:
    """Whether `mllock vendor` made it, of this version or another; cheap."""
    return _mark(folder) is not None


def _mark(folder: Path) -> str | None:
    """The line that SHA256SUMS begins with, if it is one of ours, of whatever version."""
    try:
        with open_regular(folder / SUMS) as file:
            line = file.readline(len(ANY_MARK) + 20)
    except (OSError, InputError):
        return None
    match = _MARK.fullmatch(line)
    return None if match is None else match[0].decode().rstrip("\n")


def read_sums(folder: Path) -> dict[str, Digest]:
    """Path -> digest, as SHA256SUMS of `folder` has them. Raises InputError."""
    if not is_vendored(folder):
        raise InputError(
            "not a vendored folder" if folder.is_dir() else "no such folder",
            file=str(folder),
            expected=f'a folder with {SUMS}, as "mllock vendor DIR" makes it',
            hint=f"correct the path ({VENDOR}?), or make the folder where there is a network",
        )
    if (mark := _mark(folder)) != MARK:
        raise InputError(
            "a newer mllock made this vendored folder",
            file=str(folder / SUMS),
            expected=MARK,
            found=mark,
            hint="update mllock, or make the folder again with this one",
        )
    with open_regular(folder / SUMS) as file:
        data = file.read(MAX_SUMS)
    found: dict[str, Digest] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or safepath.problem(match["path"]) is not None:
            raise InputError(
                "not a line of a vendored folder",
                file=str(folder / SUMS),
                line=number,
                expected="a sha256, two blanks, and a path in the folder",
                found=line[:200],
            )
        found[match["path"]] = from_hex(match["hex"])
    return found


def sums_bytes(files: Mapping[str, Digest]) -> bytes:
    """The bytes of SHA256SUMS. Paths are safe ones, which need no escapes of coreutils'."""
    lines = (f"{hex_of(digest)}  {path}\n" for path, digest in sorted(files.items()))
    return "".join((f"{MARK}\n", *lines)).encode()
