"""Bytecode layers: compiled where they are not kept already, one above each Python layer.

The first is of the base's standard library, then one for each Python layer that has sources, in the
same order. Everything is looked up by its key first: the bytecode of a wheel depends on the wheel,
the prefix and the interpreter (`Interpreter.identity`), so that a changed package compiles itself
and nothing else. The layers below are read as any image's are, so that the interpreter is the one
that the image has. Which files, and what they are called: `mllock.image.bytecode`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mllock.core.ports import Reporter
from mllock.errors import IntegrityError
from mllock.image.bytecode import Unit, bytecode_nodes, library_unit, wheel_unit
from mllock.image.compiling import Compiled, compiled
from mllock.image.interpreter import Interpreter, Tree, read_interpreter
from mllock.image.layers import find_layer, keep_layer, make_layer, recall, remember
from mllock.image.python import PythonGroup
from mllock.image.read import LayerContents, Member, merge, read_layer
from mllock.image.resolve import with_parents
from mllock.image.tree import Node, Stored
from mllock.image.types import Layer
from mllock.image.wheel import Prefix
from mllock.lock.types import Lock, PythonPackage
from mllock.store.cache import Cache
from mllock.store.other_json import packing_of

__all__ = ["bytecode_layers", "layer_tree"]

LIBRARY = "standard library"

_MADE = "bytecode made"
_CHUNK = 1024 * 1024
# Of one layer that many are named.
_NAMED = 100
# Layers that are being compressed while others are compiled: that many are in memory.
_AHEAD = 2

Wheels = Callable[[Sequence[PythonPackage]], Mapping[str, Path]]
_Key = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What is compiled and kept as one: a wheel, less the files that another one's took the place
    of, or (`package` None) the standard library."""

    key: _Key
    package: PythonPackage | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """A layer to be. A group of one part has the part's key: the layer is the same bytes."""

    title: str
    key: _Key
    parts: tuple[_Part, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """What became of a part or group: of `count` sources, those in `left_out` have no bytecode."""

    count: int
    left_out: tuple[Compiled, ...]
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """The same, in the cache. `layer` is None if nothing of it has bytecode."""

    made: _Made
    layer: Layer | None


def layer_tree(cache: Cache, layers: Sequence[Layer]) -> Tree:
    """The merged tree of finished layers, read from their blobs. Raises IntegrityError."""

    def tree(kept: Callable[[str], bool]) -> Mapping[str, Member]:
        return merge([_contents(cache, layer, kept) for layer in layers])

    return tree


def bytecode_layers(
    lock: Lock,
    python: Sequence[PythonGroup],
    below: Sequence[Layer],
    wheels: Wheels,
    cache: Cache,
    reporter: Reporter,
    pool: Executor,
    twin: Callable[[], Sequence[Layer]] = tuple,
) -> tuple[Layer, ...]:
    """The bytecode layers of `lock` for the groups `python`, bottom up; `below` are the layers of
    base and system, where the interpreter is. `twin` gives those of another platform of the same
    lock: their interpreter compiles where the own one is for another machine.

    Raises ArchiveError, SurroundingsError (the interpreter cannot run here), and what `wheels`
    raises.
    """
    maker = _Maker(lock, python, layer_tree(cache, below), below, cache, twin)
    groups = maker.groups()
    found = {group.title: _find(cache, group.key, group.title) for group in groups}
    missing = [group for group in groups if found[group.title] is None]
    if missing:
        made = maker.make(missing, wheels, reporter, pool)
        _count(made, reporter)
        found |= {group.title: kept for group, kept in zip(missing, made, strict=True)}
    done = [kept for kept in found.values() if kept is not None]
    for item in chain.from_iterable(kept.made.left_out for kept in done):
        tell = reporter.warn if item.varies else reporter.detail
        tell(f"no bytecode for {item.path}: {item.problem}")
    return tuple(kept.layer for kept in done if kept.layer is not None)


class _Maker:
    def __init__(
        self,
        lock: Lock,
        python: Sequence[PythonGroup],
        tree: Tree,
        below: Sequence[Layer],
        cache: Cache,
        twin: Callable[[], Sequence[Layer]],
    ) -> None:
        self._twin = twin
        self._lock = lock
        self._python = python
        self._tree = tree
        self._below = below
        self._cache = cache
        self._minor = ".".join(lock.base.python.split(".")[:2])
        self._prefix = Prefix(python=self._minor)
        self._interpreter: Interpreter | None = None

    def interpreter(self) -> Interpreter:
        if self._interpreter is None:
            base = self._lock.base
            self._interpreter = read_interpreter(self._tree, base.interpreter, self._minor)
        return self._interpreter

    def _compiler(self) -> Interpreter:
        """What compiles: bytecode does not depend on the machine (ADR 0076), so that of a twin
        where the own interpreter cannot run here. If that cannot either, whoever runs it says so.
        """
        own = self.interpreter()
        if own.machine == os.uname().machine:
            return own
        layers = self._twin()
        if not layers:
            return own
        tree = layer_tree(self._cache, layers)
        return read_interpreter(tree, self._lock.base.interpreter, self._minor)

    def groups(self) -> tuple[_Group, ...]:
        identity = self._identity()
        library = {"library": LIBRARY, "interpreter": identity}
        groups = [
            _Group(title=LIBRARY, key=library, parts=(_Part(key=library, package=None),)),
        ]
        for group in self._python:
            common = {"prefix": group.prefix.root, "interpreter": identity}
            parts = tuple(
                _Part(
                    key={"wheels": [digest], **common, **group.without_key([package.name])},
                    package=package,
                    left_out=group.left_out.get(package.name, ()),
                )
                for digest, package in zip(group.digests, group.packages, strict=True)
            )
            if parts:
                lost = group.without_key(group.left_out)
                key = {"wheels": list(group.digests), **common, **lost}
                groups.append(_Group(title=group.title, key=key, parts=parts))
        return tuple(groups)

    def _identity(self) -> str:
        """Noted by the layers, so that a build with nothing to compile does not read them."""
        key = {
            "layers": [layer.diff_id for layer in self._below],
            "interpreter": self._lock.base.interpreter,
            "python": self._lock.base.python,
        }
        noted = (recall(self._cache, "interpreter", key) or {}).get("identity")
        if isinstance(noted, str):
            return noted
        identity = self.interpreter().identity
        remember(self._cache, "interpreter", key, {"identity": identity})
        return identity

    def make(
        self, groups: Sequence[_Group], wheels: Wheels, reporter: Reporter, pool: Executor
    ) -> list[_Kept]:
        """The groups, in order. What was kept of their parts is not compiled again."""
        plan = [(group, [self._kept_part(group, part) for part in group.parts]) for group in groups]
        wanted = [
            part
            for group, found in plan
            for part, kept in zip(group.parts, found, strict=True)
            if kept is None
        ]
        files = wheels([part.package for part in wanted if part.package is not None])
        units = [self._unit(part, files) for part in wanted]
        running: list[Future[_Kept]] = []
        parts: list[Future[_Kept]] = []
        with self._compiled(units, reporter) as results, _pieces() as pieces:
            waiting = iter(units)
            for group, found in plan:
                made = []
                for part, kept in zip(group.parts, found, strict=True):
                    if kept is not None:
                        made.append(self._read(kept))
                        continue
                    made.append(_finish(next(waiting), results, self._minor))
                    if len(group.parts) > 1:
                        parts.append(pool.submit(self._keep, part.key, made[-1]))
                if len(running) >= _AHEAD:
                    running[-_AHEAD].result()
                whole = _together(made)
                running.append(pool.submit(self._keep, group.key, whole, group.title, pieces))
            for future in parts:
                future.result()
            return [future.result() for future in running]

    def _kept_part(self, group: _Group, part: _Part) -> _Kept | None:
        """A part of several. One that is alone is its group, which is not there."""
        return _find(self._cache, part.key) if len(group.parts) > 1 else None

    def _unit(self, part: _Part, files: Mapping[str, Path]) -> Unit:
        if part.package is None:
            return library_unit(self.interpreter(), self._minor)
        wheel = part.package.wheels[0].name
        return wheel_unit(files[wheel], wheel, self._prefix, frozenset(part.left_out))

    @contextlib.contextmanager
    def _compiled(self, units: Sequence[Unit], reporter: Reporter) -> Iterator[Iterator[Compiled]]:
        """What becomes of the sources of `units`, one after the other."""
        count = sum(unit.count for unit in units)
        if not count:
            yield iter(())
            return
        version = self._lock.base.python
        text = f"compiling {count} files with the base's Python {version}"
        with (
            reporter.progress(text, sum(unit.size for unit in units)) as moved,
            self._cache.scratch() as folder,
            compiled(
                self._compiler(),
                version,
                chain.from_iterable(unit.sources() for unit in units),
                folder,
                moved,
            ) as results,
        ):
            yield results

    def _keep(
        self, key: _Key, made: _Made, title: str = "", pieces: Executor | None = None
    ) -> _Kept:
        layer = None
        if made.nodes:
            nodes = with_parents(made.nodes)
            layer = make_layer(self._cache, "bytecode", title, nodes, pieces)
            keep_layer(self._cache, key, layer)
        named = [[item.path, item.problem, item.varies] for item in made.left_out[:_NAMED]]
        value = {"empty": layer is None, "count": made.count, "left-out": named}
        remember(self._cache, _MADE, key, value)
        return _Kept(made=replace(made, nodes=()), layer=layer)

    def _read(self, kept: _Kept) -> _Made:
        """The nodes of a part, from its layer."""
        if kept.layer is None:
            return kept.made
        members = _contents(self._cache, kept.layer, lambda _: True).members
        nodes = (
            Node(path=path, kind="file", mode=0o644, content=Stored(member.data or b""))
            for path, member in members.items()
            if member.kind == "file"
        )
        return replace(kept.made, nodes=tuple(nodes))


def _find(cache: Cache, key: _Key, title: str = "") -> _Kept | None:
    value = recall(cache, _MADE, key)
    if value is None:
        return None
    try:
        left_out = tuple(
            Compiled(path=path, data=None, problem=problem, varies=varies)
            for path, problem, varies in value["left-out"]
        )
        made = _Made(count=int(value["count"]), left_out=left_out)
        empty = bool(value["empty"])
    except (KeyError, TypeError, ValueError):
        return None
    if empty:
        return _Kept(made=made, layer=None)
    layer = find_layer(cache, "bytecode", title, key)
    return None if layer is None else _Kept(made=made, layer=layer)


def _finish(unit: Unit, results: Iterator[Compiled], minor: str) -> _Made:
    own = list(islice(results, unit.count))
    return _Made(
        count=unit.count + len(unit.left_out),
        left_out=(*unit.left_out, *(item for item in own if item.data is None)),
        nodes=tuple(bytecode_nodes(own, minor)),
    )


def _together(made: Sequence[_Made]) -> _Made:
    """Of files that two wheels hold, the first stays, as in the layer of their sources."""
    nodes: dict[str, Node] = {}
    for node in chain.from_iterable(item.nodes for item in made):
        nodes.setdefault(node.path, node)
    return _Made(
        count=sum(item.count for item in made),
        left_out=tuple(chain.from_iterable(item.left_out for item in made)),
        nodes=tuple(nodes.values()),
    )


def _pieces() -> ThreadPoolExecutor:
    """Threads for pieces of layers, which are made by other threads: the last one is made when
    nothing is left to be compiled."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mllock-piece")


def _count(kept: Sequence[_Kept], reporter: Reporter) -> None:
    left_out = sum(len(item.made.left_out) for item in kept)
    if left_out:
        total = sum(item.made.count for item in kept)
        reporter.note(f"{left_out} of {total} Python files ship without bytecode; -v names them")


def _contents(cache: Cache, layer: Layer, kept: Callable[[str], bool]) -> LayerContents:
    path = cache.get(layer.digest)
    if path is None:
        raise IntegrityError(
            "a layer is not in the cache any more", file=layer.digest, hint="run the command again"
        )
    with open(path, "rb") as file:
        contents = read_layer(
            iter(partial(file.read, _CHUNK), b""),
            layer.title or layer.digest,
            kept=kept,
            packing=packing_of(layer.media_type),
            # A base may be an image that any tool has written.
            other=layer.kind == "base",
        )
    if contents.diff_id != layer.diff_id:
        raise IntegrityError(
            "a layer of the cache is not what its entry says",
            file=layer.digest,
            expected=layer.diff_id,
            found=contents.diff_id,
            hint="run the command again",
        )
    return contents
