"""What differs between the image that was built last and the one that is built now. Pure.

For each layer that the last image does not have: the packages, files or run that changed, as a
person would say it. Where none of them changed and the bytes did, that is said, with the version
of mllock if it is another one: it is never passed over. Law: a layer has changes if and only if the
last image has no such layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mllock.image.types import ENVIRONMENT_KINDS, Layer

# Packages of Debian that hold the standard library.
_PYTHON = ("libpython", "python")

__all__ = ["MAX_NAMED", "Facts", "Package", "image_changes", "layer_changes"]

MAX_NAMED = 8
# Labels that follow from what is told already.
_TOLD = {"mllock.builder-format", "mllock.environment"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package of an image; `layer` is the diff_id of where it is."""

    name: str
    kind: str
    version: str
    sha256: str
    layer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known about an image, now or of last time. `files` are lines of a tree manifest,
    `frame` is the layer with the frame of the virtual environment, `wheels` says where the packages
    are that the layers of bytecode are of."""

    diff_ids: tuple[str, ...]
    frame: str | None
    wheels: Mapping[str, str]
    packages: tuple[Package, ...]
    files: Mapping[str, str]
    settings: Mapping[str, Any]
    params: Mapping[str, str]
    model: str | None
    run: str | None
    python: str
    base: str
    base_digest: str | None
    bytecode: bool
    builder_format: str
    mllock: str


def image_changes(before: Facts, now: Facts) -> tuple[str, ...]:
    """What is about the image and no layer: who made it, and its configuration."""
    found = [*_makers(before, now), *_gone(before, now)]
    if before.bytecode and not now.bytecode:
        found.append("bytecode is no longer shipped")
    for key in sorted({*before.settings, *now.settings}):
        one, other = before.settings.get(key), now.settings.get(key)
        if one == other:
            continue
        if isinstance(one or {}, dict) and isinstance(other or {}, dict):
            # What follows from something that is told already is not told again.
            names = _differing(one or {}, other or {}) - _TOLD
            found += [f"config: {key}.{name}" for name in sorted(names)]
        else:
            found.append(f"config: {key}")
    return tuple(found)


def layer_changes(before: Facts, now: Facts, layer: Layer) -> tuple[str, ...]:
    """Why `layer` of the image of `now` is not in the one of `before`; empty if it is."""
    if layer.diff_id in before.diff_ids:
        return ()
    match layer.kind:
        case "code":
            found = _files(before.files, now.files)
            found += _params(before.params, now.params)
        case "model" | "record":
            found = _run(before, now)
        case _ if layer.kind in ENVIRONMENT_KINDS:
            found = _environment(before, now, layer)
        case _:
            found = []
    if found:
        return tuple(found)
    makers = _makers(before, now)
    if makers:
        return makers
    if layer.kind == "code" and now.run is None:
        return ("what [train] declares as outputs changed",)
    return ("other bytes of the same content",)


def _makers(before: Facts, now: Facts) -> tuple[str, ...]:
    return tuple(
        f"{what} {one} -> {other}"
        for what, one, other in (
            ("builder format", before.builder_format, now.builder_format),
            ("mllock", before.mllock, now.mllock),
        )
        if one != other
    )


def _gone(before: Facts, now: Facts) -> list[str]:
    """Packages that went with the whole of their layer, so that no layer tells of them."""
    names = {(package.kind, package.name) for package in now.packages}
    kept = {p.layer for p in before.packages if (p.kind, p.name) in names}
    items = [f"{p.name} {p.version}" for p in before.packages if p.layer not in kept]
    return [f"removed: {_listed(items)} (lock)"] if items else []


def _environment(before: Facts, now: Facts, layer: Layer) -> list[str]:
    found = []
    if layer.kind in ("base", "system"):
        found += _base(before, now)
    if layer.kind == "bytecode" and not before.bytecode:
        return ["bytecode is shipped from now on"]
    if before.python != now.python and layer.kind in ("python", "bytecode"):
        found.append(f"Python {before.python} -> {now.python}")
    library = layer.kind == "bytecode" and layer.diff_id not in now.wheels
    mine = _packages_of(now, layer)
    old = {(package.kind, package.name): package for package in before.packages}
    new = {(package.kind, package.name): package for package in now.packages}
    updated, added = [], []
    came: dict[str, list[str]] = {}
    for package in mine:
        last = old.get((package.kind, package.name))
        if last is None:
            added.append(f"{package.name} {package.version}")
            continue
        came.setdefault(last.layer, []).append(package.name)
        if last.version != package.version:
            updated.append(f"{package.name} {last.version} -> {package.version}")
        elif last.sha256 != package.sha256:
            updated.append(f"{package.name} {package.version}: another file")
    # The layer of last time that this one goes on from: most of its packages were there.
    home = max(sorted(came), key=lambda origin: len(came[origin]), default=None)
    moved = [name for origin in sorted(came) if origin != home for name in came[origin]]
    removed, left = [], []
    for package in before.packages:
        if package.layer == home and (not library or package.name.startswith(_PYTHON)):
            still = new.get((package.kind, package.name))
            if still is None:
                removed.append(f"{package.name} {package.version}")
            elif still not in mine:
                left.append(package.name)
    debs = layer.kind in ("base", "system")
    found += _told(updated, "updated", debs)
    found += _told(added, "added", debs)
    found += _told(removed, "removed", debs)
    found += _told(moved, "moved here from another layer", debs)
    found += _told(left, "moved to another layer", debs)
    if layer.kind != "python":
        return found
    if layer.diff_id == now.frame and home != before.frame:
        found.append("now holds the frame of the virtual environment")
    elif home is not None and home == before.frame and layer.diff_id != now.frame:
        found.append("no longer holds the frame of the virtual environment")
    return found


def _base(before: Facts, now: Facts) -> list[str]:
    if before.base != now.base:
        return [f"base {before.base} -> {now.base}"]
    if before.base_digest != now.base_digest:
        one, other = (str(x.base_digest).partition(":")[2][:12] for x in (before, now))
        return [f"base {now.base}: {one} -> {other} (lock)"]
    return []


def _packages_of(now: Facts, layer: Layer) -> list[Package]:
    """What is in a layer; of bytecode, what it was compiled from."""
    if layer.kind != "bytecode":
        return [package for package in now.packages if package.layer == layer.diff_id]
    where = now.wheels.get(layer.diff_id)
    if where is None:
        return [p for p in now.packages if p.kind == "deb" and p.name.startswith(_PYTHON)]
    return [package for package in now.packages if package.layer == where]


def _told(items: list[str], what: str, debs: bool) -> list[str]:
    if not items:
        return []
    if not debs:
        verb = "" if what == "updated" else f"{what}: "
        return [f"{verb}{_listed(items)} (lock)"]
    noun = "deb" if len(items) == 1 else "debs"
    return [f"{len(items)} {noun} {what}: {_listed(items)} (lock)"]


def _files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    groups = {
        "changed": [path for path in now if path in before and before[path] != now[path]],
        "added": [path for path in now if path not in before],
        "removed": [path for path in before if path not in now],
    }
    return [
        f"{len(paths)} {'file' if len(paths) == 1 else 'files'} {what}: {_listed(sorted(paths))}"
        for what, paths in groups.items()
        if paths
    ]


def _params(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = sorted(_differing(before, now))
    changes = [f"{n} {before.get(n, 'unset')} -> {now.get(n, 'unset')}" for n in names]
    return [f"params: {_listed(changes)}"] if changes else []


def _run(before: Facts, now: Facts) -> list[str]:
    if before.run != now.run:
        return [f"run {before.run or 'none'} -> {now.run or 'none'}"]
    return []


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


def _listed(items: Sequence[str]) -> str:
    if len(items) <= MAX_NAMED:
        return ", ".join(items)
    return f"{', '.join(items[:MAX_NAMED])} and {len(items) - MAX_NAMED} more"
