"""Locking a base that is an image: what it is now, or was when it was locked, and what is in it.

Implements `mllock.lock.ports.SystemResolver`; `mllock.lock.debian` does so for "debian:SUITE".
Order: the reference is resolved, unless the previous lock's pin of the same reference may stay; the
layers are fetched into the cache and read; then the base's Python and C library are found without
running them; Debian packages that the spec asks for come last, above what the base has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mllock.core.digest import Digest
from mllock.core.ports import Fetcher, Reporter
from mllock.errors import ArchiveError, MllockError, ResolutionError
from mllock.image.base_python import Interpreter, find_glibc, find_pythons
from mllock.image.base_system import installed_in, suite_in
from mllock.image.base_tree import LAYER, BaseTree, LayerBlob, open_tree
from mllock.lock.debian import DebianResolver
from mllock.lock.debian.suites import SUITES
from mllock.lock.ports import SystemRequest, SystemResolution
from mllock.lock.types import Base, BaseLayer, BasePlatform, DebianPackage, ReleaseIndex
from mllock.store.base_source import BaseSource, FoundBase, base_source
from mllock.store.cache import Cache
from mllock.store.oci_json import MEDIA_CONFIG, Descriptor

__all__ = ["ImageBaseResolver", "blobs_of", "layer_blobs"]

# Where mllock's own layers go.
_OURS = ("opt/venv", "opt/mllock")
_APP = "app"


class ImageBaseResolver:
    """`project` is the folder that "oci:DIR" is relative to."""

    def __init__(
        self,
        project: Path,
        cache: Cache,
        fetcher: Fetcher,
        environ: Mapping[str, str],
        reporter: Reporter,
    ) -> None:
        self._project = project
        self._cache = cache
        self._fetcher = fetcher
        self._environ = environ
        self._reporter = reporter

    def resolve(self, request: SystemRequest) -> SystemResolution:
        try:
            return self._resolve(request)
        except MllockError as error:
            if error.file == request.base:
                error.file, error.key = "mlproject.toml", "environment.base"
                error.found = error.found or f'"{request.base}"'
            elif isinstance(error, ArchiveError) and (error.file or "").startswith(LAYER):
                error.file = f"{request.base}: {error.file}"
                error.hint = error.hint or "take another base, or make this one without it"
            raise

    def _resolve(self, request: SystemRequest) -> SystemResolution:
        source = base_source(request.base, self._project, self._environ)
        pin, tree = self._opened(source, request)
        refuse_reserved_paths(tree, request.base)
        python = _the_python(tree, pin, request)
        suite: str | None = None
        indexes: tuple[ReleaseIndex, ...] = ()
        packages: tuple[DebianPackage, ...] = ()
        if request.packages:
            suite = suite_in(tree, request.base)
            installed = installed_in(tree, request.base)
            debian = DebianResolver(self._fetcher, self._cache, self._environ, self._reporter)
            indexes, packages = debian.above(request, suite, installed)
        base = Base(
            kind="oci" if request.base.startswith("oci:") else "image",
            reference=request.base,
            suite=suite,
            python=python.version,
            interpreter=python.path,
            indexes=indexes,
            platforms=(pin,),
        )
        return SystemResolution(base=base, packages=packages)

    def _pinned(self, request: SystemRequest) -> BasePlatform | None:
        """The previous lock's pin of this reference: a tag that moved does not move the lock."""
        previous = request.previous
        if previous is None or previous.reference != request.base or request.upgrade.all:
            return None
        return previous.on(request.platform)

    def _opened(self, source: BaseSource, request: SystemRequest) -> tuple[BasePlatform, BaseTree]:
        pin = self._pinned(request)
        if pin is not None:
            source.fetch(blobs_of(pin), self._cache, self._reporter)
            return pin, open_tree(self._cache, layer_blobs(pin))
        self._reporter.step(f"looking up {request.base}")
        found = source.find(request.platform)
        config = found.manifest.config
        self._cache.put_bytes(found.config_data, expected=config.digest)
        source.fetch(found.manifest.layers, self._cache, self._reporter)
        self._reporter.step(f"looking into {request.base}")
        layers = _base_layers(found)
        tree = open_tree(self._cache, _blobs(layers))
        pin = BasePlatform(
            platform=request.platform,
            manifest=found.digest,
            config=config.digest,
            config_size=config.size,
            glibc=find_glibc(tree, request.platform),
            layers=layers,
            variables=dict(found.config.variables),
        )
        return pin, tree


def _base_layers(found: FoundBase) -> tuple[BaseLayer, ...]:
    pairs = zip(found.manifest.layers, found.config.diff_ids, strict=True)
    return tuple(
        BaseLayer(digest=layer.digest, diff_id=diff_id, size=layer.size, type=layer.media_type)
        for layer, diff_id in pairs
    )


def layer_blobs(pin: BasePlatform) -> tuple[LayerBlob, ...]:
    return _blobs(pin.layers)


def _blobs(layers: Sequence[BaseLayer]) -> tuple[LayerBlob, ...]:
    return tuple(
        LayerBlob(digest=Digest(layer.digest), diff_id=Digest(layer.diff_id), media_type=layer.type)
        for layer in layers
    )


def blobs_of(pin: BasePlatform) -> tuple[Descriptor, ...]:
    """All that has to be in the cache to build on the base: its config and its layers."""
    config = (pin.config, pin.config_size, MEDIA_CONFIG)
    layers = [(layer.digest, layer.size, layer.type) for layer in pin.layers]
    return tuple(
        Descriptor(digest=Digest(digest), size=size, media_type=media_type, annotations={})
        for digest, size, media_type in (config, *layers)
    )


def _the_python(tree: BaseTree, pin: BasePlatform, request: SystemRequest) -> Interpreter:
    """The first Python of the asked minor version on the base's PATH. Raises ResolutionError."""
    minor = ".".join(request.python.split(".")[:2])
    found = find_pythons(tree, pin.variables, pin.platform)
    for python in found:
        if python.minor == minor:
            return python
    there = list(dict.fromkeys(python.minor for python in found))
    others = [f'"debian:{suite.name}"' for suite in SUITES.values() if suite.python == minor]
    others.append(f"an image of Python {minor}")
    hint = f"bases that have {minor}: {', '.join(others)}"
    if there:
        hint = f'set python = "{there[0]}"; ' + hint
    raise ResolutionError(
        f"the base has no Python {minor}" if there else "the base has no Python on its PATH",
        file="mlproject.toml",
        key="environment.python",
        expected=f"Python {minor} in {request.base}",
        found=", ".join(map(str, found)) or None,
        hint=hint,
    )


def refuse_reserved_paths(tree: BaseTree, base: str) -> None:
    """Raises ResolutionError where the base has what mllock's own layers put there."""
    for path, member in sorted(tree.members.items()):
        taken = path in _OURS or path.startswith(f"{_APP}/")
        other = path in (_APP, "opt") and member.kind != "folder"
        if taken or other:
            raise ResolutionError(
                f"the base has /{path}, a place of mllock's own",
                file=base,
                hint="take a base without it: /app, /opt/venv and /opt/mllock are for the project",
            )
