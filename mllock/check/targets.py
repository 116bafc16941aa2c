"""What a TARGET on the command line means. Looks at what exists, reads nothing of it.

`path:DIR`, `oci:DIR[:REF]`, `registry:HOST/REPO[:TAG|@DIGEST]`, `image:REF`, `container:NAME` and
`http(s)://HOST` are checked in this version; the other prefixes of the design are known and
refused. Without a prefix, a target is a path if one exists, and a folder that is an image layout
and nothing else is read as one; what is no path is an image of the engine. What was chosen is said
in `chosen`. A folder that could be both is refused: a model must not pass because somebody laid a
good image beside it.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mllock.errors import InputError, NotAvailableError
from mllock.probes.address import Address, parse_address
from mllock.store.layout_reader import INDEX, MARKER
from mllock.store.registry.reference import Reference, parse_reference

__all__ = ["DEFAULT_REF", "Target", "parse_target"]

DEFAULT_REF = "serve"
OF_A_LAYOUT = frozenset({MARKER, INDEX, "blobs"})
_OF_ENGINE: tuple[Literal["image", "container"], ...] = ("image", "container")
_LATER = ("k8s",)
_HINT = (
    "path:DIR for a model folder, oci:DIR for an image layout, registry:HOST/REPO:TAG for an image "
    "of a registry, image:REF or container:NAME for what is in the container engine"
)
# What docker takes for a reference or a name; paths that are typed with "./", "/" or "~" are none.
_REFERENCE = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,511}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """`text` as it was given; `ref` is the reference name inside of a layout, what the engine calls
    it, or the tag or digest of `reference`, which is in a registry; `guessed` if nothing but the
    absence of a path made it an image of the engine. `address` is where an endpoint is. The `path`
    of an endpoint or of a registry says nothing."""

    text: str
    kind: Literal["path", "oci", "registry", "image", "container", "http"]
    path: Path = Path()
    ref: str | None
    guessed: bool = False
    address: Address | None = None
    reference: Reference | None = None

    @property
    def chosen(self) -> str:
        if self.address is not None:
            return f"the endpoint {self.address}"
        if self.reference is not None:
            return f"the image {self.reference} of a registry"
        if self.kind in _OF_ENGINE:
            return f"the {self.kind} {self.ref} of the container engine"
        if self.kind == "oci":
            return f'the image "{self.ref}" of the OCI layout {self.path}'
        return f"the {'folder' if self.path.is_dir() else 'file'} {self.path}"


def parse_target(text: str, base: Path) -> Target:
    """Read TARGET; relative paths start at `base`. Raises InputError, NotAvailableError."""
    prefix, colon, rest = text.partition(":")
    if colon and prefix == "path":
        if not rest:
            raise InputError(
                "no file or folder is named", file=text, expected="path:DIR or path:FILE"
            )
        return _path(text, base / rest)
    if colon and prefix == "oci":
        return _layout(text, rest, base)
    for kind in _OF_ENGINE:
        if colon and prefix == kind:
            return _of_engine(text, kind, rest, base)
    if colon and prefix in ("http", "https"):
        return Target(text=text, kind="http", path=base, ref=None, address=parse_address(text))
    if colon and prefix == "registry":
        return _registry(text, rest)
    if (base / text).exists() and text:
        if os.path.lexists(base / text / MARKER):
            _refuse_both(base / text)
            return _layout(text, text, base)
        return _path(text, base / text)
    if colon and prefix in _LATER:
        raise NotAvailableError(
            f'targets "{prefix}:" are not available in this version', key=text, hint=_HINT
        )
    if _REFERENCE.fullmatch(text) is None:
        raise InputError("no such file or folder", file=text, hint=_HINT)
    return Target(text=text, kind="image", path=base, ref=text, guessed=True)


def _of_engine(text: str, kind: Literal["image", "container"], name: str, base: Path) -> Target:
    if _REFERENCE.fullmatch(name) is None:
        raise InputError(
            f"not the name of {'an image' if kind == 'image' else 'a container'}",
            file=text,
            expected=f"{kind}:NAME as the docker command takes it",
        )
    return Target(text=text, kind=kind, path=base, ref=name)


def _refuse_both(folder: Path) -> None:
    others = sorted(path.name for path in folder.iterdir() if path.name not in OF_A_LAYOUT)
    if others:
        raise InputError(
            "an OCI layout, and a folder with other files",
            file=str(folder),
            found=", ".join(others[:3]),
            hint="say which is meant, path: or oci:, before it",
        )


def _path(text: str, path: Path) -> Target:
    if not path.exists():
        raise InputError("no such file or folder", file=str(path))
    _refuse_links(path)
    return Target(text=text, kind="path", path=_resolved(path), ref=None)


def _refuse_links(path: Path) -> None:
    """A link above a model is how folders are deployed, and is followed. The model itself must be
    what is named, and a run must be the one whose folder is named: neither may be a link, or
    another model than the one that was asked for would be proven."""
    for part in (path, *path.parents):
        if part.is_symlink() and (part == path or _in_runs(part)):
            raise InputError(
                "a link where a model is expected" if part == path else "a link inside of a run",
                file=str(part),
                found=f"a link to {os.readlink(part)}",
                hint=f"name what it leads to: path:{Path(os.path.realpath(path))}",
            )


def _in_runs(path: Path) -> bool:
    """Whether `path` lies in the folder of runs of a project, as it is written or in fact."""
    return any(
        (".mllock", "runs") in itertools.pairwise(folder.parts)
        for folder in (path.parent, Path(os.path.realpath(path.parent)))
    )


def _layout(text: str, rest: str, base: Path) -> Target:
    folder, ref = rest, DEFAULT_REF
    if not (base / rest).exists() and ":" in rest:
        folder, _, ref = rest.rpartition(":")
    path = base / folder
    if path.is_file():
        raise NotAvailableError(
            "archives of a layout are not available in this version",
            file=str(path),
            hint="unpack it into a folder, and check that",
        )
    if not folder or not path.is_dir():
        raise InputError("no such folder", file=str(path), expected="an OCI layout")
    return Target(text=text, kind="oci", path=_resolved(path), ref=ref or DEFAULT_REF)


def _registry(text: str, rest: str) -> Target:
    reference = parse_reference(rest)
    if reference.tag is None and reference.digest is None:
        reference = reference.tagged(DEFAULT_REF)
    return Target(
        text=text,
        kind="registry",
        ref=reference.digest or reference.tag,
        reference=reference,
    )


def _resolved(path: Path) -> Path:
    """Links above are followed once, here, and the result is what is printed and read."""
    return Path(os.path.realpath(path)) if _has_link(path) else path


def _has_link(path: Path) -> bool:
    return any(part.is_symlink() for part in (path, *path.parents))
