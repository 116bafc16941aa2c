"""The files of a shared model, written to disk as its tree manifest says, every byte verified.

The manifest decides everything: which paths, sizes, digests, modes, links; layers only bring the
bytes. A tar may hold files of the manifest and the folders above them, nothing else. Raises
ArchiveError for what a registry should not have sent, IntegrityError, SurroundingsError.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from mllock.core import safepath
from mllock.core.digest import Digest
from mllock.core.tree import SINGLE, Entry, TreeManifest
from mllock.errors import ArchiveError, SurroundingsError
from mllock.image.read import read_layer
from mllock.store import atomic
from mllock.store.oci_json import MEDIA_LAYER, Descriptor, Manifest
from mllock.store.registry.client import Registry
from mllock.store.registry.parallel import run_all
from mllock.store.registry.wire import StoppedError

__all__ = ["fetch_model", "refuse_full_disk"]

# What a tar of small files may unpack to, and how large its files are at most.
MAX_TAR = 256 * 1024 * 1024
PREFIX = "model/"


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Raises SurroundingsError if `needed` bytes have no room where `folder` is."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SurroundingsError(
            "not enough space for the model",
            file=str(folder),
            expected=f"{needed} bytes",
            found=f"{free} bytes free",
            hint="free some space, then run the same command again",
        )


def fetch_model(
    registry: Registry,
    artifact: Manifest,
    manifest: TreeManifest,
    folder: Path,
    single: str,
    advance: Callable[[int], None],
) -> None:
    """Make `folder` hold the model of `manifest`; a model that is one file is `single` in it."""
    if manifest.is_single_file and ("/" in single or safepath.problem(single) is not None):
        raise ArchiveError("not a name of a file", file="record", key="model", found=single)
    places: dict[Digest, list[tuple[Path, Entry]]] = {}
    for entry in manifest.entries:
        name = single if entry.path == SINGLE else entry.path
        if entry.digest is not None:
            places.setdefault(entry.digest, []).append((folder / name, entry))
    _lay_out(manifest, folder, single)
    tars = [layer for layer in artifact.layers if layer.media_type == MEDIA_LAYER]
    large = [layer for layer in artifact.layers if layer.media_type != MEDIA_LAYER]
    for layer in large:
        there = places.get(layer.digest)
        if there is None or there[0][1].size != layer.size:
            raise ArchiveError("a file that is not in the model's manifest", file=layer.digest)
    tasks = [lambda t=tar: _tar(registry, t, places, folder, advance) for tar in tars]
    tasks += [lambda f=file: _file(registry, f, places[f.digest], advance) for file in large]
    run_all(registry, tasks)
    for wanted in places.values():
        for path, entry in wanted:
            if not path.exists():
                raise ArchiveError("a file of the model is missing", file=f"{PREFIX}{entry.path}")


def _lay_out(manifest: TreeManifest, folder: Path, single: str) -> None:
    """Folders and links; a link is made where it is only a name, for nothing is written below."""
    folder.mkdir()
    for entry in manifest.entries:
        path = folder / (single if entry.path == SINGLE else entry.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "d":
            path.mkdir()
        elif entry.target is not None:
            os.symlink(entry.target, path)


def _file(
    registry: Registry,
    layer: Descriptor,
    places: list[tuple[Path, Entry]],
    advance: Callable[[int], None],
) -> None:
    first, entry = places[0]
    try:
        with first.open("xb") as file:
            for chunk in registry.stream(layer):
                if registry.wire.stop.is_set():
                    raise StoppedError
                file.write(chunk)
                advance(len(chunk))
            os.fchmod(file.fileno(), _mode(entry))
        for path, other in places[1:]:
            shutil.copyfile(first, path)
            path.chmod(_mode(other))
    except OSError as error:
        raise atomic.cannot_write(first, error) from error


def _tar(
    registry: Registry,
    layer: Descriptor,
    places: dict[Digest, list[tuple[Path, Entry]]],
    folder: Path,
    advance: Callable[[int], None],
) -> None:
    contents = read_layer(
        registry.stream(layer),
        layer.digest,
        hashed=lambda _: True,
        kept=lambda _: True,
        max_unpacked=MAX_TAR,
    )
    wanted = {path: entry for there in places.values() for path, entry in there}
    above = {parent for path in wanted for parent in path.parents}
    for name, member in contents.members.items():
        path = folder.parent / name
        entry = wanted.get(path)
        if member.kind == "folder" and path in above:
            continue
        if entry is None or member.data is None or member.digest != entry.digest:
            raise ArchiveError(
                "a member that is not in the model's manifest", file=layer.digest, key=name
            )
        try:
            with path.open("xb") as file:
                file.write(member.data)
                os.fchmod(file.fileno(), _mode(entry))
        except FileExistsError:
            raise ArchiveError("a file is there twice", file=layer.digest, key=name) from None
        except OSError as error:
            raise atomic.cannot_write(path, error) from error
        advance(len(member.data))
    if contents.whiteouts or contents.opaques:
        raise ArchiveError("whiteouts in a model", file=layer.digest)


def _mode(entry: Entry) -> int:
    return 0o755 if entry.kind == "x" else 0o644
