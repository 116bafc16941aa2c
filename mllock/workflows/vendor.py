"""`mllock vendor`: a folder with every input that the lock pins, each hashed while it is copied.

Order: a current lock; the data, verified by content; wheels, Debian packages and base into the
cache, where they are missing; the files, one by one, each by one rename; SHA256SUMS, which is what
makes them found; and only then what no lock needs any more is removed. What is there and right is
kept, so that the same command goes on after an interruption. Not for reading such a folder
(`mllock.store.vendored`). Layout: docs/reference/vendor.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mllock.core import safepath
from mllock.core.digest import Digest, from_hex, hex_of
from mllock.core.tree import SINGLE, TreeManifest, parse
from mllock.core.vendor import SUMS, VENDOR
from mllock.data.pin import locate, verify_source
from mllock.errors import InputError, IntegrityError, LockError
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.types import Lock, PythonPackage
from mllock.spec.loaded import LoadedSpec
from mllock.spec.reader import load_spec
from mllock.store import atomic
from mllock.store.regular import hash_regular, open_regular
from mllock.store.vendored import FOLDER, Vendored, is_vendored, sums_bytes
from mllock.workflows.context import Context
from mllock.workflows.environment import locked_wheels, packages_of
from mllock.workflows.lock import current_lock
from mllock.workflows.remote_data import bring_remote
from mllock.workflows.vendored_data import bring_vendored

__all__ = ["Item", "VendorCheck", "VendorResult", "check_vendor", "vendor"]

Kind = Literal["wheel", "deb", "base", "data"]

_CHUNK = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One file of a vendored folder. `path` is relative to it, `size` in bytes."""

    kind: Kind
    path: str
    digest: Digest
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorResult:
    """What `mllock vendor` did. `items` are all that the lock needs, `added` those of them that
    were not there; `stale` are files of other locks, `removed` if that was asked for."""

    folder: Path
    items: tuple[Item, ...]
    added: tuple[Item, ...]
    stale: tuple[str, ...]
    removed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorCheck:
    """`problems` are (path, what is wrong with it); none, and the folder has all."""

    folder: Path
    items: int
    problems: tuple[tuple[str, str], ...]


def vendor(ctx: Context, folder: Path | None = None, *, prune: bool = False) -> VendorResult:
    """Make or complete `folder`, default `vendor` of the project."""
    loaded, lock = _lock(ctx)
    folder = _place(ctx, folder)
    bring_vendored(ctx, loaded.spec.data, lock.data)
    bring_remote(ctx, loaded.spec.data, lock)
    manifests = {
        name: verify_source(ctx.project, name, source, lock.data[name])
        for name, source in sorted(loaded.spec.data.items())
    }
    sources = _sources(ctx, loaded, lock, manifests)
    before = _begun(folder)
    there = _right(folder, sources)
    added = tuple(item for item in sources if item.path not in there)
    _refuse_led_out(folder, added)
    total = sum(item.size for item in added)
    with contextlib.ExitStack() as stack:
        if added:
            advance = stack.enter_context(
                ctx.reporter.progress(f"copying {_files(len(added))} to {folder}", total)
            )
            for item in added:
                _copy(item, sources[item], folder / item.path)
                advance(item.size)
    wanted = {item.path: item.digest for item in sources}
    stale = tuple(sorted(path for path in before if path not in wanted))
    left = {} if prune else {path: before[path] for path in stale}
    if {**left, **wanted} != before:  # what says the same already may be on read-only media
        atomic.write_bytes(folder / SUMS, sums_bytes({**left, **wanted}))
    if prune:
        _remove(folder, stale)
    return VendorResult(
        folder=folder, items=tuple(sources), added=added, stale=stale, removed=prune
    )


