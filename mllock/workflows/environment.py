"""The environment that a lock pins, as layers: what `build`, `train` and `check` share.

The wheels are looked into first (`mllock.workflows.looked`). Then layers come from the cache where
it has them; only for the others are wheels and debs looked up by digest, and fetched where the
cache lacks them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mllock.core import canonical
from mllock.core.digest import Digest, from_hex
from mllock.core.platform import image_platform
from mllock.errors import SpecError
from mllock.image.build import Packages, build_environment, layers_below_python
from mllock.image.config import plan_environment
from mllock.image.environment import image_variables
from mllock.image.types import ImageConfig, Layer
from mllock.lock.platforms import narrowed, platforms_of
from mllock.lock.types import DebianPackage, Lock, PythonPackage
from mllock.spec.loaded import LoadedSpec
from mllock.store.oci_json import Descriptor
from mllock.train.runs import RunFolder
from mllock.train.venv import FetchWheels
from mllock.workflows.context import Context
from mllock.workflows.looked import look_into_wheels, look_once
from mllock.workflows.vendored_hint import looking_into_vendored

__all__ = ["BuiltEnvironment", "environment_of", "locked_wheels", "packages_of", "platform_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltEnvironment:
    """The shared part of both images: layers, and the document that `digest` is of; `history` is
    that of a base image."""

    layers: tuple[Layer, ...]
    document: Mapping[str, Any]
    digest: Digest
    history: tuple[Mapping[str, Any], ...] = ()


def environment_of(
    ctx: Context,
    loaded: LoadedSpec,
    lock: Lock,
    whole: Lock | None = None,
    run: RunFolder | None = None,
) -> BuiltEnvironment:
    """The environment that `lock`, which is for one platform (`mllock.lock.platforms.narrowed`),
    pins, its layers in the cache. Fetches what is missing. `whole` is the lock that it is a part
    of: bytecode for a platform that is not this machine's is made by this machine's part. An
    environment that an engine builds is another one each time: then that of `run`, if it is to be
    found."""
    platform = platform_of(lock)
    look_into_wheels(ctx, lock)
    packages = replace(packages_of(ctx, loaded, lock), twin=lambda: _twin(ctx, loaded, lock, whole))
    try:
        if loaded.spec.builder.kind == "docker":
            from mllock.workflows.docker_environment import docker_layers

            layers = docker_layers(ctx, loaded, lock, packages, platform, run)
        else:
            layers = build_environment(lock, packages, ctx.cache, ctx.reporter)
    except SpecError as error:
        # What only the wheels can tell about a rule: the room that has them knows no lines.
        error.line = loaded.place(error.key or "")
        raise
    base = lock.base.on(platform)
    variables = image_variables(loaded.spec.environment.variables, base)
    document = plan_environment(platform, layers, ImageConfig(command=(), variables=variables))
    history: tuple[Mapping[str, Any], ...] = ()
    if base is not None:
        from mllock.image.base_layers import base_history

        history = base_history(base, packages.base, ctx.cache)
    return BuiltEnvironment(
        layers=layers,
        document=document,
        digest=canonical.digest_of(document),
        history=history,
    )


def _twin(ctx: Context, loaded: LoadedSpec, lock: Lock, whole: Lock | None) -> Sequence[Layer]:
    """Base and system layers of this machine's part of the whole lock, if it has one."""
    here = image_platform()
    if whole is None or here == platform_of(lock) or here not in platforms_of(whole):
        return ()
    part = narrowed(whole, here)
    return layers_below_python(part, packages_of(ctx, loaded, part), ctx.cache, ctx.reporter)


def platform_of(lock: Lock) -> str:
    """The platform of a lock that is for one."""
    (platform,) = platforms_of(lock)
    return platform


def locked_wheels(ctx: Context, lock: Lock) -> FetchWheels:
    """The wheels of `lock`, from the cache or wherever pip finds them."""

    def fetch(packages: Sequence[PythonPackage]) -> Mapping[str, Path]:
        from mllock.lock.direct import locked_references
        from mllock.lock.indexes import indexes_of
        from mllock.lock.locked import fetch_wheels
        from mllock.lock.target import target_of
        from mllock.workflows.links import spec_links

        target = target_of(lock)
        made = {pin.name: pin for pin in lock.builds}
        for package in packages:
            pin = made.get(package.name)
            if pin is not None and not _there(ctx, package):
                from mllock.workflows.builds import build_locked

                build_locked(ctx, lock.inputs.environment, pin, package)
        with looking_into_vendored(ctx):
            found = fetch_wheels(
                packages,
                ctx.cache,
                target=target,
                environ=ctx.environ,
                reporter=ctx.reporter,
                indexes=indexes_of(lock.inputs.environment),
                links=lambda: spec_links(ctx),
                references=locked_references(lock.inputs.environment, target),
            )
        look_once(ctx, lock, found)
        return found

    return fetch


def _there(ctx: Context, package: PythonPackage) -> bool:
    return all(ctx.cache.get(from_hex(wheel.hashes["sha256"])) for wheel in package.wheels)


def packages_of(ctx: Context, loaded: LoadedSpec, lock: Lock) -> Packages:
    """Where what `lock` pins comes from."""

    def debs(packages: Sequence[DebianPackage]) -> Mapping[str, Path]:
        from mllock.lock.debian import fetch_debs

        with looking_into_vendored(ctx):
            return fetch_debs(
                packages,
                suite=lock.base.suite or "",
                mirror=loaded.spec.environment.debian_mirror,
                environ=ctx.environ,
                fetcher=ctx.fetcher,
                blobs=ctx.cache,
            )

    def base(wanted: Sequence[Descriptor]) -> None:
        from mllock.store.base_source import base_source

        assert lock.base.reference is not None
        source = base_source(lock.base.reference, ctx.project, ctx.environ)
        with looking_into_vendored(ctx):
            source.fetch(wanted, ctx.cache, ctx.reporter)

    return Packages(wheels=locked_wheels(ctx, lock), debs=debs, base=base)
