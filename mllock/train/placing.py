"""Bringing params and data into a training container: as binds, or as a volume that is filled.

A whole source is bound as it is; a selection is bound as a folder of hard links (copies, where the
disk has no links), so that what the patterns leave out is not there. Binds need an engine that has
this machine's disk and users; every other one gets a volume with the same files, hashed while they
are sent. Raises VoidRunError if a file is not what the manifest says, SurroundingsError.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mllock.core.digest import hex_of
from mllock.core.tree import SINGLE, TreeManifest
from mllock.data.pin import locate
from mllock.engine.ports import Engine
from mllock.engine.types import Mount
from mllock.errors import MllockError, RunError, VoidRunError
from mllock.spec.types import DataSource
from mllock.train.container import DATA
from mllock.train.given import data_path, given_files
from mllock.train.trees import link_hard
from mllock.train.types import RunPlan

__all__ = ["app_archive", "binds", "data_archive", "is_seen", "is_whole", "other_model"]

_CHUNK = 1024 * 1024
_BLOCK = 512
# As /app is in the image: whatever user the program has may write there, and remove only its own.
_OPEN = 0o1777


def is_whole(declared: DataSource) -> bool:
    """Whether all of a folder is declared, so that it can be shown as it is."""
    return declared.include == ("**/*",) and not declared.exclude


def binds(plan: RunPlan, staged: Path) -> tuple[Mount, ...]:
    """One read-only bind for each source; `staged` gets the selections."""
    mounts = []
    for name, manifest in plan.data.items():
        source = locate(plan.project, name, plan.spec.data[name])
        if not manifest.is_single_file and not is_whole(plan.spec.data[name]):
            link_hard(manifest, source, staged / name)
            source = staged / name
        mounts.append(Mount(kind="bind", source=str(source), target=f"{DATA}/{name}"))
    return tuple(mounts)


def is_seen(engine: Engine, container: str, mounts: tuple[Mount, ...]) -> bool:
    """Whether what the engine bound is what is here: its paths may be another machine's."""
    for mount in mounts:
        here, there = os.stat(mount.source), engine.look(container, mount.target)
        if there is None or there.changed != here.st_mtime_ns // 1000:
            return False
        if os.path.isfile(mount.source) and there.size != here.st_size:
            return False
    return True


def app_archive(plan: RunPlan) -> Iterator[bytes]:
    """For `/app` before the program starts: what it is given, and a link to each data source."""
    files = given_files(plan)
    folders: dict[str, int] = {posixpath.dirname(path): 0o755 for path in files}
    # Absolute: engines refuse a relative link that leads out of the folder they unpack into.
    links = {data_path(plan.spec.data[name]): f"{DATA}/{name}" for name in plan.data}
    in_image = {parent for entry in plan.code.manifest.entries for parent in _parents(entry.path)}
    model = () if plan.evaluation is None else (_model_path(plan),)
    for path in (*links, *model):
        folders |= dict.fromkeys(_parents(path), _OPEN)
    for path, mode in sorted(folders.items()):
        if path not in in_image:
            yield _header(path, type=tarfile.DIRTYPE, mode=mode)
    for path, data in files.items():
        yield _header(path, mode=0o644, size=len(data)) + data + bytes(-len(data) % _BLOCK)
    if plan.evaluation is not None:
        # The engine's root owns it: the program reads it, and does not change it.
        evaluated = plan.evaluation
        yield from _tree_archive(
            _model_path(plan), evaluated.model, evaluated.root, (0, 0), other_model
        )
    for path, target in sorted(links.items()):
        yield _header(path, type=tarfile.SYMTYPE, mode=0o777, linkname=target)
    yield bytes(2 * _BLOCK)


def data_archive(plan: RunPlan, user: tuple[int, int]) -> Iterator[bytes]:
    """All data for a volume at `DATA`, by the names of the sources, read-only and the user's."""
    for name, manifest in sorted(plan.data.items()):
        source = locate(plan.project, name, plan.spec.data[name])
        yield from _tree_archive(name, manifest, source, user, _changed)
    yield bytes(2 * _BLOCK)


def _tree_archive(
    name: str,
    manifest: TreeManifest,
    source: Path,
    user: tuple[int, int],
    changed: Callable[[str], MllockError],
) -> Iterator[bytes]:
    uid, gid = user
    folders = {parent for entry in manifest.entries for parent in _parents(entry.path)}
    if not manifest.is_single_file:
        folders |= {""} | {entry.path for entry in manifest.entries if entry.kind == "d"}
    for path in sorted(folders):
        full = f"{name}/{path}".rstrip("/")
        yield _header(full, type=tarfile.DIRTYPE, mode=0o555, uid=uid, gid=gid)
    for entry in manifest.entries:
        single = entry.path == SINGLE
        full = name if single else f"{name}/{entry.path}"
        if entry.target is not None:
            yield _header(full, type=tarfile.SYMTYPE, mode=0o777, linkname=entry.target)
        elif entry.digest is not None:
            mode = 0o555 if entry.kind == "x" else 0o444
            yield _header(full, mode=mode, uid=uid, gid=gid, size=entry.size)
            file = source if single else source / entry.path
            yield from _content(file, entry.size, hex_of(entry.digest), full, changed)
            yield bytes(-entry.size % _BLOCK)


def _content(
    path: Path, size: int, expected: str, name: str, changed: Callable[[str], MllockError]
) -> Iterator[bytes]:
    """The bytes of a file. What goes wrong ends the archive: an OSError that came out of here would
    look like the engine's."""
    whole, sent = hashlib.sha256(), 0
    try:
        with open(path, "rb", buffering=0) as file:
            while sent < size and (chunk := file.read(min(_CHUNK, size - sent))):
                whole.update(chunk)
                sent += len(chunk)
                yield chunk
    except OSError as error:
        raise changed(name) from error
    if whole.hexdigest() != expected:
        raise changed(name)


def _changed(name: str) -> VoidRunError:
    return VoidRunError(
        "the data changed while the run was prepared", file=name, hint="train again"
    )


def other_model(path: str) -> MllockError:
    """What to say of a file of a trained model that is not as its record says; `path` is where the
    program would find it."""
    return RunError(
        "not the file that the run's record names",
        file=path,
        hint='see what differs with "mllock check", or name another run',
    )


def _model_path(plan: RunPlan) -> str:
    assert plan.spec.train is not None
    return plan.spec.train.model


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _header(name: str, **fields: object) -> bytes:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member.tobuf(tarfile.PAX_FORMAT)