def check_vendor(ctx: Context, folder: Path | None = None) -> VendorCheck:
    """Whether `folder` has all that the lock pins, by content; offline, and without the cache."""
    _, lock = _lock(ctx)
    folder = _looked_into(ctx) if folder is None else folder
    vendored = Vendored(folder)
    listed = vendored.files  # refuses what is no vendored folder
    items = list(_locked(lock))
    problems: list[tuple[str, str]] = []
    for name, pin in sorted(lock.data.items()):
        manifest = _manifest(vendored, Digest(pin.tree))
        if manifest is None:
            problems.append((_data_path(Digest(pin.tree)), f"the list of data.{name} is not there"))
        else:
            items += _data_items(manifest)
    right = _right(folder, items)
    for item in items:
        if item.path not in listed:
            problems.append((item.path, "not there"))
        elif item.path not in right:
            there = os.path.lexists(folder / item.path)
            problems.append((item.path, "not what is locked" if there else "gone"))
    return VendorCheck(
        folder=folder,
        items=len(items) + len(lock.data),
        problems=tuple(sorted(dict.fromkeys(problems))),
    )


def _looked_into(ctx: Context) -> Path:
    """`vendor` of the project, or the folder that commands look into in its stead."""
    own = ctx.project / FOLDER
    named = [folder.root for folder in ctx.cache.vendored]
    return own if own in named or not named else named[0]


def _lock(ctx: Context) -> tuple[LoadedSpec, Lock]:
    loaded = load_spec(ctx.project / "mlproject.toml")
    lock, _ = current_lock(ctx, loaded, data=False)
    return loaded, lock


def _place(ctx: Context, folder: Path | None) -> Path:
    """Where to. Raises InputError for a folder that holds something else."""
    place = ctx.project / FOLDER if folder is None else folder
    if place != ctx.project / FOLDER and os.pathsep in str(place):
        raise InputError(
            f"a name that {VENDOR} cannot have: {os.pathsep!r} stands between its folders",
            file=str(place),
            hint=f"name a folder without {os.pathsep!r}",
        )
    if place.exists() and not is_vendored(place):
        if not place.is_dir():
            raise InputError("not a folder", file=str(place), hint="name another one")
        if any(place.iterdir()):
            raise InputError(
                'there is something in it that "mllock vendor" did not make',
                file=str(place),
                expected="a new or an empty folder, or one that was made by it",
                hint="name another folder: mllock vendor DIR",
            )
    return place


def _begun(folder: Path) -> Mapping[str, Digest]:
    """What SHA256SUMS says now. It is there first, so that whoever interrupts us can go on."""
    if not is_vendored(folder):
        atomic.write_bytes(folder / SUMS, sums_bytes({}))
    return Vendored(folder).files


def _locked(lock: Lock) -> Iterator[Item]:
    """What the lock alone says: all but the data, and without doubles."""
    from mllock.image.base_resolve import blobs_of

    seen: set[str] = set()

    def item(kind: Kind, path: str, digest: Digest, size: int) -> Iterator[Item]:
        if safepath.problem(path) is not None:
            raise LockError("not a name that a file may have", file="mlproject.lock", found=path)
        if path not in seen:
            seen.add(path)
            yield Item(kind=kind, path=path, digest=digest, size=size)

    for package in (*lock.python.packages, *_installer(lock)):
        for wheel in package.wheels:
            digest = from_hex(wheel.hashes["sha256"])
            yield from item("wheel", f"wheels/{wheel.name}", digest, wheel.size)
    for deb in lock.system:
        yield from item("deb", f"debs/{deb.filename}", from_hex(deb.sha256), deb.size)
    for pin in lock.base.platforms:
        for blob in blobs_of(pin):
            path = f"base/sha256/{hex_of(blob.digest)}"
            yield from item("base", path, blob.digest, blob.size)


def _installer(lock: Lock) -> tuple[PythonPackage, ...]:
    """An engine that builds installs with a pip of ours."""
    if lock.inputs.builder.get("kind") != "docker" or not lock.python.packages:
        return ()
    from mllock.workflows.docker_context import PIP

    return (PIP,)


def _data_path(digest: Digest) -> str:
    return f"data/sha256/{hex_of(digest)}"


def _data_items(manifest: TreeManifest) -> Iterator[Item]:
    sizes = {e.digest: e.size for e in manifest.entries if e.digest is not None}
    for digest, size in sizes.items():
        yield Item(kind="data", path=_data_path(digest), digest=digest, size=size)


