"""The native builder: a lock in, the layers of its environment out. No daemon, no root.

Order: every layer is looked up by its key first; only what is missing is made, and only then are
packages asked for. Python layers are resolved all together (paths of two owners, `check_conflicts`)
before the first is used, and that is noted: layers that were made for other locks are not put
together unseen. Several layers are made at a time; what was written when one fails, or at Ctrl-C,
is whole or gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllock.core.ports import Reporter
from mllock.image.layers import (
    cached_layer,
    find_layer,
    find_layers,
    keep_layer,
    recall,
    remember,
)
from mllock.image.making import LayerTask, make_layers
from mllock.image.overlaps import LeftOut, check_conflicts
from mllock.image.python import PythonGroup, group_nodes, merge, python_groups
from mllock.image.resolve import refuse_reserved
from mllock.image.types import Layer
from mllock.lock.overlaps import is_narrowed, overlaps_of
from mllock.lock.types import DebianPackage, Lock, PythonPackage
from mllock.store.cache import Cache
from mllock.store.oci_json import Descriptor

__all__ = ["Packages", "build_environment", "layer_pool", "layers_below_python"]

NO_CONFLICTS = "no conflicts"


def _no_image(_: Sequence[Descriptor]) -> None:
    raise AssertionError("the base is no image")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """Where packages come from when a layer has to be made: verified files, by their names. `base`
    puts the blobs of a base image into the cache. `twin` gives the layers of base and system of
    another platform of the lock, whose Python may run here; none if there is none."""

    wheels: Callable[[Sequence[PythonPackage]], Mapping[str, Path]]
    debs: Callable[[Sequence[DebianPackage]], Mapping[str, Path]]
    base: Callable[[Sequence[Descriptor]], None] = _no_image
    twin: Callable[[], Sequence[Layer]] = tuple


def build_environment(
    lock: Lock, packages: Packages, cache: Cache, reporter: Reporter
) -> tuple[Layer, ...]:
    """Base, system, Python and bytecode layers of `lock`, bottom up, blobs in the cache.

    Raises LockError, ArchiveError, SurroundingsError, and what `packages` raises.
    """
    below = layers_below_python(lock, packages, cache, reporter)
    groups, python = _python_layers(lock, packages, cache, reporter)
    if not lock.inputs.environment.get("bytecode"):
        return (*below, *python)
    from mllock.image.bytecode_layers import bytecode_layers

    with layer_pool() as pool:
        bytecode = bytecode_layers(
            lock, groups, below, packages.wheels, cache, reporter, pool, packages.twin
        )
    return (*below, *python, *bytecode)


def layers_below_python(
    lock: Lock, packages: Packages, cache: Cache, reporter: Reporter
) -> tuple[Layer, ...]:
    """Base and system layers of a lock for one platform, as `build_environment` has them."""
    image = lock.base.on(lock.inputs.environment["platforms"][0])
    if image is None:
        return _system_layers(lock, packages, cache, reporter)
    from mllock.image.base_layers import base_layers, system_layer

    layers = base_layers(lock, image, packages.base, cache, reporter)
    if not lock.system:
        return layers
    with layer_pool() as pool:
        debs = packages.debs
        return (*layers, system_layer(lock.system, image, debs, cache, reporter, pool))


def _system_layers(
    lock: Lock, packages: Packages, cache: Cache, reporter: Reporter
) -> tuple[Layer, ...]:
    base = tuple(deb for deb in lock.system if deb.layer == "base")
    system = tuple(deb for deb in lock.system if deb.layer == "system")
    base_key = {"suite": lock.base.suite, "debs": _digests(base)}
    system_key = base_key | {"system": _digests(system)}
    base_title = f"debian:{lock.base.suite}"
    system_title = ", ".join(deb.name for deb in system)
    found = find_layer(cache, "base", base_title, base_key)
    above = find_layer(cache, "system", system_title, system_key) if system else None
    if found is not None and (above is not None or not system):
        return (found, above) if above is not None else (found,)

    from mllock.image.debian import base_nodes, system_nodes

    reporter.step(f"making the base from {len(base)} Debian packages")
    wanted = lock.system if above is None else base
    debs = packages.debs(wanted)
    aside = cache.folder("tmp")
    below = base_nodes([(deb, debs[deb.filename]) for deb in base], aside)
    refuse_reserved(below)
    with layer_pool() as pool:
        layers = [cached_layer(cache, "base", base_title, base_key, lambda: below, pool)]
        if system and above is None:
            nodes = system_nodes(
                [(deb, debs[deb.filename]) for deb in system],
                {node.path: node for node in below},
                aside,
            )
            refuse_reserved(nodes)
            above = cached_layer(cache, "system", system_title, system_key, lambda: nodes, pool)
    return (*layers, above) if above is not None else tuple(layers)


def _python_layers(
    lock: Lock, packages: Packages, cache: Cache, reporter: Reporter
) -> tuple[tuple[PythonGroup, ...], tuple[Layer, ...]]:
    """The groups, less what rules leave out of them, and their layers."""
    groups = python_groups(lock)
    rules = overlaps_of(lock)
    # Layers that other projects made may be there, and not go together.
    together: dict[str, Any] = {"layers": [group.key for group in groups]}
    if rules:
        together["overlaps"] = [[rule.path, rule.keep] for rule in rules]
        together["idle"] = is_narrowed(lock)
    left_out = _left_out(recall(cache, NO_CONFLICTS, together))
    if left_out is None and rules:
        # What they leave out is part of the keys of layers.
        wheels = packages.wheels(lock.python.packages)
        left_out = check_conflicts(
            [owner for group in groups for owner in group_nodes(group, wheels)],
            rules,
            idle=is_narrowed(lock),
        )
        remember(cache, NO_CONFLICTS, together, left_out)
    groups = tuple(group.without(left_out or {}) for group in groups)
    found = find_layers(cache, [("python", group.title, group.key) for group in groups])
    missing = [position for position, layer in enumerate(found) if layer is None]
    if missing or left_out is None:
        count = sum(len(groups[position].packages) for position in missing)
        if missing:
            reporter.step(f"making {len(missing)} Python layers from {count} wheels")
        wheels = packages.wheels(lock.python.packages)
        # The largest first: begun last, it would keep one core busy while the others have none.
        missing.sort(key=lambda position: -groups[position].work)

        def tasks() -> Iterator[LayerTask]:
            owned = {}
            for position in missing:
                owned[position] = group_nodes(groups[position], wheels)
                nodes = merge(owned[position])
                yield LayerTask(kind="python", title=groups[position].title, nodes=nodes)
            every = [
                owned.get(position) or group_nodes(group, wheels)
                for position, group in enumerate(groups)
            ]
            check_conflicts([owner for owners in every for owner in owners])

        size = sum(groups[position].size for position in missing)
        # Each as it is made: what is finished when something fails need not be made again.
        made = make_layers(
            tasks(),
            cache,
            reporter,
            count=len(missing),
            size=size,
            keep=lambda number, layer: keep_layer(cache, groups[missing[number]].key, layer),
        )
        if left_out is None:
            remember(cache, NO_CONFLICTS, together, {})
        cache.made(layer.digest for layer in made)
        for position, layer in zip(missing, made, strict=True):
            found[position] = layer
    return groups, tuple(layer for layer in found if layer is not None)


def _left_out(value: Mapping[str, Any] | None) -> LeftOut | None:
    """What was noted before; None if it is nothing of ours."""
    if value is None:
        return None
    lists = all(isinstance(paths, list) for paths in value.values())
    return {name: tuple(paths) for name, paths in value.items()} if lists else None


def layer_pool() -> ThreadPoolExecutor:
    """Threads for layers, or for the pieces of one: compressing does not hold the interpreter."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mllock-layer")


def _digests(debs: Sequence[DebianPackage]) -> list[str]:
    return [f"sha256:{deb.sha256}" for deb in debs]
