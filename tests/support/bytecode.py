"""A small lock on a base that holds a real Python of this machine, built with bytecode."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mllock.core.digest import from_hex
from mllock.image.build import Packages, build_environment
from mllock.image.tree import Node
from mllock.image.types import BUILDER_FORMAT, Layer
from mllock.lock.types import LayerGroup, Layers, Lock, PythonPackage
from mllock.store.cache import Cache
from mllock.workflows.context import make_context
from support.pythons import LIBRARY, PythonBase
from support.reporter import Recorder
from support.training import SPEC as TINY
from support.training import lock_of, make_project, put_wheels
from support.world import seed_base

SPEC = TINY.replace('python = "3.11"', 'python = "3.11"\nbytecode = true')
SITE = "opt/venv/lib/python3.11/site-packages"
INSIDE = LIBRARY.format(minor="3.11")

Files = Mapping[tuple[str, str], dict[str, bytes]]
WHEELS: Files = {
    ("one", "1.0"): {"one/__init__.py": b"ONE = 1\n", "one/data.txt": b"data"},
    ("two", "1.0"): {"two.py": b"import one\nTWO = {'a', 'b'}\n"},
    ("three", "1.0"): {"three/__init__.py": b"", "three/deep/er.py": b"def f(): pass\n"},
}
GROUPS = (("one",), ("three", "two"))


@dataclass(slots=True)
class Bench:
    """A cache and a project, what was said when its lock was built, and the base that it then had.
    `twin` is the base of another platform."""

    root: Path
    base: PythonBase
    nodes: tuple[Node, ...]
    overlaps: tuple[dict[str, str], ...] = ()
    said: list[str] = field(default_factory=list)
    below: tuple[Layer, ...] = ()
    twin: tuple[Layer, ...] = ()

    def lock(self, wheels: Files, groups: tuple[tuple[str, ...], ...]) -> Lock:
        project = make_project(self.root / "project", spec=SPEC)
        lock = lock_of(project, put_wheels(self.cache(), wheels))
        base = msgspec.structs.replace(
            lock.base, python=self.base.version, interpreter=self.base.interpreter
        )
        layers = Layers(
            builder_format=BUILDER_FORMAT,
            python=tuple(LayerGroup(packages=names) for names in groups),
        )
        environment = {**lock.inputs.environment, "overlaps": list(self.overlaps)}
        inputs = msgspec.structs.replace(lock.inputs, environment=environment)
        return msgspec.structs.replace(lock, base=base, layers=layers, inputs=inputs)

    def cache(self) -> Cache:
        return Cache(self.root / "cache", Recorder())

    def build(
        self, wheels: Files = WHEELS, groups: tuple[tuple[str, ...], ...] = GROUPS
    ) -> tuple[Layer, ...]:
        """The layers above the base."""
        lock = self.lock(wheels, groups)
        context = make_context(
            self.root / "project", Recorder(), {"MLLOCK_CACHE": str(self.root / "cache")}
        )
        seed_base(context, lock, self.nodes)
        reporter = Recorder()

        def files(packages: tuple[PythonPackage, ...]) -> dict[str, Path]:
            found = {}
            for package in packages:
                wheel = package.wheels[0]
                path = context.cache.get(from_hex(wheel.hashes["sha256"]))
                assert path is not None
                found[wheel.name] = path
            return found

        try:
            packages = Packages(wheels=files, debs=dict, twin=lambda: self.twin)
            layers = build_environment(lock, packages, context.cache, reporter)
        finally:
            self.said = [line for line in reporter.lines if "Python layers" not in line]
        assert layers[0].kind == "base"
        self.below = layers[:1]
        return layers[1:]

    def files(self, layer: Layer) -> dict[str, bytes]:
        """The files of a layer that is in the cache; folders are 0755, files 0644, all root's."""
        path = self.cache().get(layer.digest)
        assert path is not None
        found = {}
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes()))) as archive:
            for member in archive:
                assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
                if layer.kind == "bytecode":
                    assert member.mode == (0o755 if member.isdir() else 0o644)
                if member.isfile():
                    data = archive.extractfile(member)
                    assert data is not None
                    found[member.name] = data.read()
        return found