def _manifest(vendored: Vendored, tree: Digest) -> TreeManifest | None:
    path = vendored.find(tree)
    try:
        if path is None or hash_regular(path, max_bytes=1 << 34) != tree:
            return None
        return parse(path.read_bytes())
    except (OSError, InputError, ValueError):
        return None


def _sources(
    ctx: Context, loaded: LoadedSpec, lock: Lock, manifests: Mapping[str, TreeManifest]
) -> dict[Item, Path | bytes]:
    """Everything that the folder is to hold, and where its bytes are. Fetches what is missing."""
    found: dict[str, Path] = {}
    packages = packages_of(ctx, loaded, lock)
    for platform in platforms_of(lock):
        part = narrowed(lock, platform)
        fetch = locked_wheels(ctx, part)
        for name, path in fetch((*part.python.packages, *_installer(part))).items():
            found[f"wheels/{name}"] = path
    if lock.system:
        found |= {f"debs/{name}": path for name, path in packages.debs(lock.system).items()}
    sources: dict[Item, Path | bytes] = {}
    for item in _locked(lock):
        if item.kind != "base":
            sources[item] = found[item.path]
    for pin in lock.base.platforms:
        from mllock.image.base_resolve import blobs_of

        packages.base(blobs_of(pin))
    for item in _locked(lock):
        if item.kind == "base":
            sources[item] = ctx.cache.blob_path(item.digest)
    known = {item.path for item in sources}
    for name, manifest in manifests.items():
        root = locate(ctx.project, name, loaded.spec.data[name])
        text = manifest.text()
        tree = Item(
            kind="data",
            path=_data_path(manifest.digest),
            digest=manifest.digest,
            size=len(text),
        )
        places = {
            e.digest: root if e.path == SINGLE else root / e.path
            for e in manifest.entries
            if e.digest is not None
        }
        for item in (tree, *_data_items(manifest)):
            if item.path not in known:
                known.add(item.path)
                sources[item] = text if item is tree else places[item.digest]
    return sources


def _right(folder: Path, items: Iterable[Item]) -> frozenset[str]:
    """The paths of `items` that are there with the right bytes."""

    def is_right(item: Item) -> bool:
        try:
            return hash_regular(folder / item.path, max_bytes=item.size) == item.digest
        except (OSError, InputError):
            return False

    every = tuple(items)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="mllock-vendor") as pool:
        answers = pool.map(is_right, every)
        return frozenset(item.path for item, right in zip(every, answers, strict=True) if right)


def _copy(item: Item, source: Path | bytes, target: Path) -> None:
    if isinstance(source, bytes):
        atomic.write_bytes(target, source)
        return
    whole = hashlib.sha256()
    if target.is_dir() and not target.is_symlink():
        raise InputError("a folder is where a file should be", file=str(target))
    with open_regular(source) as reader, atomic.writing(target) as writer:
        while chunk := reader.read(_CHUNK):
            whole.update(chunk)
            writer.write(chunk)
        found = from_hex(whole.hexdigest())
        if found != item.digest:
            raise IntegrityError(
                "changed while it was copied",
                file=str(source),
                expected=item.digest,
                found=found,
                hint="type the same command again when nobody writes to it",
            )


def _refuse_led_out(folder: Path, items: Iterable[Item]) -> None:
    inside = Vendored(folder)
    for parent in sorted({str(Path(item.path).parent) for item in items}):
        if inside.inside(f"{parent}/.") is None:
            raise InputError(
                "a link leads it out of the vendored folder",
                file=str(folder / parent),
                found=os.path.realpath(folder / parent),
                hint="remove the link, or name another folder",
            )


def _remove(folder: Path, paths: Sequence[str]) -> None:
    inside = Vendored(folder)
    for path in paths:
        place = inside.inside(path)
        if place is None:
            continue
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
        for parent in list(Path(path).parents)[:-1]:
            with contextlib.suppress(OSError):
                (folder / parent).rmdir()


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
