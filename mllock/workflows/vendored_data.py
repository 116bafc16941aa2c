"""Data that is missing in the project and is in a vendored folder: whether, what, and bringing it.

Only a source that is not there at all is made, at the place that the spec names, whole or not at
all, from files that are hashed while they are copied. What is there, whatever it is, is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mllock.core.digest import Digest, hex_of
from mllock.core.globs import compile_globs, is_everything
from mllock.core.tree import Entry, TreeManifest, parse
from mllock.data.scan import labeller, valid_manifest
from mllock.errors import InputError, IntegrityError
from mllock.lock.types import DataPin
from mllock.spec.sources import is_remote
from mllock.spec.types import DataSource
from mllock.store import atomic
from mllock.store.regular import hash_regular
from mllock.store.vendored import Vendored
from mllock.workflows.context import Context

__all__ = ["bring_vendored", "is_only_vendored", "vendored_tree"]

_MAX_MANIFEST = 1 << 34


def is_only_vendored(ctx: Context, source: DataSource, pin: DataPin) -> bool:
    """Whether the source is missing here, and a vendored folder has all of it, by name and size:
    as far as `lock --check` looks at data that is here. Raises IntegrityError if one should have
    it, and is damaged."""
    return _missing(ctx, source) and _found(ctx, pin) is not None


def vendored_tree(ctx: Context, source: DataSource, pin: DataPin) -> TreeManifest | None:
    """What `source` would select if `pin`, which is missing here, were brought back; None if it is
    not missing, or in no vendored folder."""
    if not _missing(ctx, source):
        return None
    found = _found(ctx, pin)
    manifest = None if found is None else found[1]
    if manifest is None or manifest.is_single_file:
        return manifest
    whole = is_everything(source.include, source.exclude)
    wanted = compile_globs(source.include, source.exclude)
    entries = manifest.entries
    chosen = [entry for entry in entries if whole or (entry.kind != "d" and wanted(entry.path))]
    return valid_manifest(chosen, labeller(source.source))


def bring_vendored(
    ctx: Context, sources: Mapping[str, DataSource], pins: Mapping[str, DataPin]
) -> None:
    """Put every source that is missing here, and vendored, where the spec says that it is."""
    for name, source in sorted(sources.items()):
        pin = pins.get(name)
        if pin is None or not _missing(ctx, source):
            continue
        found = _found(ctx, pin)
        if found is not None:
            folder, manifest = found
            ctx.reporter.note(f"data.{name}: brought back from {folder.root}")
            _put(folder, manifest, ctx.project / source.source)


def _missing(ctx: Context, source: DataSource) -> bool:
    """Nothing of that name here, nor a link in the way that leads out of the project. Remote data
    are fetched, and the cache looks into vendored folders by itself."""
    if is_remote(source.source):
        return False
    inside = os.path.realpath(ctx.project)
    path = os.path.realpath(os.path.join(inside, source.source))
    return path.startswith(inside + os.sep) and not os.path.lexists(
        os.path.join(inside, source.source)
    )


def _found(ctx: Context, pin: DataPin) -> tuple[Vendored, TreeManifest] | None:
    """The first folder that has all of `pin`, and the manifest; None if none names it.

    Raises IntegrityError if those that name it do not have it: whoever relies on them would
    otherwise hear of data that is missing in the project.
    """
    tree = Digest(pin.tree)
    broken: IntegrityError | None = None
    for folder in ctx.cache.vendored:
        if not folder.lists(tree):
            continue
        found = _complete(folder, tree)
        if isinstance(found, TreeManifest):
            return folder, found
        broken = broken or _damaged(folder, found)
    if broken is not None:
        raise broken
    return None


def _complete(folder: Vendored, tree: Digest) -> TreeManifest | str:
    """The manifest of `tree`, verified, if all of its files are there by name and size; else the
    path of the first that is not."""
    path = folder.find(tree)
    name = f"data/sha256/{hex_of(tree)}"
    try:
        if path is None or hash_regular(path, max_bytes=_MAX_MANIFEST) != tree:
            return name
        manifest = parse(path.read_bytes())
        for entry in manifest.entries:
            if entry.digest is not None:
                name = f"data/sha256/{hex_of(entry.digest)}"
                if _place(folder, entry).stat().st_size != entry.size:
                    return name
    except (OSError, InputError, ValueError):
        return name
    return manifest


def _damaged(folder: Vendored, path: str) -> IntegrityError:
    return IntegrityError(
        "the vendored data is not what its SHA256SUMS says",
        file=str(folder.root),
        key=path,
        hint='bring the folder here anew, or look with "mllock vendor --check"',
    )


def _place(folder: Vendored, entry: Entry) -> Path:
    assert entry.digest is not None
    found = folder.find(entry.digest)
    if found is None:
        raise FileNotFoundError(entry.path)
    return found


def _put(folder: Vendored, manifest: TreeManifest, target: Path) -> None:
    from mllock.train.trees import copy_tree

    def changed(path: str) -> IntegrityError:
        return _damaged(folder, path)

    with atomic.staging(target.parent) as staged:
        copy_tree(manifest, lambda entry: _place(folder, entry), staged / "data", changed)
        try:
            os.rename(staged / "data", target)
        except OSError as error:
            raise atomic.cannot_write(target, error) from error
