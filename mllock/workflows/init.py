"""Starting a project: the files of a template, in a new folder or beside what is there.

Nothing is overwritten and nothing is half-made: everything is prepared in a staging folder; a new
folder appears by one rename; in a folder that exists, each file is put in place only if no file
has its name, mlproject.toml last, and all are taken back if one cannot be. A file with the very
bytes that would be written is not in the way.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mllock.core.platform import KNOWN, host_platform, image_platform
from mllock.errors import InputError
from mllock.resources import resource
from mllock.spec.hints import normalised_name
from mllock.store.atomic import cannot_write, publish_folder, staging, sync_folder

__all__ = [
    "SCHEMA",
    "SPEC",
    "TEMPLATES",
    "InitResult",
    "image_platforms",
    "init_project",
    "place_files",
    "template_files",
]

SPEC = "mlproject.toml"
SCHEMA = ".mllock/mlproject.schema.json"
_UV = 'resolver = "uv"                          # chooses versions for other machines than this one'

# Listed, so that what a training leaves in a template's folder is never copied. The spec is last.
TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sklearn": (
            ".gitignore",
            "README.md",
            "data/README.md",
            "data/test.csv",
            "data/train.csv",
            "evaluate.py",
            "probes.jsonl",
            "serve.py",
            "tests/test_starter.py",
            "train.py",
            SPEC,
        ),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InitResult:
    """What was made: `files` relative to `folder`, in the order in which they were written."""

    folder: Path
    name: str
    files: tuple[str, ...]


def init_project(folder: Path, *, template: str = "sklearn", name: str | None = None) -> InitResult:
    """Write the starter project `template` into `folder`, which is made if it is missing.

    `name` is the name of the project; default: the folder's, normalised by PEP 503. Raises
    InputError if something is in the way, SurroundingsError if the folder cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    files = template_files(template, name or normalised_name(folder.name))
    place_files(folder, files)
    spec = files[SPEC].decode()
    found = re.search(r'^name = "(.*)"$', spec, re.MULTILINE)
    assert found is not None
    return InitResult(folder=folder, name=found[1], files=tuple(files))


def place_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files`, the spec last, into `folder`: all of them or none. Raises as init_project."""
    _nothing_in_the_way(folder, files)
    if folder.exists():
        with staging(folder) as staged:
            _write(staged, files)
            _place(staged, folder, files)
    else:
        with staging(folder.parent) as staged:
            made = staged / "project"
            _write(made, files)
            if not publish_folder(made, folder):
                raise InputError("somebody made this folder just now", file=str(folder))


def template_files(
    template: str, name: str, *, host: str | None = None, python: str | None = None
) -> dict[str, bytes]:
    """The files of a template for a project `name` (empty: the template's own) on this machine, or
    on a `host` platform with this minor version of `python`.

    Where the machine can be what the images are for, they are for it. Where it cannot (another
    system, another Python), the resolver is the one that needs no such machine.
    """
    root = resource("templates", template)
    files = {SCHEMA: resource("schemas", "mlproject.schema.json").read_bytes()}
    files |= {path: (root / path).read_bytes() for path in TEMPLATES[template]}
    spec = files[SPEC].decode()
    if name:
        spec = re.sub(r'^name = ".*"$', f'name = "{name}"', spec, count=1, flags=re.MULTILINE)
    host = host or host_platform()
    python = python or f"{sys.version_info.major}.{sys.version_info.minor}"
    listed = ", ".join(f'"{platform}"' for platform in image_platforms(host))
    spec = spec.replace('"linux/amd64"', listed)
    if host not in KNOWN or f'python = "{python}"' not in spec:
        spec = re.sub(r"^platforms = .*\n", rf"\g<0>{_UV}\n", spec, count=1, flags=re.MULTILINE)
    files[SPEC] = spec.encode()
    return files


def image_platforms(host: str) -> tuple[str, ...]:
    """What the images of a new project are for, on a machine of the platform `host`."""
    own = host if host in KNOWN else image_platform(host)
    platforms = ["linux/amd64"] if host not in KNOWN else []
    return tuple(sorted({own, *platforms}))


def _nothing_in_the_way(folder: Path, files: Mapping[str, bytes]) -> None:
    for parent in (folder, *folder.parents):
        if os.path.lexists(parent):
            if not parent.is_dir():
                raise InputError("this is not a folder", file=str(parent))
            break
    if os.path.lexists(folder / SPEC):
        raise InputError(
            "there is a project here already",
            file=str(folder / SPEC),
            hint="choose another folder: mllock init DIR",
        )
    taken = [path for path, data in files.items() if not _free(folder, path, data)]
    if taken:
        raise InputError(
            "files are in the way, and are left as they are",
            file=str(folder),
            found=", ".join(taken),
            hint="move them away, or choose another folder: mllock init DIR",
        )


def _free(folder: Path, path: str, data: bytes) -> bool:
    """Whether `path` can be written without touching anything that is somebody else's."""
    for parent in Path(path).parents:
        above = folder / parent
        if os.path.lexists(above) and not above.is_dir():
            return False
    target = folder / path
    if not os.path.lexists(target):
        return True
    return target.is_file() and not target.is_symlink() and target.read_bytes() == data


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.parent.chmod(0o755)
            target.write_bytes(data)
            target.chmod(0o644)
        except OSError as error:
            raise cannot_write(folder, error) from error


def _place(staged: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    """Move the staged files to their places; take all of them back if one cannot be placed."""
    undo = contextlib.ExitStack()
    with undo:
        for path, data in files.items():
            target = folder / path
            if not _free(folder, path, data):
                raise InputError("somebody made this file just now", file=str(target))
            for parent in reversed(target.relative_to(folder).parents):
                above = folder / parent
                if not above.exists():
                    above.mkdir()
                    undo.callback(_quietly, above.rmdir)
            if not target.exists():
                try:
                    os.rename(staged / path, target)
                except OSError as error:
                    raise cannot_write(target, error) from error
                undo.callback(_quietly, target.unlink)
        sync_folder(folder)
        undo.pop_all()


def _quietly(remove: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        remove()
